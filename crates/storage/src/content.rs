//! Bytes on their way to or from a file, a piece at a time.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, Stream, StreamExt};

/// Read from a file at once: large enough to keep a disk busy, small enough for many transfers in memory.
const PIECE: u64 = 256 * 1024;

/// What to store, of known length, readable more than once because a failed transfer is tried again.
#[derive(Clone, Debug)]
pub struct Content {
    source: Source,
    length: u64,
}

#[derive(Clone, Debug)]
enum Source {
    Bytes(Bytes),
    File(Arc<File>),
}

impl Content {
    /// Bytes in memory.
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Self {
            source: Source::Bytes(bytes),
            length,
        }
    }

    /// A whole file from its first byte, wherever its cursor is; it must not change until it is stored.
    ///
    /// # Errors
    /// The file's length cannot be read.
    pub fn file(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        Ok(Self {
            source: Source::File(Arc::new(file)),
            length,
        })
    }

    /// In bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The content from its beginning.
    pub(crate) fn stream(&self) -> impl Stream<Item = io::Result<Bytes>> + Send + Sync + use<> {
        match &self.source {
            Source::Bytes(bytes) => stream::iter([Ok(bytes.clone())]).left_stream(),
            Source::File(file) => pieces(Arc::clone(file), 0..self.length).right_stream(),
        }
    }
}

/// A range of a file in pieces; a file that ends before the range does is an error.
pub(crate) fn pieces(
    file: Arc<File>,
    range: Range<u64>,
) -> impl Stream<Item = io::Result<Bytes>> + Send + Sync + use<> {
    stream::try_unfold(range, move |range| {
        let file = Arc::clone(&file);
        async move {
            if range.is_empty() {
                return Ok(None);
            }
            let length = PIECE.min(range.end - range.start);
            let piece = tokio::task::spawn_blocking(move || read_at(&file, range.start, length)).await??;
            Ok(Some((piece, range.start + length..range.end)))
        }
    })
}

fn read_at(file: &File, offset: u64, length: u64) -> io::Result<Bytes> {
    let length = usize::try_from(length).map_err(io::Error::other)?;
    let mut piece = vec![0; length];
    file.read_exact_at(&mut piece, offset)?;
    Ok(piece.into())
}
