//! Objects without a file, and files without their object.

use std::time::Duration;

use storage::{Bucket, Content};

use super::support::{bytes, id, presign, put, send, store, text, value};
use crate::app;

async fn object(t: &testkit::TestApp, bucket: Bucket, key: &str) {
    let storage = &t.app.part::<files::Files>().expect("files").storage;
    let digest = kernel::keys::sha256(b"x");
    storage
        .put(bucket, key, &Content::bytes("x"), "text/plain", &digest)
        .await
        .expect("stored");
}

#[tokio::test]
async fn a_sweep_finds_orphans_of_both_kinds_and_a_dry_run_leaves_them() {
    let t = app().await;
    let a = t.tenant("a").await;
    let kept = store(&t, &a, text("kept.txt"), "hello").await;
    let lost = store(&t, &a, text("lost.txt"), "hello").await;
    t.ignore_store();
    let open = presign(&a, text("open.txt")).await;
    assert_eq!(put(&open, "hello").await, 200);

    let company = a.company();
    let stray = format!(
        "{company}/documents/2026/01/01/{}-stray.txt",
        uuid::Uuid::new_v4()
    );
    let nobody = format!("{}/documents/2026/01/01/x-nobody.txt", uuid::Uuid::new_v4());
    let upload = format!("{company}/{}", uuid::Uuid::new_v4());
    object(&t, Bucket::Clean, &stray).await;
    object(&t, Bucket::Clean, &format!("{stray}@thumb_160")).await;
    object(&t, Bucket::Clean, &nobody).await;
    object(&t, Bucket::Clean, "manual.txt").await;
    object(&t, Bucket::Quarantine, &upload).await;
    let storage = t.app.part::<files::Files>().expect("files").storage.clone();
    let lost_key = value(&t, "select key from ally.files where filename = 'lost.txt'").await;
    storage.delete(Bucket::Clean, &lost_key).await.expect("deleted");

    let young = files::sweep(&t.app, true).await.expect("a sweep");
    assert_eq!((young.young.count, young.unreferenced.count), (3, 0));
    t.app.clock.advance(Duration::from_hours(24 * 7 + 1));
    let dry = files::sweep(&t.app, true).await.expect("a sweep");
    let mut unreferenced = vec![stray.clone(), format!("{stray}@thumb_160"), nobody.clone()];
    unreferenced.sort();
    let mut found = dry.unreferenced.keys.clone();
    found.sort();
    assert_eq!((dry.dry_run, found, dry.objects), (true, unreferenced, 7));
    assert_eq!(
        (&dry.quarantined.keys, &dry.missing.keys, &dry.foreign.keys),
        (&vec![upload], &vec![lost_key], &vec!["manual.txt".to_owned()])
    );

    let mut wet = files::sweep(&t.app, false).await.expect("a sweep");
    wet.dry_run = true;
    assert_eq!(wet, dry, "the dry run changed nothing");
    let left = files::sweep(&t.app, false).await.expect("a sweep");
    assert_eq!(
        (
            left.objects,
            left.unreferenced.count,
            left.quarantined.count,
            left.missing.count
        ),
        (3, 0, 0, 1)
    );
    let a = t.sign_in(&a.email).await.in_company(company);
    assert_eq!(bytes(&a, &kept).await, b"hello");
    assert_eq!(
        a.get(&format!("/files/{lost}")).await.ok().json["status"],
        "ready",
        "an operator restores the object"
    );
    a.post(&format!("/files/{}/complete", id(&open)), serde_json::json!({}))
        .await
        .ok();
}

#[tokio::test]
async fn an_upload_that_is_being_processed_is_no_orphan() {
    let t = app().await;
    let a = t.tenant("a").await;
    let upload = send(&a, text("a.txt"), "hello").await;
    let found = files::sweep(&t.app, false).await.expect("a sweep");
    assert_eq!((found.objects, found.quarantined.count), (1, 0));
    t.run_jobs().await;
    assert_eq!(bytes(&a, &id(&upload)).await, b"hello");
}
