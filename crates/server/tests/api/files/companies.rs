//! Files belong to a company, and roles decide what its members may do.

use serde_json::json;

use super::support::{bytes, id, presign, put, status, store, text, until};
use crate::app;

#[tokio::test]
async fn a_file_of_another_company_does_not_exist() {
    let t = app().await;
    let (a, b) = (t.tenant("a").await, t.tenant("b").await);
    let ready = store(&t, &a, text("a.txt"), "hello").await;
    let pending = id(&presign(&a, text("b.txt")).await);
    for id in [&ready, &pending] {
        let path = format!("/files/{id}");
        for get in [path.clone(), format!("{path}/download"), format!("{path}/events")] {
            b.get(&get).await.problem(404, "not-found");
        }
        for post in [format!("{path}/complete"), format!("{path}/restore")] {
            b.post(&post, json!({})).await.problem(404, "not-found");
        }
        b.patch(&path, json!({"description": "mine"}))
            .await
            .problem(404, "not-found");
        b.delete(&path).await.problem(404, "not-found");
    }
    assert_eq!(b.get("/files").await.ok().items("id").len(), 0);
    assert_eq!(b.get("/files/usage").await.ok().json["modules"], json!([]));
    assert_eq!(
        (status(&a, &ready).await, bytes(&a, &ready).await),
        ("ready".to_owned(), b"hello".to_vec())
    );
}

#[tokio::test]
async fn a_viewer_sees_and_downloads_but_changes_nothing() {
    let t = app().await;
    let a = t.tenant("a").await;
    let viewer = t.member(&a, "viewer").await;
    let id = store(&t, &a, text("a.txt"), "hello").await;
    assert_eq!(bytes(&viewer, &id).await, b"hello");
    viewer.get(&format!("/files/{id}/events")).await.ok();
    viewer
        .post("/files/upload/presign", text("b.txt"))
        .await
        .problem(403, "permission-missing");
    viewer
        .post(&format!("/files/{id}/complete"), json!({}))
        .await
        .problem(403, "permission-missing");
    viewer
        .patch(&format!("/files/{id}"), json!({"tags": ["x"]}))
        .await
        .problem(403, "permission-missing");
    viewer
        .delete(&format!("/files/{id}"))
        .await
        .problem(403, "permission-missing");
    viewer
        .post(&format!("/files/{id}/restore"), json!({}))
        .await
        .problem(403, "permission-missing");
}

#[tokio::test]
async fn a_cashier_uploads() {
    let t = app().await;
    let a = t.tenant("a").await;
    let cashier = t.member(&a, "cashier").await;
    let upload = presign(&cashier, text("a.txt")).await;
    assert_eq!(put(&upload, "hello").await, 200);
    until(async || status(&cashier, &id(&upload)).await != "pending").await;
}
