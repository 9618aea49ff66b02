//! What befalls accounts.

use serde_json::json;
use testkit::TestApp;
use uuid::Uuid;

use super::execute;
use crate::app;

async fn events(t: &TestApp, user: Uuid) -> Vec<String> {
    sqlx::query_scalar("select event from ally.security_events where user_id = $1 order by occurred_at, id")
        .bind(user)
        .fetch_all(&mut t.superuser().await)
        .await
        .expect("events")
}

#[tokio::test]
async fn sessions_and_accounts_leave_their_events() {
    let t = app().await;
    let user = t.user("ana").await;
    assert_eq!(events(&t, user.user_id).await, ["registered", "signed-in"]);
    let second = t.sign_in(&user.email).await;
    second.post("/auth/logout", json!({})).await.status(204);
    // Using a session leaves none.
    user.get("/auth/me").await.ok();
    let mut conn = t.superuser().await;
    for change in [
        "password_hash = 'x', password_changed_at = now()",
        // Made anew with other parameters, from the same password.
        "password_hash = 'y'",
        "email = 'other@example.com'",
        "is_active = false",
        "is_active = true, first_name = 'Eva'",
        "last_login_at = now()",
    ] {
        execute(&mut conn, &format!("update ally.users set {change}"))
            .await
            .expect(change);
    }
    execute(&mut conn, "delete from ally.users")
        .await
        .expect("delete");
    assert_eq!(
        events(&t, user.user_id).await,
        [
            "registered",
            "signed-in",
            "signed-in",
            "session-ended",
            "password-changed",
            "email-changed",
            "account-disabled",
            "account-enabled",
            "profile-changed",
            "account-deleted"
        ]
    );
    let told: String = sqlx::query_scalar("select string_agg(e::text, ' ') from ally.security_events as e")
        .fetch_one(&mut conn)
        .await
        .expect("events");
    assert!(
        !told.contains("argon2") && !told.contains("other@example.com") && !told.contains("Eva"),
        "{told}"
    );
}

#[tokio::test]
async fn an_event_tells_who_acted() {
    let t = app().await;
    let user = t.user("ana").await;
    let asking = user.with_header("X-Request-ID", "request-of-the-test");
    asking.post("/auth/logout", json!({})).await.status(204);
    let (kind, actor, request): (String, Option<Uuid>, Option<String>) = sqlx::query_as(
        "select actor_kind, actor_id, request_id from ally.security_events where event = 'session-ended'",
    )
    .fetch_one(&mut t.superuser().await)
    .await
    .expect("event");
    assert_eq!(
        (kind.as_str(), actor, request.as_deref()),
        ("user", Some(user.user_id), Some("request-of-the-test"))
    );
}

#[tokio::test]
async fn a_reused_refresh_token_is_an_event() {
    let t = app().await;
    let user = t.user("ana").await;
    let old = json!({"refresh_token": user.refresh_token});
    let next = user.post("/auth/refresh", old.clone()).await.ok().json["refresh_token"].clone();
    user.post("/auth/refresh", json!({"refresh_token": next}))
        .await
        .ok();
    user.post("/auth/refresh", old)
        .await
        .problem(401, "refresh-token-reused");
    let told = events(&t, user.user_id).await;
    assert_eq!(told[told.len() - 2..], ["refresh-token-reused", "session-ended"]);
}

#[tokio::test]
async fn a_user_sees_his_own_events() {
    let t = app().await;
    let (ana, beto) = (t.user("ana").await, t.user("beto").await);
    let page = ana.get("/auth/events?limit=1").await.ok();
    assert_eq!(page.json["items"][0]["event"], "signed-in");
    let cursor = page.json["next_cursor"].as_str().expect("a second page");
    let next = format!("/auth/events?limit=1&cursor={cursor}");
    assert_eq!(ana.get(&next).await.ok().json["items"][0]["event"], "registered");
    beto.get(&next).await.problem(400, "cursor-invalid");
    let session = |page: testkit::Answer| page.json["items"][0]["session_id"].clone();
    assert_ne!(
        session(ana.get("/auth/events").await.ok()),
        session(beto.get("/auth/events").await.ok())
    );
    t.anonymous()
        .get("/auth/events")
        .await
        .problem(401, "unauthenticated");
}

#[tokio::test]
async fn a_failed_sign_in_is_an_event_whoever_was_meant() {
    let t = app().await;
    let user = t.user("ana").await;
    for email in [user.email.as_str(), "nobody@example.com"] {
        let form = [("username", email), ("password", "not the password")];
        t.anonymous()
            .post_form("/auth/login", &form)
            .await
            .problem(401, "invalid-credentials");
    }
    let failed =
        "select user_id from ally.security_events where event = 'sign-in-failed' order by occurred_at";
    let meant: Vec<Option<Uuid>> = sqlx::query_scalar(failed)
        .fetch_all(&mut t.superuser().await)
        .await
        .expect("events");
    assert_eq!(meant, [Some(user.user_id), None]);
}
