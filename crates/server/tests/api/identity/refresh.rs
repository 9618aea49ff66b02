//! Refresh tokens: one live one per session, and a copy ends it.

use std::time::Duration;

use serde_json::json;
use sqlx::{PgConnection, Postgres, QueryBuilder};
use testkit::{Answer, Client, TestApp};

use super::{DAY, refresh, text};
use crate::app;

/// The refresh token in an answer.
async fn successor(t: &TestApp, token: &str) -> String {
    text(&refresh(t, token).await.ok(), "refresh_token").to_owned()
}

/// Sessions that have ended, and live refresh tokens of the others.
async fn counts(conn: &mut PgConnection) -> (i64, i64) {
    sqlx::query_as(
        "select (select count(*) from ally.sessions where revoked_at is not null),
                (select count(*) from ally.refresh_tokens t join ally.sessions s on s.id = t.session_id
                  where t.used_at is null and s.revoked_at is null)",
    )
    .fetch_one(conn)
    .await
    .expect("sessions")
}

#[tokio::test]
async fn using_one_gives_the_next() {
    let t = app().await;
    let user = t.user("ana").await;
    let mut token = user.refresh_token.clone();
    for _ in 0..5 {
        let answer = refresh(&t, &token).await.ok();
        assert_eq!(
            (&answer.json["expires_in"], &answer.json["token_type"]),
            (&json!(1800), &json!("bearer"))
        );
        assert_eq!(
            (&answer.json["user"]["email"], &answer.json["companies"]),
            (&json!(user.email), &json!([]))
        );
        user.with_token(text(&answer, "access_token"))
            .get("/auth/me")
            .await
            .ok();
        assert_ne!(text(&answer, "refresh_token"), token);
        token = text(&answer, "refresh_token").to_owned();
    }
    assert_eq!(counts(&mut t.superuser().await).await, (0, 1));
    user.get("/auth/me").await.ok();
}

#[tokio::test]
async fn who_lost_the_answer_gets_it_again_for_ten_seconds() {
    let t = app().await;
    let user = t.user("ana").await;
    let first = successor(&t, &user.refresh_token).await;
    t.app.clock.advance(Duration::from_secs(5));
    assert_eq!(successor(&t, &user.refresh_token).await, first);
    assert_eq!(counts(&mut t.superuser().await).await, (0, 1));
    t.app.clock.advance(Duration::from_secs(6));
    refresh(&t, &user.refresh_token)
        .await
        .problem(401, "refresh-token-reused");
    assert_ended(&t, &user, &first).await;
}

#[tokio::test]
async fn a_copy_used_after_its_successor_ends_the_session_at_once() {
    let t = app().await;
    let user = t.user("ana").await;
    let other = t.sign_in(&user.email).await;
    let first = successor(&t, &user.refresh_token).await;
    let second = successor(&t, &first).await;
    refresh(&t, &user.refresh_token)
        .await
        .problem(401, "refresh-token-reused");
    assert_ended(&t, &user, &second).await;
    // The user's other session is another family.
    other.get("/auth/me").await.ok();
    refresh(&t, &other.refresh_token).await.ok();
}

