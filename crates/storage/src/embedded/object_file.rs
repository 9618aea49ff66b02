//! The file of one object: its bytes, then its description as JSON, then the description's length and a mark.
//!
//! Data comes first so that the file begins as what it holds and a range of the object is a range of the file. The
//! description comes last because it is only known then.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use serde::{Deserialize, Serialize};

/// Ends every file; the digit is the format's version.
const MARK: &[u8; 8] = b"A360OBJ1";
/// Length (little-endian) and mark.
const TAIL: u64 = 4 + 8;

/// What is known of an object besides its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Description {
    pub key: String,
    /// In bytes.
    pub size: u64,
    /// Hexadecimal SHA-256, which also serves as ETag: equal exactly when the bytes are.
    pub sha256: String,
    pub content_type: Option<String>,
}

impl Description {
    /// What to append to the object's bytes.
    pub fn trailer(&self) -> io::Result<Vec<u8>> {
        let mut trailer = serde_json::to_vec(self)?;
        let length = u32::try_from(trailer.len()).map_err(io::Error::other)?;
        trailer.extend_from_slice(&length.to_le_bytes());
        trailer.extend_from_slice(MARK);
        Ok(trailer)
    }

    /// Reads the description from the end of an object's file.
    ///
    /// # Errors
    /// `InvalidData`: the file is not a whole object.
    pub fn read(file: &File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        let tail_at = length.checked_sub(TAIL).ok_or_else(torn)?;
        let mut tail = [0; 12];
        file.read_exact_at(&mut tail, tail_at)?;
        let [a, b, c, d, mark @ ..] = tail;
        if &mark != MARK {
            return Err(torn());
        }
        let json_length = u32::from_le_bytes([a, b, c, d]);
        let json_at = tail_at.checked_sub(u64::from(json_length)).ok_or_else(torn)?;
        let mut json = vec![0; usize::try_from(json_length).map_err(io::Error::other)?];
        file.read_exact_at(&mut json, json_at)?;
        let description: Self = serde_json::from_slice(&json)?;
        if description.size == json_at {
            Ok(description)
        } else {
            Err(torn())
        }
    }
}

fn torn() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not a whole object")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn written(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(bytes).expect("written");
        file
    }

    #[test]
    fn only_whole_files_are_objects() {
        let description = Description {
            key: "a/ñ".to_owned(),
            size: 5,
            sha256: "00".repeat(32),
            content_type: Some("text/plain".to_owned()),
        };
        let mut whole = b"hello".to_vec();
        whole.extend(description.trailer().expect("a trailer"));
        assert_eq!(Description::read(&written(&whole)).expect("whole"), description);
        for cut in 0..whole.len() {
            assert!(
                Description::read(&written(&whole[..cut])).is_err(),
                "cut at {cut}"
            );
            assert!(
                Description::read(&written(&whole[whole.len() - cut..])).is_err(),
                "last {cut} bytes"
            );
        }
    }
}
