//! A process that hosts the store is killed while it takes uploads.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use storage::{Bucket, EmbeddedStore, Storage, StorageConfig};

use crate::support::{config, files, keys, options, put, read};

const HOSTED: &str = "ALLY360_TEST_HOSTED_STORE";

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_store_keeps_what_it_acknowledged() {
    // On a disk: syncing has to cost what it costs.
    let dir = tempfile::tempdir().expect("a directory");
    let mut uploads_cut = 0;
    for round in 0..4_u64 {
        let mut host = Host::start(dir.path()).await;
        let storage = &host.storage;
        let acknowledged = Mutex::new(Vec::new());
        let uploads = stream::iter(0..200_usize).for_each_concurrent(16, |n| {
            let acknowledged = &acknowledged;
            async move {
                let key = format!("{round}/{n}");
                if put(storage, Bucket::Clean, &key, &body(&key, n)).await.is_ok() {
                    acknowledged.lock().expect("a list").push((key, n));
                }
            }
        });
        let kill = tokio::time::sleep(Duration::from_millis(100 + 150 * round));
        tokio::select! {
            () = uploads => {}
            () = kill => uploads_cut += 1,
        }
        host.kill();

        let store = EmbeddedStore::start(options(dir.path()))
            .await
            .expect("it starts again");
        let storage = Storage::embedded(&config(), &store).expect("a client");
        let acknowledged = acknowledged.into_inner().expect("a list");
        for (key, n) in &acknowledged {
            let stored = read(&storage, Bucket::Clean, key).await.expect("acknowledged");
            assert!(stored == body(key, *n), "{key} is torn");
        }
        let listed = keys(&storage, Bucket::Clean, &format!("{round}/")).await;
        assert!(listed.len() >= acknowledged.len());
        for key in listed {
            let n = key
                .split('/')
                .nth(1)
                .and_then(|n| n.parse().ok())
                .expect("a number");
            let stored = read(&storage, Bucket::Clean, &key).await.expect("listed");
            assert!(stored == body(&key, n), "{key} is listed but torn");
        }
        let whole = keys(&storage, Bucket::Clean, "").await.len();
        assert_eq!(
            files(&dir.path().join("objects/buckets")).len(),
            whole,
            "torn files"
        );
        store.stop().await;
    }
    assert!(uploads_cut > 0, "every upload ended before the kill");
}

/// Of 0 to 2 MB in no order, so that a kill meets uploads of every size at every stage.
fn body(key: &str, n: usize) -> Vec<u8> {
    key.repeat(n * 37 % 200 * 2_000).into_bytes()
}

struct Host {
    process: Child,
    storage: Storage,
}

impl Host {
    /// Runs this test binary again with only [`hosted_store`].
    async fn start(data_dir: &Path) -> Self {
        let ready = data_dir.join("ready");
        let _ = fs::remove_file(&ready);
        let process = Command::new(std::env::current_exe().expect("this binary"))
            .args(["--exact", "crash::hosted_store", "--ignored"])
            .env(HOSTED, data_dir)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a process");
        while !ready.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let lines = fs::read_to_string(&ready).expect("an address");
        let [addr, access, secret] = lines.lines().collect::<Vec<_>>()[..] else {
            panic!("{lines}")
        };
        let config = StorageConfig {
            minio_host: Some(addr.to_owned()),
            minio_access_key: access.to_owned(),
            minio_secret_key: secret.to_owned(),
            ..config()
        };
        let storage = Storage::external(&config).expect("a client");
        storage.ensure_buckets().await.expect("buckets");
        Self { process, storage }
    }

    fn kill(&mut self) {
        let _ = self.process.kill();
        self.process.wait().expect("it ends");
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.kill();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the other process of the test that kills one"]
async fn hosted_store() {
    let Some(data_dir) = std::env::var_os(HOSTED) else {
        return;
    };
    let data_dir = Path::new(&data_dir);
    let store = EmbeddedStore::start(options(data_dir))
        .await
        .expect("the store starts");
    let credentials = store.credentials();
    let lines = format!(
        "{}\n{}\n{}\n",
        store.addr(),
        credentials.access_key,
        credentials.secret_key
    );
    fs::write(data_dir.join("ready.part"), lines).expect("written");
    fs::rename(data_dir.join("ready.part"), data_dir.join("ready")).expect("renamed");
    std::future::pending::<()>().await;
}