/// Neither the newest refresh token nor the access token works any more.
async fn assert_ended(t: &TestApp, user: &Client, newest: &str) {
    user.get("/auth/me").await.problem(401, "unauthenticated");
    refresh(t, newest).await.problem(401, "refresh-token-invalid");
    refresh(t, &user.refresh_token)
        .await
        .problem(401, "refresh-token-invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_uses_at_once_leave_one_live_token() {
    let full = std::env::var_os("ALLY360_TEST_FULL").is_some();
    let (families, uses) = if full { (100, 20) } else { (10, 10) };
    let t = app().await;
    let user = t.user("ana").await;
    for family in 0..families {
        let token = t.sign_in(&user.email).await.refresh_token;
        let answers = futures::future::join_all((0..uses).map(|_| refresh(&t, &token))).await;
        let successors: Vec<&str> = answers
            .iter()
            .filter(|a| a.status == 200)
            .map(|a| text(a, "refresh_token"))
            .collect();
        assert!(
            !successors.is_empty() && successors.iter().all(|s| *s == successors[0]),
            "family {family}: {successors:?}"
        );
        let refused: Vec<&Answer> = answers.iter().filter(|a| a.status != 200).collect();
        assert!(
            refused.iter().all(|a| a.status == 401),
            "family {family}: {refused:?}"
        );
    }
    // One family is of the user's first sign-in.
    assert_eq!(counts(&mut t.superuser().await).await, (0, families + 1));
}

#[tokio::test]
async fn the_database_has_no_usable_token() {
    let t = super::app_that_verifies().await;
    let user = t.user("ana").await;
    let next = successor(&t, &user.refresh_token).await;
    let verification = identity::verification_token(&t.app, &user.email)
        .await
        .expect("database")
        .expect("token");

    let mut conn = t.superuser().await;
    let tables: Vec<String> =
        sqlx::query_scalar("select format('ally.%I', tablename) from pg_tables where schemaname = 'ally'")
            .fetch_all(&mut conn)
            .await
            .expect("tables");
    let mut dump = String::new();
    for table in tables {
        let mut query = QueryBuilder::<Postgres>::new("select coalesce(string_agg(r::text, ' '), '') from ");
        dump += &query
            .push(table)
            .push(" r")
            .build_query_scalar::<String>()
            .fetch_one(&mut conn)
            .await
            .expect("rows");
    }
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    for token in [&user.refresh_token, &next, &verification] {
        assert!(
            dump.contains(&hex(&kernel::keys::sha256(token.as_bytes()))),
            "the dump does not have the hash: it shows nothing"
        );
        assert!(
            !dump.contains(token.as_str()) && !dump.contains(&hex(token.as_bytes())),
            "a token in clear"
        );
        let bytes =
            base64::Engine::decode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, token).expect("base64url");
        assert_eq!(bytes.len(), 32, "256 bits");
        assert!(!dump.contains(&hex(&bytes)), "a token's bytes in clear");
    }
    assert!(dump.contains(&user.email) && !dump.contains(testkit::PASSWORD));
}

#[tokio::test]
async fn a_session_ends_after_a_week_without_use() {
    let t = app().await;
    let user = t.user("ana").await;
    t.app.clock.advance(6 * DAY);
    let next = successor(&t, &user.refresh_token).await;
    t.app.clock.advance(6 * DAY);
    let next = successor(&t, &next).await;
    t.app.clock.advance(8 * DAY);
    refresh(&t, &next).await.problem(401, "refresh-token-invalid");
}

#[tokio::test]
async fn a_session_ends_after_30_days_however_it_is_used() {
    let t = app().await;
    let mut token = t.user("ana").await.refresh_token;
    for _ in 0..5 {
        t.app.clock.advance(6 * DAY - Duration::from_secs(60));
        token = successor(&t, &token).await;
    }
    t.app.clock.advance(Duration::from_secs(301));
    refresh(&t, &token).await.problem(401, "refresh-token-invalid");
}

#[tokio::test]
async fn a_session_ends_after_30_days_whatever_the_setting() {
    let t = TestApp::with(server::service, |config| {
        config.auth.refresh_token_expire_days = 90;
    })
    .await;
    let user = t.user("ana").await;
    t.app.clock.advance(31 * DAY);
    refresh(&t, &user.refresh_token)
        .await
        .problem(401, "refresh-token-invalid");
}

#[tokio::test]
async fn nonsense_is_refused() {
    let t = app().await;
    let user = t.user("ana").await;
    for token in [
        "x",
        &user.token[..200],
        &user.refresh_token.to_lowercase(),
        &format!("{} ", user.refresh_token),
    ] {
        refresh(&t, token).await.problem(401, "refresh-token-invalid");
    }
    for body in [
        json!({}),
        json!({"refresh_token": null}),
        json!({"refresh_token": ""}),
        json!({"refresh_token": user.token}),
    ] {
        t.anonymous()
            .post("/auth/refresh", body)
            .await
            .problem(422, "validation-failed");
    }
    refresh(&t, &user.refresh_token).await.ok();
}
