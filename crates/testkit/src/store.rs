//! An object store of a test: embedded, on a directory of its own, that can go away and come back.

use std::net::SocketAddr;

use storage::embedded::Options;
use storage::{EmbeddedStore, Storage, StorageConfig};
use tempfile::TempDir;

/// A store that lasts as long as this value.
pub struct TestStore {
    running: Option<EmbeddedStore>,
    addr: SocketAddr,
    dir: TempDir,
}

impl TestStore {
    /// Starts, with its buckets, on a free port.
    pub async fn start(config: &StorageConfig) -> (TestStore, Storage) {
        let dir = TempDir::with_prefix("ally360-test-store-").expect("a directory");
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let running = EmbeddedStore::start(options(&dir, listen))
            .await
            .expect("the store starts");
        let storage = Storage::embedded(config, &running).expect("a client");
        storage.ensure_buckets().await.expect("buckets");
        let addr = running.addr();
        (
            TestStore {
                running: Some(running),
                addr,
                dir,
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

    /// Comes back at the same address with the same objects.
    pub async fn restart(&mut self) {
        self.stop().await;
        self.running = Some(
            EmbeddedStore::start(options(&self.dir, self.addr))
                .await
                .expect("the store starts"),
        );
    }
}

fn options(dir: &TempDir, listen: SocketAddr) -> Options {
    Options {
        data_dir: dir.path().to_owned(),
        listen,
        max_object_bytes: 1024 * 1024 * 1024,
    }
}
