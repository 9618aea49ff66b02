//! The private directory of the server's Unix socket.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::path::{Path, PathBuf};

use crate::launcher::Account;
use crate::{PORT, StartError};

/// The longest path of a socket in bytes, without the terminating zero (`sun_path`).
const MAX_PATH: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// Creates the socket's directory, which only `account` may enter (and root): below `data_dir`, or below the
/// temporary directory when that path is too long or not one that PostgreSQL's list of directories can hold.
pub(crate) fn create_dir(data_dir: &Path, account: Account) -> Result<PathBuf, StartError> {
    let id = fs::metadata(data_dir).map_err(StartError::at(data_dir))?;
    // The data directory's place on its disk: the same at every start and no other directory's.
    let name = format!("ally360-{:x}-{:x}", id.dev(), id.ino());
    let candidates = [
        data_dir.join("postgres.run"),
        std::env::temp_dir().join(&name),
        Path::new("/tmp").join(&name),
    ];
    let dir = candidates
        .into_iter()
        .find(|dir| is_usable(dir))
        .ok_or_else(|| StartError::Io {
            path: data_dir.to_owned(),
            reason: "no directory for the socket has a path short enough".to_owned(),
        })?;
    match DirBuilder::new().mode(0o700).create(&dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(StartError::at(&dir)(error));
        }
        _ => {}
    }
    // In a shared temporary directory somebody else may have been first.
    let found = fs::symlink_metadata(&dir).map_err(StartError::at(&dir))?;
    let us = rustix::process::geteuid().as_raw();
    if !found.is_dir() || found.mode() & 0o077 != 0 || ![us, account.uid].contains(&found.uid()) {
        return Err(StartError::Io {
            path: dir,
            reason: "it is not a private directory of ours".to_owned(),
        });
    }
    if found.uid() != account.uid {
        chown(&dir, Some(account.uid), Some(account.gid)).map_err(StartError::at(&dir))?;
    }
    Ok(dir)
}

fn is_usable(dir: &Path) -> bool {
    let Some(path) = dir.to_str() else { return false };
    path.starts_with('/')
        && !path.contains([',', '"', '\''])
        && format!("{path}/.s.PGSQL.{PORT}").len() <= MAX_PATH
}
