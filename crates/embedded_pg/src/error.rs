use std::io;
use std::path::{Path, PathBuf};

use crate::OLDEST_MAJOR;

/// Why the server does not run. Each message is one line that says what is wrong and what to do.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    #[error(
        "PostgreSQL {OLDEST_MAJOR} or later is not installed; install its server (Debian and Ubuntu: `apt install postgresql-15`, \
         macOS: `brew install postgresql@17`, others: the package postgresql-server) or set ALLY360_PG_BIN to the directory of `postgres` and `initdb`"
    )]
    NotFound,
    #[error("{} has no PostgreSQL server; point ALLY360_PG_BIN at the directory that holds `postgres` and `initdb`", .dir.display())]
    NotIn { dir: PathBuf },
    #[error("PostgreSQL {found} in {} is too old, {OLDEST_MAJOR} or later is needed; install one or set ALLY360_PG_BIN to its directory", .dir.display())]
    TooOld { found: String, dir: PathBuf },
    #[error(
        "{} was created by PostgreSQL {cluster} and the newest installed is {installed}; install PostgreSQL {cluster} or choose another data directory with --data-dir",
        .dir.display()
    )]
    NewerCluster {
        dir: PathBuf,
        cluster: u32,
        installed: u32,
    },
    #[error(
        "{} was created by PostgreSQL {cluster} but only {installed} is installed; install PostgreSQL {cluster} beside it, \
         or move the data with pg_upgrade or with pg_dumpall and a restore into a new data directory",
        .dir.display()
    )]
    OlderCluster {
        dir: PathBuf,
        cluster: u32,
        installed: u32,
    },
    #[error("{} is not empty and not a database of ally360; move it away or choose another data directory with --data-dir", .dir.display())]
    Foreign { dir: PathBuf },
    #[error(
        "another ally360{} uses {}; stop it or choose another data directory with --data-dir",
        .pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default(), .dir.display()
    )]
    InUse { pid: Option<u32>, dir: PathBuf },
    #[error("{} belongs to another user (uid {owner}); start as that user or as root, or choose another data directory with --data-dir", .dir.display())]
    OtherOwner { dir: PathBuf, owner: u32 },
    #[error("no permission for {}; give this user the right to write there or choose another data directory with --data-dir", .path.display())]
    NoPermission { path: PathBuf },
    #[error("{} is on a read-only file system; make it writable or choose another data directory with --data-dir", .path.display())]
    ReadOnly { path: PathBuf },
    #[error("the disk of {} is full; free some space (a new database needs about 100 MB) and start again", .path.display())]
    DiskFull { path: PathBuf },
    #[error("cannot use {}: {reason}; repair this or choose another data directory with --data-dir", .path.display())]
    Io { path: PathBuf, reason: String },
    #[error(
        "PostgreSQL does not run as root and the unprivileged user (uid {uid}) cannot reach {}; \
         choose one outside private directories such as /root with --data-dir, or start as an ordinary user",
        .path.display()
    )]
    Unreachable { path: PathBuf, uid: u32 },
    #[error(
        "PostgreSQL does not run as root and `setpriv` cannot change the user; install util-linux or start as an ordinary user"
    )]
    NoSetpriv,
    #[error("the database could not be created: initdb says \"{reason}\"; repair this and start again")]
    InitDb { reason: String },
    #[error("process {pid} still uses {} and cannot be ended; end it and start again", .dir.display())]
    Leftover { pid: i32, dir: PathBuf },
    #[error("PostgreSQL ended while starting: \"{last_line}\"; the whole log is {}", .log.display())]
    Exited { last_line: String, log: PathBuf },
    #[error("PostgreSQL accepted no connection and wrote nothing for {seconds} seconds; its last line is \"{last_line}\", the whole log is {}", .log.display())]
    Timeout {
        seconds: u64,
        last_line: String,
        log: PathBuf,
    },
    #[error("the supervisor of PostgreSQL ended: {reason}; restart ally360")]
    Supervisor { reason: String },
}

impl StartError {
    /// Turns an I/O error into the variant that says what to do; for `map_err`.
    pub(crate) fn at(path: &Path) -> impl Fn(io::Error) -> Self {
        move |error| {
            let path = path.to_owned();
            match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path },
                io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly { path },
                io::ErrorKind::PermissionDenied => Self::NoPermission { path },
                _ => Self::Io {
                    path,
                    reason: error.to_string(),
                },
            }
        }
    }

    /// Recognises in what a PostgreSQL program wrote that the disk below `path` is full or read-only.
    pub(crate) fn from_output(output: &str, path: &Path) -> Option<Self> {
        let path = path.to_owned();
        if output.contains("No space left on device") || output.contains("Disk quota exceeded") {
            Some(Self::DiskFull { path })
        } else if output.contains("Read-only file system") {
            Some(Self::ReadOnly { path })
        } else {
            None
        }
    }

    pub(crate) fn thread_ended() -> Self {
        Self::Supervisor {
            reason: "its thread is gone".to_owned(),
        }
    }
}
