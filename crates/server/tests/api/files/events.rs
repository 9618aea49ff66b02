//! Streams of a file's events: for how long, and how many.

use std::time::Duration;

use axum::response::Response;
use http_body_util::BodyExt;
use serde_json::json;
use testkit::Client;

use super::support::{id, presign, text};
use crate::app;

/// Begins an upload; the path of its events, which has one until the bytes come.
async fn followed(client: &Client) -> String {
    let upload = presign(client, text("a.txt")).await;
    format!("/files/{}/events", id(&upload))
}

/// What a stream said until it ended, long before its time is over.
async fn rest(stream: Response) -> String {
    assert_eq!(stream.status(), 200);
    let body = tokio::time::timeout(Duration::from_secs(20), stream.into_body().collect());
    let body = body.await.expect("an end").expect("a body").to_bytes();
    String::from_utf8(body.to_vec()).expect("text")
}

#[tokio::test]
async fn a_stream_ends_when_who_follows_is_let_in_no_more() {
    let t = app().await;
    let a = t.tenant("a").await;
    let path = followed(&a).await;
    let (removed, leaving) = (t.member(&a, "cashier").await, t.member(&a, "cashier").await);
    let key = json!({"name": "shop", "permissions": ["files.read"]});
    let key = a.post("/company/api-keys", key).await.created().json;
    let machine = t.anonymous().with_token(key["token"].as_str().expect("a token"));

    let (first, second, third) = (
        removed.open(&path).await,
        leaving.open(&path).await,
        machine.open(&path).await,
    );
    a.delete(&format!("/company/members/{}", removed.user_id))
        .await
        .status(204);
    leaving.post("/auth/logout", json!({})).await.status(204);
    let revoked = format!("/company/api-keys/{}", key["id"].as_str().expect("an id"));
    a.delete(&revoked).await.status(204);
    for stream in [first, second, third] {
        let said = rest(stream).await;
        assert_eq!(said.matches("\"status\":\"pending\"").count(), 1, "{said}");
    }
}

#[tokio::test]
async fn a_user_has_few_streams_at_once_and_one_that_ends_makes_room() {
    let t = app().await;
    let a = t.tenant("a").await;
    let path = followed(&a).await;
    let mut streams = Vec::new();
    for _ in 0..20 {
        let stream = a.open(&path).await;
        assert_eq!(stream.status(), 200);
        streams.push(stream);
    }
    let refused = a.get(&path).await.problem(429, "too-many-streams");
    assert_eq!(refused.header("retry-after"), "5");
    let cashier = t.member(&a, "cashier").await;
    assert_eq!(cashier.open(&path).await.status(), 200, "of nobody else");
    streams.pop();
    let again = a.open(&path).await;
    assert_eq!(again.status(), 200);
    a.get(&path).await.problem(429, "too-many-streams");
}
