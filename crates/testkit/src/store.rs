//! Object stores of tests: the embedded one, on a directory of its own, that can go away and come back, and S3
//! servers that are not ours.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use clap::Parser;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use storage::embedded::Options;
use storage::{EmbeddedStore, Storage, StorageConfig};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use tokio_util::task::TaskTracker;

use crate::Defaults;

/// A store that lasts as long as this value.
pub struct TestStore {
    running: Option<EmbeddedStore>,
    /// How it comes back.
    options: Options,
    _dir: TempDir,
}

impl TestStore {
    /// Starts, with its buckets, on a free port.
    pub async fn start(config: &StorageConfig) -> (TestStore, Storage) {
        let dir = TempDir::with_prefix("ally360-test-store-").expect("a directory");
        let largest = Defaults::parse_from(["test"]).files.largest_upload();
        let mut options = config.embedded_options(dir.path(), largest);
        let running = EmbeddedStore::start(options.clone())
            .await
            .expect("the store starts");
        let storage = Storage::embedded(config, &running).expect("a client");
        storage.ensure_buckets().await.expect("buckets");
        options.listen = running.addr();
        options.own_listen = running.own_addr();
        (
            TestStore {
                running: Some(running),
                options,
                _dir: dir,
            },
            storage,
        )
    }

    /// Whether it runs.
    pub fn running(&self) -> Option<&EmbeddedStore> {
        self.running.as_ref()
    }

    /// Goes away: connections are refused.
    pub async fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
    }

    /// Gives a bucket another name, while it is away.
    pub fn rename_bucket(&self, from: &str, to: &str) {
        let buckets = self.options.data_dir.join("objects/buckets");
        std::fs::rename(buckets.join(from), buckets.join(to)).expect("a bucket");
    }

    /// Comes back at the same address with the same objects.
    pub async fn restart(&mut self) {
        self.stop().await;
        self.running = Some(
            EmbeddedStore::start(self.options.clone())
                .await
                .expect("the store starts"),
        );
    }
}

/// The server of the library s3s-fs, a sample: it keeps the bytes of refused uploads, ignores `If-Match` on reads,
/// lists some keys wrongly and makes file names of them that may be too long. Ends when dropped.
pub struct SampleStore {
    addr: SocketAddr,
    _dir: TempDir,
    task: AbortHandle,
}

impl SampleStore {
    /// Starts on a free port.
    pub async fn start() -> SampleStore {
        let dir = TempDir::with_prefix("ally360-test-store-").expect("a directory");
        let backend = s3s_fs::FileSystem::new(dir.path()).expect("a file system");
        let mut builder = S3ServiceBuilder::new(backend);
        builder.set_auth(SimpleAuth::from_single("access", "secret"));
        let service = builder.build();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        let tasks = TaskTracker::new();
        let connections = tasks.clone();
        let task = tasks.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections
                    .spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service.clone()));
            }
        });
        SampleStore {
            addr,
            _dir: dir,
            task: task.abort_handle(),
        }
    }

    /// The settings that name it.
    pub fn named(&self, config: StorageConfig) -> StorageConfig {
        StorageConfig {
            minio_host: Some(self.addr.ip().to_string()),
            minio_port: self.addr.port(),
            minio_access_key: "access".to_owned(),
            minio_secret_key: "secret".to_owned(),
            ..config
        }
    }
}

impl Drop for SampleStore {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The settings that name the server of `ALLY360_TEST_S3_*`, if there is one, with buckets of the caller's own.
pub fn external_store(config: StorageConfig) -> Option<StorageConfig> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let variable = |name: &str| std::env::var(format!("ALLY360_TEST_S3_{name}")).ok();
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    Some(StorageConfig {
        minio_host: Some(variable("HOST")?),
        minio_port: variable("PORT").map_or(9000, |port| port.parse().expect("a port")),
        minio_access_key: variable("ACCESS_KEY").expect("ALLY360_TEST_S3_ACCESS_KEY"),
        minio_secret_key: variable("SECRET_KEY").expect("ALLY360_TEST_S3_SECRET_KEY"),
        minio_region: variable("REGION").unwrap_or_else(|| "us-east-1".to_owned()),
        minio_bucket_name: format!("ally360-test-{}-{number}", std::process::id()),
        ..config
    })
}
