//! Stores to test against.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use sha2::{Digest, Sha256};
use storage::embedded::Options;
use storage::{Bucket, EmbeddedStore, Error, Presigned, PutConditions, Storage, StorageConfig};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

/// A store with its buckets, and what it cannot do.
pub struct Subject {
    pub storage: Storage,
    pub honours_create_only: bool,
    /// `s3s-fs` is a sample: it keeps the bytes of refused uploads, ignores `If-Match` on reads, lists some keys
    /// wrongly and makes file names of them that may be too long.
    pub is_sample: bool,
    pub embedded: Option<EmbeddedStore>,
    pub dir: TempDir,
    pub bucket_name: String,
}

impl Subject {
    pub async fn embedded() -> Self {
        let dir = directory();
        let store = EmbeddedStore::start(options(dir.path()))
            .await
            .expect("the store starts");
        let storage = Storage::embedded(&config(), &store).expect("a client");
        storage.ensure_buckets().await.expect("buckets");
        Self {
            storage,
            honours_create_only: true,
            is_sample: false,
            embedded: Some(store),
            dir,
            bucket_name: "ally360".to_owned(),
        }
    }

    pub async fn s3s_fs() -> Self {
        let dir = directory();
        let backend = s3s_fs::FileSystem::new(dir.path()).expect("a file system");
        let mut builder = S3ServiceBuilder::new(backend);
        builder.set_auth(SimpleAuth::from_single("access", "secret"));
        let service = builder.build();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let tasks = TaskTracker::new();
        tasks.clone().spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tasks.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service.clone()));
            }
        });
        let config = StorageConfig {
            minio_host: Some("127.0.0.1".to_owned()),
            minio_port: port,
            minio_access_key: "access".to_owned(),
            minio_secret_key: "secret".to_owned(),
            ..config()
        };
        let storage = Storage::external(&config).expect("a client");
        storage.ensure_buckets().await.expect("buckets");
        let bucket_name = config.minio_bucket_name;
        Self {
            storage,
            honours_create_only: true,
            is_sample: true,
            embedded: None,
            dir,
            bucket_name,
        }
    }

    /// The server that the environment names, with buckets of this test's own.
    pub async fn external() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let variable = |name: &str| std::env::var(format!("ALLY360_TEST_S3_{name}")).ok();
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let config = StorageConfig {
            minio_host: Some(variable("HOST")?),
            minio_port: variable("PORT").map_or(9000, |port| port.parse().expect("a port")),
            minio_access_key: variable("ACCESS_KEY").expect("ALLY360_TEST_S3_ACCESS_KEY"),
            minio_secret_key: variable("SECRET_KEY").expect("ALLY360_TEST_S3_SECRET_KEY"),
            minio_region: variable("REGION").unwrap_or_else(|| "us-east-1".to_owned()),
            minio_bucket_name: format!("ally360-test-{}-{number}", std::process::id()),
            ..config()
        };
        let storage = Storage::external(&config).expect("a client");
        storage.ensure_buckets().await.expect("buckets");
        let bucket_name = config.minio_bucket_name;
        let honours_create_only = variable("IGNORES_CREATE_ONLY").is_none();
        let dir = directory();
        Some(Self {
            storage,
            honours_create_only,
            is_sample: false,
            embedded: None,
            dir,
            bucket_name,
        })
    }

    pub fn store(&self) -> &EmbeddedStore {
        self.embedded.as_ref().expect("the embedded store")
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.store().addr())
    }
}

/// Runs each function against every store.
#[macro_export]
macro_rules! against_every_store {
    ($($test:ident),* $(,)?) => {
        mod embedded_store {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test(&$crate::support::Subject::embedded().await).await;
            })*
        }
        mod s3s_fs_store {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test(&$crate::support::Subject::s3s_fs().await).await;
            })*
        }
        mod external_store {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                if let Some(subject) = $crate::support::Subject::external().await {
                    super::$test(&subject).await;
                }
            })*
        }
    };
}

/// In memory, where syncing costs nothing.
pub fn directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() {
        memory.to_owned()
    } else {
        std::env::temp_dir()
    };
    TempDir::new_in(parent).expect("a directory")
}

pub fn options(data_dir: &Path) -> Options {
    Options {
        data_dir: data_dir.to_owned(),
        listen: "127.0.0.1:0".parse().expect("an address"),
        max_object_bytes: 512 * 1024 * 1024,
    }
}

/// The settings with nothing set.
pub fn config() -> StorageConfig {
    StorageConfig {
        minio_host: None,
        minio_port: 9000,
        minio_access_key: String::new(),
        minio_secret_key: String::new(),
        minio_bucket_name: "ally360".to_owned(),
        minio_use_ssl: false,
        minio_public_host: None,
        minio_public_port: None,
        minio_region: "us-east-1".to_owned(),
        store_listen: "127.0.0.1:0".parse().expect("an address"),
        store_max_object_bytes: 512 * 1024 * 1024,
    }
}

pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Everything that can be demanded of an upload of `body` as text.
pub fn conditions(body: &[u8]) -> PutConditions {
    PutConditions {
        content_type: Some("text/plain".to_owned()),
        content_length: Some(u64::try_from(body.len()).expect("a length")),
        sha256: Some(sha256(body)),
        create_only: true,
        expires: Duration::from_mins(10),
    }
}

/// Sends a presigned request as a browser would: with its headers, `Content-Length` from the body.
pub async fn send(presigned: &Presigned, body: impl Into<reqwest::Body>) -> reqwest::Response {
    let method = presigned.method.parse().expect("a method");
    let mut request = reqwest::Client::new().request(method, &presigned.url).body(body);
    for (name, value) in presigned
        .headers
        .iter()
        .filter(|(name, _)| **name != "content-length")
    {
        request = request.header(*name, value);
    }
    request.send().await.expect("an answer")
}

pub async fn read(storage: &Storage, bucket: Bucket, key: &str) -> Result<Bytes, Error> {
    let object = storage.get_stream(bucket, key, None).await?;
    let pieces: Vec<Bytes> = object.body.try_collect().await?;
    Ok(pieces.concat().into())
}

pub async fn put(storage: &Storage, bucket: Bucket, key: &str, body: &[u8]) -> Result<String, Error> {
    let content = storage::Content::bytes(body.to_vec());
    storage
        .put(bucket, key, &content, "text/plain", &sha256(body))
        .await
}

/// All keys with a prefix, page by page.
pub async fn keys(storage: &Storage, bucket: Bucket, prefix: &str) -> Vec<String> {
    let (mut keys, mut continuation) = (Vec::new(), None);
    loop {
        let page = storage
            .list(bucket, prefix, continuation.as_deref())
            .await
            .expect("a page");
        keys.extend(page.objects.into_iter().map(|object| object.key));
        continuation = page.continuation;
        if continuation.is_none() {
            return keys;
        }
    }
}

/// The regular files below a directory.
pub fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("a directory");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] })
        .collect()
}
