//! The upload URL used again with other bytes, at every moment of the way and on every store: nothing is served that
//! was not scanned.

use clap::Parser;
use serde_json::json;
use sqlx::Connection;
use storage::{Storage, StorageConfig};
use testkit::{SampleStore, TestApp, external_store};

use super::clamd::Clamd;
use super::crash::app_with;
use super::support::{
    EICAR, bytes, execute, id, presign, put, quarantined, send, status, text, until, value,
};
use crate::app;

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
pub struct Defaults {
    #[command(flatten)]
    pub storage: StorageConfig,
}

/// On the embedded store, or on the one that the settings name.
async fn replay(moment: Moment, store: Option<StorageConfig>) {
    let clamd = Clamd::start(0).await;
    let reported = store.is_none();
    let storage = store.map(|config| Storage::external(&config).expect("a client"));
    if let Some(storage) = &storage {
        storage.ensure_buckets().await.expect("buckets");
    }
    let t = app_with(&clamd, storage).await;
    let a = t.tenant("a").await;
    for round in 0..rounds() {
        let (first, second) = (format!("hello {round}"), format!("malware {round}"));
        let upload = presign(&a, text("a.txt")).await;
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
    if reported {
        let removed = async || {
            t.run_jobs().await;
            quarantined(&t).await == 0
        };
        until(removed).await;
    }
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

/// Uploads that lie in quarantine, and removals that wait.
async fn left_and_to_remove(t: &TestApp) -> (u64, String) {
    let waiting = "select count(*)::text from ally.jobs where name = 'files.remove_objects'";
    (quarantined(t).await, value(t, waiting).await)
}

#[tokio::test]
async fn what_is_put_when_the_outcome_is_known_is_removed() {
    let t = app().await;
    let a = t.tenant("a").await;
    let ready = send(&a, text("a.txt"), "hello").await;
    let rejected = send(&a, text("b.txt"), "<script>").await;
    let infected = send(&a, text("c.txt"), EICAR).await;
    let deleted = send(&a, text("d.txt"), "hello").await;
    let purged = send(&a, text("e.txt"), "hello").await;
    let expired = a.post("/files/upload/presign", text("f.txt")).await.created();
    t.run_jobs().await;
    for upload in [&deleted, &purged] {
        a.delete(&format!("/files/{}", id(upload))).await.status(204);
    }
    execute(&t, "delete from ally.files where filename = 'e.txt'").await;
    execute(
        &t,
        "update ally.files set state = 'expired', reserved = 0 where filename = 'f.txt'",
    )
    .await;
    for upload in [&ready, &rejected, &infected, &deleted, &purged, &expired.json] {
        assert_eq!(left_and_to_remove(&t).await, (0, "0".to_owned()), "{upload}");
        assert_eq!(put(upload, "more").await, 200);
        until(async || left_and_to_remove(&t).await == (1, "1".to_owned())).await;
        t.run_jobs().await;
    }
    assert_eq!(left_and_to_remove(&t).await, (0, "0".to_owned()));
    assert_eq!(bytes(&a, &id(&ready)).await, b"hello");
}

#[tokio::test]
async fn what_is_put_while_a_file_is_processed_goes_when_that_ends() {
    let t = app().await;
    let a = t.tenant("a").await;
    let upload = send(&a, text("a.txt"), "hello").await;
    let marker = send(&a, text("b.txt"), "hello").await;
    for state in ["uploaded", "scanning"] {
        sqlx::query("update ally.files set state = $1 where filename = 'a.txt'")
            .bind(state)
            .execute(&mut t.superuser().await)
            .await
            .expect("set");
        assert_eq!(put(&upload, "other").await, 200);
        // Arrivals are heard in their order.
        execute(
            &t,
            "update ally.files set state = 'pending' where filename = 'b.txt'",
        )
        .await;
        assert_eq!(put(&marker, "hello").await, 200);
        until(async || status(&a, &id(&marker)).await == "uploaded").await;
        assert_eq!(left_and_to_remove(&t).await, (0, "0".to_owned()), "{state}");
    }
    t.run_jobs().await;
    assert_eq!(bytes(&a, &id(&upload)).await, b"other");
    assert_eq!(quarantined(&t).await, 0);
}

#[tokio::test]
async fn no_upload_is_larger_than_the_largest_file_of_any_module() {
    let t = app().await;
    let a = t.tenant("a").await;
    let upload = presign(&a, text("a.txt")).await;
    let most = 50 * 1024 * 1024;
    let refused = put(&upload, vec![b'a'; most + 1]).await;
    assert!(refused.is_client_error(), "{refused}");
    assert_eq!(status(&a, &id(&upload)).await, "pending");
    assert_eq!(put(&upload, vec![b'a'; most]).await, 200);
}
