//! The upload URL used again with other bytes, at every moment of the way and on every store: nothing is served that
//! was not scanned.

use clap::Parser;
use serde_json::json;
use sqlx::Connection;
use storage::{Storage, StorageConfig};
use testkit::{SampleStore, external_store};

use super::clamd::Clamd;
use super::crash::app_with;
use super::support::{bytes, id, put, status, text, until, value};

/// When the other bytes are put.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Moment {
    BeforeTheScan,
    DuringTheScan,
    BetweenScanAndPromotion,
    AfterPromotion,
}

fn rounds() -> usize {
    if std::env::var_os("ALLY360_TEST_FULL").is_some() {
        250
    } else {
        5
    }
}

#[derive(Parser)]
struct Defaults {
    #[command(flatten)]
    storage: StorageConfig,
}

/// On the embedded store, or on the one that the settings name.
async fn replay(moment: Moment, store: Option<StorageConfig>) {
    let clamd = Clamd::start(0).await;
    let storage = store.map(|config| Storage::external(&config).expect("a client"));
    if let Some(storage) = &storage {
        storage.ensure_buckets().await.expect("buckets");
    }
    let t = app_with(&clamd, storage).await;
    let a = t.tenant("a").await;
    for round in 0..rounds() {
        let (first, second) = (format!("hello {round}"), format!("malware {round}"));
        let upload = a
            .post("/files/upload/presign", text("a.txt"))
            .await
            .created()
            .json;
        let id = id(&upload);
        assert_eq!(put(&upload, first.clone()).await, 200);
        a.post(&format!("/files/{id}/complete"), json!({})).await.ok();
        if moment == Moment::BeforeTheScan {
            assert_eq!(put(&upload, second.clone()).await, 200);
        }
        let worker = t.start_worker();
        clamd.begun.acquire().await.expect("open").forget();
        match moment {
            Moment::DuringTheScan => {
                assert_eq!(put(&upload, second.clone()).await, 200);
                clamd.allow(1);
            }
            Moment::BetweenScanAndPromotion => {
                // The worker goes on with the file's row, which is locked.
                let mut conn = t.superuser().await;
                let mut tx = conn.begin().await.expect("a transaction");
                let lock = "select id from ally.files where state = 'scanning' for update";
                sqlx::query(lock).fetch_one(&mut *tx).await.expect("the row");
                clamd.allow(1);
                let waiting = "select count(*)::text from pg_stat_activity
                                where datname = current_database() and wait_event_type = 'Lock'";
                until(async || value(&t, waiting).await != "0").await;
                assert_eq!(put(&upload, second.clone()).await, 200);
                tx.commit().await.expect("released");
            }
            Moment::BeforeTheScan | Moment::AfterPromotion => clamd.allow(1),
        }
        let ended = async || !["uploaded", "scanning"].contains(&status(&a, &id).await.as_str());
        until(ended).await;
        if moment == Moment::AfterPromotion {
            assert_eq!(put(&upload, second.clone()).await, 200);
            a.post(&format!("/files/{id}/complete"), json!({})).await.ok();
        }
        worker.stop().await;

        if moment == Moment::BeforeTheScan {
            assert_eq!(status(&a, &id).await, "infected Test.Malware");
            a.get(&format!("/files/{id}/download"))
                .await
                .problem(409, "file-not-ready");
        } else {
            assert_eq!(status(&a, &id).await, "ready");
            let served = bytes(&a, &id).await;
            assert_eq!(served, first.as_bytes());
            assert!(clamd.has_scanned(&served));
        }
    }
    t.run_jobs().await;
    files::sweep(&t.app, false).await.expect("a sweep");
    let kept = if moment == Moment::BeforeTheScan {
        0
    } else {
        rounds()
    };
    let left = files::sweep(&t.app, true).await.expect("a sweep");
    assert_eq!(left.objects, u64::try_from(kept).expect("few"), "{left:?}");
}

macro_rules! on_every_store {
    ($($test:ident: $moment:ident,)*) => {
        mod embedded_store {
            use super::{Moment, replay};
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                replay(Moment::$moment, None).await;
            })*
        }
        mod s3s_fs_store {
            use super::{Defaults, Moment, Parser, SampleStore, replay};
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                let sample = SampleStore::start().await;
                let store = sample.named(Defaults::parse_from(["test"]).storage);
                replay(Moment::$moment, Some(store)).await;
            })*
        }
        mod external_store {
            use super::{Defaults, Moment, Parser, external_store, replay};
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                if let Some(store) = external_store(Defaults::parse_from(["test"]).storage) {
                    replay(Moment::$moment, Some(store)).await;
                }
            })*
        }
    };
}

on_every_store!(
    what_is_put_before_the_scan_is_what_is_scanned: BeforeTheScan,
    what_is_put_during_the_scan_is_not_served: DuringTheScan,
    what_is_put_between_scan_and_promotion_is_not_served: BetweenScanAndPromotion,
    what_is_put_after_promotion_is_not_served: AfterPromotion,
);
