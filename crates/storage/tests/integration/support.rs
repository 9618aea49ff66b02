//! Stores to test against.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use sha2::{Digest, Sha256};
use storage::embedded::Options;
use storage::{Bucket, EmbeddedStore, Error, Presigned, PutConditions, Storage, StorageConfig};
use tempfile::TempDir;
use testkit::SampleStore;

/// A store with its buckets.
pub struct Subject {
    pub storage: Storage,
    pub honours_create_only: bool,
    pub embedded: Option<EmbeddedStore>,
    /// See there for what it cannot do.
    sample: Option<SampleStore>,
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
            embedded: Some(store),
            sample: None,
            dir,
            bucket_name: "ally360".to_owned(),
        }
    }

    pub async fn s3s_fs() -> Self {
        let sample = SampleStore::start().await;
        let config = sample.named(config());
        Self {
            sample: Some(sample),
            ..Self::server(config).await
        }
    }

    /// The server that the environment names, with buckets of this test's own.
    pub async fn external() -> Option<Self> {
        let honours_create_only = std::env::var_os("ALLY360_TEST_S3_IGNORES_CREATE_ONLY").is_none();
        Some(Self {
            honours_create_only,
            ..Self::server(testkit::external_store(config())?).await
        })
    }

    async fn server(config: StorageConfig) -> Self {
        let storage = Storage::external(&config).expect("a client");
        storage.ensure_buckets().await.expect("buckets");
        Self {
            storage,
            honours_create_only: true,
            embedded: None,
            sample: None,
            dir: directory(),
            bucket_name: config.minio_bucket_name,
        }
    }

    pub fn is_sample(&self) -> bool {
        self.sample.is_some()
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
        own_listen: ([127, 0, 0, 1], 0).into(),
        max_object_bytes: 512 * 1024 * 1024,
        quarantine_bucket: "ally360-quarantine".to_owned(),
        max_upload_bytes: 512 * 1024 * 1024,
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
