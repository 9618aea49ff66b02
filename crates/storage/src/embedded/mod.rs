//! An S3 endpoint in this process over the file system, for installations without an object store.
//!
//! Everything lives in `objects/` of the data directory, which only its owner may enter:
//!
//! | path | what |
//! |---|---|
//! | `buckets/<bucket>/ab/cd/<hash>` | one object; the hash is the SHA-256 of its key, `abcd…` its beginning |
//! | `incoming/` | uploads under way; emptied at start |
//! | `credentials.json` | the key pair of this data directory |
//! | `lock` | held by the process that runs the store |
//!
//! A key never becomes a path. An object is one file, data and description together, that is written aside, synced
//! and renamed, so a crash leaves all of it or nothing; an answered upload has reached the disk. Keys, sizes and
//! ETags are also held in memory, some 300 bytes per object, and read from the files at start.

mod backend;
mod credentials;
mod disk;
mod idle;
mod lent;
mod object_file;
mod serve;
mod uploads;

use std::fs::{self, File, Permissions, TryLockError};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use s3s::auth::SimpleAuth;
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::service::S3ServiceBuilder;
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::{ConfigError, Credentials};
use backend::{Backend, Limits};
use disk::Disk;

/// XML in requests is a lifecycle rule or a bucket's location, never more.
const MAX_XML: usize = 64 * 1024;
/// Arrivals kept for a receiver that is behind; one further behind learns that it missed some.
const ARRIVALS: usize = 1024;

/// What to run and where.
#[derive(Clone, Debug)]
pub struct Options {
    /// The store is `objects/` in it; created when missing.
    pub data_dir: PathBuf,
    /// For clients. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// For this process alone.
    pub own_listen: SocketAddr,
    /// Larger objects are refused, in bytes.
    pub max_object_bytes: u64,
    /// What clients upload to; it takes less than that.
    pub quarantine_bucket: String,
    /// Larger objects are refused in that bucket, in bytes: a URL that works cannot fill the disk with what would be
    /// refused afterwards.
    pub max_upload_bytes: u64,
}

/// An object that was stored completely.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    pub bucket: String,
    pub key: String,
    /// In bytes.
    pub size: u64,
    /// As [`crate::ObjectInfo::etag`].
    pub etag: String,
}

/// Why there is no store to talk to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    #[error(transparent)]
    Config(ConfigError),
    #[error("another ally360 uses {}; stop it or choose another data directory with --data-dir", .0.display())]
    InUse(PathBuf),
    #[error(
        "the object store cannot listen on {addr}: {error}; choose another address with ALLY360_STORE_LISTEN"
    )]
    Listen { addr: SocketAddr, error: io::Error },
    #[error("cannot keep objects in {}: {error}; repair this or choose another data directory with --data-dir", .path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("the client of the object store cannot be set up: {0}")]
    Client(String),
}

/// A running store. Dropping it closes its connections; what was answered is on disk in any case.
#[derive(Debug)]
pub struct EmbeddedStore {
    addr: SocketAddr,
    own_addr: SocketAddr,
    credentials: Credentials,
    arrivals: broadcast::Sender<Arrival>,
    shutdown: DropGuard,
    tasks: TaskTracker,
}

impl EmbeddedStore {
    /// Opens the data directory and serves it; returns when requests are accepted.
    ///
    /// # Errors
    /// Every [`StartError`] but `Config` and `Client`; nothing runs and nothing is held then.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let root = options.data_dir.join("objects");
        let (arrivals, _) = broadcast::channel(ARRIVALS);
        let opened = tokio::task::spawn_blocking({
            let (root, arrivals) = (root.clone(), arrivals.clone());
            move || open(&root, arrivals)
        });
        let (disk, credentials) = opened.await.map_err(|error| StartError::Io {
            path: root,
            error: error.into(),
        })??;

        let (listener, addr) = bind(options.listen).await?;
        let (own, own_addr) = bind(options.own_listen).await?;

        let limits = Limits {
            max_object_bytes: options.max_object_bytes,
            quarantine_bucket: options.quarantine_bucket,
            max_upload_bytes: options.max_upload_bytes.min(options.max_object_bytes),
        };
        let mut builder = S3ServiceBuilder::new(Backend::new(disk, limits));
        builder.set_auth(SimpleAuth::from_single(
            &*credentials.access_key,
            &*credentials.secret_key,
        ));
        let mut config = S3Config::default();
        config.xml_max_body_size = MAX_XML;
        builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));

        let shutdown = CancellationToken::new();
        let tasks = TaskTracker::new();
        let service = builder.build();
        for listener in [listener, own] {
            tasks.spawn(serve::serve(
                listener,
                service.clone(),
                tasks.clone(),
                shutdown.clone(),
            ));
        }
        tasks.close();
        Ok(Self {
            addr,
            own_addr,
            credentials,
            arrivals,
            shutdown: shutdown.drop_guard(),
            tasks,
        })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where it listens for this process alone, which clients cannot keep from it.
    pub fn own_addr(&self) -> SocketAddr {
        self.own_addr
    }

    /// The key pair of the data directory, the only one accepted.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Objects as they arrive, from now on. A hint to look at once, not a record: a receiver that is slow misses
    /// some ([`broadcast::error::RecvError::Lagged`]), and a restart forgets them.
    pub fn subscribe(&self) -> broadcast::Receiver<Arrival> {
        self.arrivals.subscribe()
    }

    /// Lets open requests finish for up to ten seconds, then closes them. Returns when the data directory is free.
    pub async fn stop(self) {
        drop(self.shutdown);
        self.tasks.wait().await;
    }
}

async fn bind(addr: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let refused = |error| StartError::Listen { addr, error };
    let listener = TcpListener::bind(addr).await.map_err(refused)?;
    let addr = listener.local_addr().map_err(refused)?;
    Ok((listener, addr))
}

/// Opens `root` and takes its lock, which lasts as long as the disk.
fn open(root: &Path, arrivals: broadcast::Sender<Arrival>) -> Result<(Disk, Credentials), StartError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |error| StartError::Io { path, error }
    };
    fs::create_dir_all(root).map_err(io(root))?;
    fs::set_permissions(root, Permissions::from_mode(0o700)).map_err(io(root))?;
    let lock_path = root.join("lock");
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&lock_path)
        .map_err(io(&lock_path))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(StartError::InUse(root.to_owned())),
        Err(TryLockError::Error(error)) => return Err(io(&lock_path)(error)),
    }
    let credentials = credentials::load_or_create(root).map_err(io(&root.join(credentials::FILE)))?;
    let disk = Disk::open(root, lock, arrivals).map_err(io(root))?;
    Ok((disk, credentials))
}
