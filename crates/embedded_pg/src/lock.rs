//! One process per data directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::StartError;

/// Takes the lock of `data_dir`. It is held until the file is closed, which the kernel does for a killed process;
/// child processes do not inherit it.
pub(crate) fn acquire(data_dir: &Path) -> Result<File, StartError> {
    let path = data_dir.join("postgres.lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(StartError::at(&path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // Only for the message: a holder that has not written its pid yet stays unnamed.
            let _ = file.read_to_string(&mut holder);
            return Err(StartError::InUse {
                pid: holder.trim().parse().ok(),
                dir: data_dir.to_owned(),
            });
        }
        Err(TryLockError::Error(error)) => return Err(StartError::at(&path)(error)),
    }
    file.set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(StartError::at(&path))?;
    Ok(file)
}
