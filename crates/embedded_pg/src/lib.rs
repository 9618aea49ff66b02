//! A private, real PostgreSQL server as a supervised child process.
//!
//! The binaries are those of the host; the cluster belongs to one data directory and is created on first use.
//! The server listens on a Unix socket that only its owner reaches, is started again when it dies, and ends when
//! this process ends, however it ends.
//!
//! Everything lives below [`Options::data_dir`]:
//!
//! | path | what |
//! |---|---|
//! | `postgres/` | the cluster (PGDATA), with the superuser's password in `ally360.password` |
//! | `postgres.run/` | the socket (below the system's temporary directory when this path would be too long) |
//! | `postgres.log` | what the server writes; `postgres.log.1` is the one before |
//! | `postgres.lock` | held by the process that runs the server |

mod binaries;
mod cluster;
mod error;
mod initdb;
mod launcher;
mod leftovers;
mod lock;
mod server;
mod server_log;
mod socket;
mod supervisor;

use std::fmt;
use std::path::{Path, PathBuf};

use tokio::sync::{oneshot, watch};

pub use error::StartError;

/// The cluster's superuser.
const SUPERUSER: &str = "ally_root";

/// The port is only part of the socket's name; its directory is private, so the default does.
const PORT: u16 = 5432;

/// The oldest major version of PostgreSQL that is supported.
const OLDEST_MAJOR: u32 = 15;

/// What to run and where.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the cluster, its log and its lock live; created when missing.
    pub data_dir: PathBuf,
    /// Whether a commit survives a power cut; a killed process it survives in any case. Off only where the data may
    /// be lost: tests and benchmarks.
    pub durable: bool,
    /// Further settings as in postgresql.conf, name and unquoted value.
    pub settings: Vec<(String, String)>,
    /// The directory of `postgres` and `initdb`; `None` searches the host.
    pub bin_dir: Option<PathBuf>,
}

impl Options {
    /// A durable server on `data_dir` with the binaries of `ALLY360_PG_BIN` or, without it, those of the host.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            durable: true,
            settings: Vec::new(),
            bin_dir: std::env::var_os("ALLY360_PG_BIN")
                .filter(|dir| !dir.is_empty())
                .map(PathBuf::from),
        }
    }
}

/// A running server. Dropping the handle shuts the server down as [`EmbeddedPg::stop`] does, without waiting.
pub struct EmbeddedPg {
    address: Address,
    stop: oneshot::Sender<()>,
    ended: oneshot::Receiver<()>,
    failure: watch::Receiver<Option<StartError>>,
}

/// How to reach the server.
struct Address {
    socket_dir: PathBuf,
    password: String,
    server_version: u32,
}

impl EmbeddedPg {
    /// Creates the cluster if there is none, starts the server and returns when it accepts connections.
    ///
    /// # Errors
    /// Every [`StartError`]; nothing runs and nothing is held then.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let (ready_sender, ready) = oneshot::channel();
        let (stop, stop_receiver) = oneshot::channel();
        let (ended_sender, ended) = oneshot::channel();
        let (failure_sender, failure) = watch::channel(None);
        // The kernel ties the parent-death signal to the thread that forks, so the server is started by a thread
        // that lives as long as the server, never by one of the caller's runtime.
        std::thread::Builder::new()
            .name("postgres".to_owned())
            .spawn(move || {
                supervisor::run(options, ready_sender, stop_receiver, &failure_sender);
                // Last, when the lock is released: whoever waits may start again at once.
                drop(ended_sender);
            })
            .map_err(|error| StartError::Supervisor {
                reason: error.to_string(),
            })?;
        let address = ready.await.unwrap_or_else(|_| Err(StartError::thread_ended()))?;
        Ok(Self {
            address,
            stop,
            ended,
            failure,
        })
    }

    /// The directory of the Unix socket.
    pub fn socket_dir(&self) -> &Path {
        &self.address.socket_dir
    }

    /// The port, which is part of the socket's name; there is no TCP listener.
    pub fn port(&self) -> u16 {
        PORT
    }

    /// The name of the cluster's superuser.
    pub fn superuser(&self) -> &str {
        SUPERUSER
    }

    /// The superuser's password, 64 hexadecimal digits.
    pub fn superuser_password(&self) -> &str {
        &self.address.password
    }

    /// The server's version as `server_version_num` has it: 150020 is 15.20.
    pub fn server_version(&self) -> u32 {
        self.address.server_version
    }

    /// Shuts the server down: transactions are rolled back and sessions closed. Returns when it has ended; one
    /// that does not within 20 seconds is killed, which loses nothing that was committed.
    pub async fn stop(self) {
        drop(self.stop);
        // Nothing is ever sent; the channel closes when the supervising thread has ended.
        let _ = self.ended.await;
    }

    /// Resolves with the last error when the server died and could not be started again ten times in a row.
    pub fn failed(&self) -> impl Future<Output = StartError> + Send + use<> {
        let mut failure = self.failure.clone();
        async move {
            match failure.wait_for(Option::is_some).await.as_deref() {
                Ok(Some(error)) => error.clone(),
                Ok(None) | Err(_) => StartError::thread_ended(),
            }
        }
    }
}

/// Without the password, so that it cannot end in a log.
impl fmt::Debug for EmbeddedPg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedPg")
            .field("socket_dir", &self.address.socket_dir)
            .finish_non_exhaustive()
    }
}
