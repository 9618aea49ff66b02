//! The data directory: what is in it, who may use it, and what the server needs to run on it.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, lchown};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::binaries::{self, Binaries};
use crate::launcher::{Account, Launcher};
use crate::{Address, Options, PORT, StartError, initdb, lock, socket};

/// The superuser's password inside the cluster; also what tells that a cluster is ours.
pub(crate) const PASSWORD_FILE: &str = "ally360.password";

/// Defaults for a small machine; [`Options::settings`] overrides them.
const DEFAULTS: &[(&str, &str)] = &[
    ("shared_buffers", "128MB"),
    ("max_connections", "100"),
    ("wal_compression", "on"),
    ("jit", "off"),
    ("timezone", "UTC"),
    ("log_timezone", "UTC"),
    ("log_min_messages", "warning"),
    // Parameters of a failed statement are customers' data, and statements may carry passwords.
    ("log_parameter_max_length_on_error", "0"),
];

/// What nobody may override: who can reach the server, and where it writes.
const FIXED: &[(&str, &str)] = &[
    ("listen_addresses", ""),
    ("unix_socket_permissions", "0700"),
    ("password_encryption", "scram-sha-256"),
    ("log_destination", "stderr"),
    ("logging_collector", "off"),
    // A copy that recovers from an archive is not ready before it can be written to.
    ("hot_standby", "off"),
];

/// A cluster that is locked for us and ready to be served.
pub(crate) struct Cluster {
    pub(crate) pgdata: PathBuf,
    pub(crate) log_path: PathBuf,
    password: String,
    socket_dir: PathBuf,
    binaries: Binaries,
    launcher: Launcher,
    settings: Vec<(String, String)>,
    _lock: File,
}

impl Cluster {
    /// Locks the data directory, checks what it holds and creates the cluster if there is none.
    pub(crate) async fn open(options: Options) -> Result<Self, StartError> {
        let data_dir = create_data_dir(&options.data_dir)?;
        let lock = lock::acquire(&data_dir)?;
        let pgdata = data_dir.join("postgres");
        let major = existing_major(&pgdata)?;
        let binaries = binaries::find(
            options.bin_dir.as_deref(),
            major.map(|major| (pgdata.as_path(), major)),
        )?;
        let account = account_for(&pgdata, major.is_some())?;
        let socket_dir = socket::create_dir(&data_dir, account)?;
        let launcher = if account == us() {
            Launcher::for_us()
        } else {
            // The dot asks for passing through a directory, not only for seeing it.
            let reached = [
                binaries.program("postgres"),
                data_dir.join("."),
                socket_dir.join("."),
            ];
            Launcher::for_account(account, &reached)?
        };
        initdb::remove_remains(&data_dir).await;
        if major.is_none() {
            tracing::info!(dir = %pgdata.display(), version = binaries.version, "creating the PostgreSQL cluster");
            initdb::create(&pgdata, &binaries, &launcher, account, options.durable).await?;
        }
        let password_path = pgdata.join(PASSWORD_FILE);
        let password = fs::read_to_string(&password_path).map_err(StartError::at(&password_path))?;
        Ok(Self {
            log_path: data_dir.join("postgres.log"),
            password: password.trim_end().to_owned(),
            settings: settings(&options, &socket_dir),
            pgdata,
            socket_dir,
            binaries,
            launcher,
            _lock: lock,
        })
    }

    pub(crate) fn address(&self) -> Address {
        Address {
            socket_dir: self.socket_dir.clone(),
            password: self.password.clone(),
            server_version: self.binaries.version,
        }
    }

    /// The server program. It shuts down in an orderly way (SIGINT) when we end without having stopped it.
    pub(crate) fn server_command(&self) -> Command {
        let mut command = self.launcher.command(&self.binaries.program("postgres"), "INT");
        command.arg("-D").arg(&self.pgdata);
        // On the command line, where neither postgresql.conf nor ALTER SYSTEM overrides them.
        for (name, value) in &self.settings {
            command.arg("-c").arg(OsString::from(format!("{name}={value}")));
        }
        command
    }
}

