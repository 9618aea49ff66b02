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
    let nobody = format!(
        "{}/documents/2026/01/01/{}-nobody.txt",
        uuid::Uuid::new_v4(),
        uuid::Uuid::new_v4()
    );
    let upload = format!("{company}/{}", uuid::Uuid::new_v4());
    object(&t, Bucket::Clean, &stray).await;
    object(&t, Bucket::Clean, &format!("{stray}@thumb_160")).await;
    object(&t, Bucket::Clean, &nobody).await;
    object(&t, Bucket::Clean, "manual.txt").await;
    object(&t, Bucket::Quarantine, &upload).await;
    let storage = t.app.part::<files::Files>().expect("files").storage.clone();
    let lost_key = value(&t, "select key from ally.files where filename = 'lost.txt'").await;
    storage.delete(Bucket::Clean, &lost_key).await.expect("deleted");

    let sweep = async |dry_run| files::sweep(&t.app, dry_run).await.expect("a sweep");
    let mut strays = vec![stray.clone(), format!("{stray}@thumb_160"), nobody.clone()];
    strays.sort();
    let dry = sweep(true).await;
    let sorted = |keys: &[String]| {
        let mut keys = keys.to_vec();
        keys.sort();
        keys
    };
    assert_eq!(
        (dry.dry_run, dry.objects, sorted(&dry.young.keys)),
        (true, 7, strays.clone())
    );
    assert_eq!(
        (&dry.quarantined.keys, &dry.missing.keys, &dry.foreign.keys),
        (&vec![upload], &vec![lost_key], &vec!["manual.txt".to_owned()])
    );
    // Dry runs note nothing: since when nothing refers to an object, counts from the first that is none.
    t.app.clock.advance(Duration::from_hours(24 * 30));
    let mut wet = sweep(false).await;
    wet.dry_run = true;
    assert_eq!(wet, dry, "the dry run changed nothing");

    t.app.clock.advance(Duration::from_hours(24 * 7 + 1));
    let dry = sweep(true).await;
    assert_eq!(
        (dry.objects, dry.young.count, sorted(&dry.unreferenced.keys)),
        (6, 0, strays)
    );
    let mut wet = sweep(false).await;
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

/// As after a restore: the store's objects are old, and the database does not know them yet.
#[tokio::test]
async fn a_store_that_is_restored_before_its_database_loses_nothing() {
    let t = app().await;
    let key = format!(
        "{}/documents/2026/01/01/{}-a.txt",
        uuid::Uuid::new_v4(),
        uuid::Uuid::new_v4()
    );
    object(&t, Bucket::Clean, &key).await;
    t.app.clock.advance(Duration::from_hours(24 * 30));
    let sweep = async || files::sweep(&t.app, false).await.expect("a sweep");
    let nobody = sweep().await;
    assert_eq!((nobody.dry_run, nobody.young.count), (true, 1));
    t.tenant("a").await;
    assert_eq!(sweep().await.young.count, 1);
    t.app.clock.advance(Duration::from_hours(24 * 6));
    assert_eq!(sweep().await.young.count, 1);
    t.app.clock.advance(Duration::from_hours(25));
    assert_eq!(sweep().await.unreferenced.keys, [key]);
    assert_eq!(
        value(&t, "select count(*)::text from ally.unreferenced_objects").await,
        "1"
    );
    sweep().await;
    assert_eq!(
        value(&t, "select count(*)::text from ally.unreferenced_objects").await,
        "0"
    );
}

/// More objects and rows than a page has, of two companies.
#[tokio::test]
async fn what_is_missing_is_found_across_pages() {
    let t = app().await;
    for name in ["a", "b"] {
        let owner = t.tenant(name).await;
        sqlx::query(
            "insert into ally.files (tenant_id, id, module, filename, content_type, size, sha256, state, scanned_by,
                    upload_key, upload_expires_at, reserved, key, bytes, uploaded_by)
             select $1, id, 'documents', 'a.txt', 'text/plain', 1, sha256('x'), 'ready', 'nobody',
                    $1 || '/' || id, now(), 0, $1 || '/documents/2026/01/01/' || id || '-a.txt', 1, $2
               from (select gen_random_uuid() from generate_series(1, 1100)) as made (id)",
        )
        .bind(owner.company())
        .bind(owner.user_id)
        .execute(&mut t.superuser().await)
        .await
        .expect("files");
    }
    let keys = sqlx::query_scalar::<_, String>("select key from ally.files order by key")
        .fetch_all(&mut t.superuser().await)
        .await
        .expect("keys");
    // The last of one company, the first of the other, and one in between are gone.
    let gone = [0, 500, 1099, 1100, 2199];
    for (n, key) in keys.iter().enumerate() {
        if !gone.contains(&n) {
            object(&t, Bucket::Clean, key).await;
        }
    }
    let found = files::sweep(&t.app, true).await.expect("a sweep");
    let expected: Vec<&String> = gone.iter().map(|n| &keys[*n]).collect();
    assert_eq!(found.objects, 2200 - 5);
    assert_eq!(found.missing.keys.iter().collect::<Vec<_>>(), expected);
    assert_eq!((found.young.count, found.foreign.count), (0, 0));
}
