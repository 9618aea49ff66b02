//! What the server writes.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use crate::StartError;

/// A log larger than this (bytes) is put aside when the server starts.
const MAX_SIZE: u64 = 10 * 1024 * 1024;

/// The server's log from the moment it was started.
#[derive(Debug)]
pub(crate) struct ServerLog {
    path: PathBuf,
    file: File,
    start: u64,
}

impl ServerLog {
    /// Opens the log for appending; a large one becomes `postgres.log.1`.
    pub(crate) fn open(path: PathBuf) -> Result<Self, StartError> {
        if fs::metadata(&path).is_ok_and(|found| found.len() > MAX_SIZE) {
            fs::rename(&path, path.with_extension("log.1")).map_err(StartError::at(&path))?;
        }
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)
            .map_err(StartError::at(&path))?;
        let start = file.metadata().map_err(StartError::at(&path))?.len();
        Ok(Self { path, file, start })
    }

    /// A handle for the server to write to.
    pub(crate) fn writer(&self) -> Result<File, StartError> {
        self.file.try_clone().map_err(StartError::at(&self.path))
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.path.clone()
    }

    /// The log's size in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.file.metadata().map_or(0, |found| found.len())
    }

    /// Everything written since the log was opened.
    pub(crate) fn text(&self) -> String {
        let mut text = Vec::new();
        let mut file = &self.file;
        // An unreadable log must not hide the error it would have explained.
        let _ = file
            .seek(SeekFrom::Start(self.start))
            .and_then(|_| file.read_to_end(&mut text));
        String::from_utf8_lossy(&text).into_owned()
    }
}

/// The line of a PostgreSQL program's output that says why it ended: the last error, or else the last line.
pub(crate) fn telling_line(output: &str) -> String {
    let is_error = |line: &&str| {
        ["FATAL:", "PANIC:", "ERROR:", "error:"]
            .iter()
            .any(|word| line.contains(word))
    };
    let lines = || output.lines().map(str::trim).filter(|line| !line.is_empty());
    lines()
        .rfind(is_error)
        .or_else(|| lines().next_back())
        .unwrap_or("no message")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::telling_line;

    #[test]
    fn the_last_error_tells_more_than_the_last_line() {
        let output = "LOG:  starting\nFATAL:  lock file exists\nHINT:  Is another postmaster running?\n\n";
        assert_eq!(telling_line(output), "FATAL:  lock file exists");
        assert_eq!(telling_line("one\ntwo\n"), "two");
        assert_eq!(telling_line(""), "no message");
    }
}