/// The settings in the order in which the server takes them: the last one of a name wins.
fn settings(options: &Options, socket_dir: &Path) -> Vec<(String, String)> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let durability: &[(&str, &str)] = match options.durable {
        true => &[
            ("fsync", "on"),
            ("full_page_writes", "on"),
            ("synchronous_commit", "on"),
        ],
        false => &[("fsync", "off"), ("full_page_writes", "off")],
    };
    let mut settings: Vec<_> = DEFAULTS.iter().map(owned).collect();
    settings.extend(options.settings.iter().cloned());
    settings.extend(durability.iter().map(owned));
    settings.extend(FIXED.iter().map(owned));
    settings.push((
        "unix_socket_directories".to_owned(),
        socket_dir.to_string_lossy().into_owned(),
    ));
    settings.push(("port".to_owned(), PORT.to_string()));
    settings
}

/// Creates the data directory if need be; returns its absolute path without symbolic links.
fn create_data_dir(data_dir: &Path) -> Result<PathBuf, StartError> {
    // As root another user's process must pass through; what is inside has its own, private mode.
    let mode = if us().uid == 0 { 0o711 } else { 0o700 };
    DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(data_dir)
        .and_then(|()| data_dir.canonicalize())
        .map_err(StartError::at(data_dir))
}

/// The major version that created the cluster; `None` when there is nothing yet.
fn existing_major(pgdata: &Path) -> Result<Option<u32>, StartError> {
    let foreign = || StartError::Foreign {
        dir: pgdata.to_owned(),
    };
    let mut entries = match fs::read_dir(pgdata) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Err(foreign()),
        Err(error) => {
            let owner = fs::metadata(pgdata).map_or(us().uid, |found| found.uid());
            return Err(if owner == us().uid {
                StartError::at(pgdata)(error)
            } else {
                StartError::OtherOwner {
                    dir: pgdata.to_owned(),
                    owner,
                }
            });
        }
    };
    if entries.next().is_none() {
        return Ok(None);
    }
    // A symbolic link would let the server's user make root read a file of its choice.
    if !fs::symlink_metadata(pgdata.join(PASSWORD_FILE)).is_ok_and(|found| found.is_file()) {
        return Err(foreign());
    }
    let version = fs::read_to_string(pgdata.join("PG_VERSION")).map_err(|_| foreign())?;
    version.trim().parse().map(Some).map_err(|_| foreign())
}

/// Whom the server runs as: ourselves, or when we are root the cluster's owner, or for a new one somebody unprivileged.
fn account_for(pgdata: &Path, exists: bool) -> Result<Account, StartError> {
    let us = us();
    if !exists {
        return Ok(if us.uid == 0 { Account::unprivileged() } else { us });
    }
    let found = fs::metadata(pgdata).map_err(StartError::at(pgdata))?;
    let owner = Account {
        uid: found.uid(),
        gid: found.gid(),
    };
    if us.uid == 0 && owner.uid == 0 {
        // A copy made by root, such as a restored backup.
        let account = Account::unprivileged();
        chown_all(pgdata, account)?;
        return Ok(account);
    }
    if us.uid != 0 && owner.uid != us.uid {
        return Err(StartError::OtherOwner {
            dir: pgdata.to_owned(),
            owner: owner.uid,
        });
    }
    Ok(if us.uid == 0 { owner } else { us })
}

fn chown_all(path: &Path, account: Account) -> Result<(), StartError> {
    let at_path = StartError::at(path);
    if fs::symlink_metadata(path).map_err(&at_path)?.is_dir() {
        for entry in fs::read_dir(path).map_err(&at_path)? {
            chown_all(&entry.map_err(&at_path)?.path(), account)?;
        }
    }
    // The directory itself comes last: as long as it is root's, an interrupted pass is repeated.
    lchown(path, Some(account.uid), Some(account.gid)).map_err(at_path)
}

fn us() -> Account {
    Account {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
    }
}
