//! The local copy of an upload, which everything after it works on.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use anyhow::Context;
use futures::StreamExt;
use sha2::{Digest, Sha256};
use storage::Object;
use tempfile::{NamedTempFile, TempPath};
use tokio::io::AsyncWriteExt;

/// The bytes of an upload in a private file; gone when dropped.
pub(crate) struct LocalCopy {
    scratch: Scratch,
    /// In bytes.
    pub size: i64,
    pub sha256: [u8; 32],
}

impl LocalCopy {
    /// Reads the object to its end, counting and hashing.
    ///
    /// # Errors
    /// The object cannot be read, has another length than the store said, or cannot be kept.
    pub async fn of(mut object: Object) -> anyhow::Result<LocalCopy> {
        let expected = object.info.size;
        let scratch = Scratch::new().context("no temporary file can be made")?;
        let mut sink = tokio::fs::File::from_std(scratch.file.try_clone()?);
        let (mut digest, mut length) = (Sha256::new(), 0);
        while let Some(chunk) = object.body.next().await {
            let chunk = chunk?;
            length += chunk.len() as u64;
            anyhow::ensure!(length <= expected, "the object is longer than the store said");
            digest.update(&chunk);
            sink.write_all(&chunk).await?;
        }
        sink.flush().await?;
        anyhow::ensure!(length == expected, "the object is shorter than the store said");
        Ok(LocalCopy {
            scratch,
            size: i64::try_from(expected)?,
            sha256: digest.finalize().into(),
        })
    }

    /// Where it can be opened for reading, by this process and as long as this value lasts.
    pub fn path(&self) -> &Path {
        &self.scratch.path
    }
}

/// A file that loses its name at once where the system can open one without: then nothing of a customer's is left
/// behind by a process that was killed.
struct Scratch {
    file: File,
    path: PathBuf,
    /// Removes the name, if it still has one.
    _name: Option<TempPath>,
}

impl Scratch {
    fn new() -> io::Result<Scratch> {
        let (file, name) = NamedTempFile::new()?.into_parts();
        // Opening this of Linux gives the file itself, from its beginning.
        let nameless = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        if nameless.exists() {
            name.close()?;
            return Ok(Scratch {
                file,
                path: nameless,
                _name: None,
            });
        }
        Ok(Scratch {
            file,
            path: name.to_path_buf(),
            _name: Some(name),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_scratch_file_is_read_by_its_path_from_the_beginning_and_leaves_nothing() {
        let mut scratch = Scratch::new().expect("a file");
        scratch.file.write_all(b"hello").expect("written");
        for _ in 0..2 {
            assert_eq!(std::fs::read(&scratch.path).expect("read"), b"hello");
        }
        assert_eq!(std::fs::metadata(&scratch.path).expect("there").len(), 5);
        #[cfg(target_os = "linux")]
        {
            let target = std::fs::read_link(&scratch.path).expect("a link");
            let target = target.to_str().expect("text");
            assert!(target.ends_with(" (deleted)"), "{target}");
        }
        let path = scratch.path.clone();
        drop(scratch);
        assert!(!path.exists());
    }
}
