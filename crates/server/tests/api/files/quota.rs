//! Room is promised once, kept exactly, and given back.

use std::time::Duration;

use futures::future::join_all;
use serde_json::json;

use super::support::{
    execute, id, png, presign, put, room, status, store, text, thumbnails, tidy, until, value,
};
use crate::app;

#[tokio::test]
async fn a_company_cannot_grant_itself_room() {
    let t = app().await;
    let a = t.tenant("a").await;
    a.post("/files/upload/presign", sized(1)).await.created();
    let mut conn = t.superuser().await;
    let scope = format!(
        "set role ally_app; set app.tenant_id = '{}'; set search_path = ally",
        a.company()
    );
    #[expect(clippy::disallowed_methods, reason = "the id was made here")]
    let scope = sqlx::raw_sql(sqlx::AssertSqlSafe(scope));
    scope.execute(&mut conn).await.expect("the scope");
    for statement in [
        "update storage_usage set quota_bytes = 1000000",
        "update storage_usage set max_file_bytes = 1000000",
        "insert into storage_usage (tenant_id, quota_bytes) values (app_tenant(), 1000000)",
        "delete from storage_usage",
    ] {
        let refused = sqlx::query(statement)
            .execute(&mut conn)
            .await
            .expect_err(statement);
        assert!(
            refused.to_string().contains("permission denied"),
            "{statement}: {refused}"
        );
    }
}

const KIB: i64 = 1024;

fn sized(size: i64) -> serde_json::Value {
    let mut new = text("a.txt");
    new["size"] = size.into();
    new
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_hundred_uploads_at_once_exactly_as_many_begin_as_there_is_room_for() {
    let t = app().await;
    let a = t.tenant("a").await;
    a.post("/files/upload/presign", sized(1)).await.created();
    execute(&t, "update ally.storage_usage set quota_bytes = 50 * 1024 + 1").await;
    let uploads = (0..200).map(|_| a.post("/files/upload/presign", sized(KIB)));
    let answers = join_all(uploads).await;
    let begun = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(begun, 50);
    let refused = answers
        .iter()
        .filter(|answer| answer.summary() == "409 storage-quota-exceeded")
        .count();
    assert_eq!(
        refused,
        150,
        "{:?}",
        answers
            .iter()
            .map(testkit::Answer::summary)
            .collect::<std::collections::BTreeSet<_>>()
    );
    assert_eq!(room(&t).await, format!("0 {} 51", 50 * KIB + 1));
}

#[tokio::test]
async fn an_upload_that_never_comes_gives_its_room_back() {
    let t = app().await;
    let a = t.tenant("a").await;
    let upload = presign(&a, sized(KIB)).await;
    assert_eq!(room(&t).await, "0 1024 1");
    t.pass(Duration::from_secs(600)).await;
    t.run_jobs().await;
    assert_eq!(
        status(&a, &id(&upload)).await,
        "pending",
        "one that began in time may still be under way"
    );
    t.pass(Duration::from_secs(901)).await;
    t.run_jobs().await;
    assert_eq!(status(&a, &id(&upload)).await, "expired");
    assert_eq!(room(&t).await, "0 0 0");
    a.get(&format!("/files/{}/download", id(&upload)))
        .await
        .problem(409, "file-not-ready");
}

#[tokio::test]
async fn usage_counts_what_is_kept_by_module() {
    let t = app().await;
    let a = t.tenant("a").await;
    store(&t, &a, text("a.txt"), "hello").await;
    let mut new = text("b.txt");
    new["module"] = "invoices".into();
    store(&t, &a, new, "hello world").await;
    store(&t, &a, text("c.txt"), "").await;
    a.post("/files/upload/presign", sized(7)).await.created();
    let usage = a.get("/files/usage").await.ok().json;
    assert_eq!(
        (
            &usage["used_bytes"],
            &usage["reserved_bytes"],
            &usage["open_uploads"]
        ),
        (&json!(16), &json!(7), &json!(1))
    );
    assert_eq!(usage["quota_bytes"], 10 * KIB * KIB * KIB);
    let modules = json!([{"module": "documents", "files": 1, "bytes": 5}, {"module": "invoices", "files": 1, "bytes": 11}]);
    assert_eq!(usage["modules"], modules);
}

#[tokio::test]
async fn a_small_quota_still_takes_files_of_undeclared_size() {
    let t = app().await;
    let a = t.tenant("a").await;
    store(&t, &a, text("a.txt"), "hello").await;
    execute(&t, "update ally.storage_usage set quota_bytes = 1000").await;
    a.post("/files/upload/presign", sized(996))
        .await
        .problem(409, "storage-quota-exceeded");
    let upload = presign(&a, text("b.txt")).await;
    assert_eq!(upload["max_size"], 995);
    a.post("/files/upload/presign", text("b.txt"))
        .await
        .problem(409, "storage-quota-exceeded");
}

#[tokio::test]
async fn open_uploads_are_limited() {
    let t = testkit::TestApp::with_files(server::service, |_| {}, |files| files.config.max_open_uploads = 2)
        .await;
    let a = t.tenant("a").await;
    for _ in 0..2 {
        a.post("/files/upload/presign", sized(5)).await.created();
    }
    a.post("/files/upload/presign", sized(5))
        .await
        .problem(409, "too-many-open-uploads");
}

#[tokio::test]
async fn deleting_an_open_upload_frees_its_room_and_what_arrives_later_goes() {
    let t = app().await;
    let a = t.tenant("a").await;
    let upload = presign(&a, sized(5)).await;
    assert_eq!(room(&t).await, "0 5 1");
    a.delete(&format!("/files/{}", id(&upload))).await.status(204);
    assert_eq!(room(&t).await, "0 0 0");
    assert_eq!(put(&upload, "hello").await, 200);
    until(async || {
        value(
            &t,
            "select count(*)::text from ally.jobs where name = 'files.remove_objects'",
        )
        .await
            != "0"
    })
    .await;
    t.run_jobs().await;
    assert_eq!(files::sweep(&t.app, true).await.expect("a sweep").objects, 0);
    a.post(&format!("/files/{}/restore", id(&upload)), json!({}))
        .await
        .ok();
    assert_eq!(status(&a, &id(&upload)).await, "expired");
}

#[tokio::test]
async fn thumbnails_take_room_too() {
    let t = app().await;
    let a = t.tenant("a").await;
    let new = json!({"filename": "foto.png", "content_type": "image/png", "module": "documents"});
    let picture = png(1280, 1280);
    let id = store(&t, &a, new, picture.clone()).await;
    let kept = picture.len() as u64 + thumbnails(&t).await;
    assert!(kept > picture.len() as u64);
    let usage = a.get("/files/usage").await.ok();
    assert_eq!(usage.json["used_bytes"], kept);
    assert_eq!(
        usage.json["modules"],
        json!([{"module": "documents", "files": 1, "bytes": kept}])
    );
    assert_eq!(
        a.get(&format!("/files/{id}")).await.ok().json["size"],
        picture.len()
    );
    a.delete(&format!("/files/{id}")).await.status(204);
    t.pass(Duration::from_hours(24 * 31)).await;
    tidy(&t).await;
    assert_eq!(room(&t).await, "0 0 0");
}
