//! Sessions: signing out, and who I am.

use http::Method;
use serde_json::json;

use super::{refresh, with_context_token};
use crate::app;

#[tokio::test]
async fn signing_out_ends_every_token_of_the_session_at_once_and_no_other() {
    let t = app().await;
    let a = t.tenant("a").await;
    let context = with_context_token(&a).await;
    let other = t.sign_in(&a.email).await.in_company(a.company());
    for client in [&a, &context, &other] {
        client.get("/brands").await.ok();
    }
    a.send(Method::POST, "/auth/logout", None).await.status(204);
    for client in [&a, &context] {
        client.get("/brands").await.problem(401, "unauthenticated");
        client.get("/auth/me").await.problem(401, "unauthenticated");
        client
            .post("/auth/logout", json!({}))
            .await
            .problem(401, "unauthenticated");
    }
    refresh(&t, &a.refresh_token)
        .await
        .problem(401, "refresh-token-invalid");
    other.get("/brands").await.ok();
    refresh(&t, &other.refresh_token).await.ok();
    t.sign_in(&a.email).await.get("/auth/me").await.ok();
}

#[tokio::test]
async fn signing_out_counts_on_every_process() {
    let t = app().await;
    let a = t.tenant("a").await;
    a.get("/brands").await.ok();
    let mut conn = t.superuser().await;
    super::listener(&mut conn).await;
    // As another process would.
    sqlx::query("update ally.sessions set revoked_at = now() where user_id = $1")
        .bind(a.user_id)
        .execute(&mut conn)
        .await
        .expect("session");
    super::until(
        &a,
        "/brands",
        "401 unauthenticated",
        std::time::Duration::from_secs(1),
    )
    .await;
}

#[tokio::test]
async fn the_process_that_ends_a_session_need_not_hear_of_it() {
    let t = app().await;
    let (ana, eva) = (t.user("ana").await, t.user("eva").await);
    let mut conn = t.superuser().await;
    sqlx::query("alter table ally.sessions disable trigger tell_change")
        .execute(&mut conn)
        .await
        .expect("trigger");
    for user in [&ana, &eva] {
        user.get("/auth/me").await.ok();
    }
    ana.send(Method::POST, "/auth/logout", None).await.status(204);
    ana.get("/auth/me").await.problem(401, "unauthenticated");

    let next = refresh(&t, &eva.refresh_token).await.ok();
    refresh(&t, super::text(&next, "refresh_token")).await.ok();
    refresh(&t, &eva.refresh_token)
        .await
        .problem(401, "refresh-token-reused");
    eva.get("/auth/me").await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn me_is_the_user_of_the_token() {
    let t = app().await;
    let (ana, eva) = (t.user("ana").await, t.user("eva").await);
    for user in [&ana, &eva] {
        let me = user.get("/auth/me").await.ok();
        assert_eq!(
            (&me.json["id"], &me.json["email"]),
            (&json!(user.user_id), &json!(user.email))
        );
        assert!(!me.text().contains("password") && !me.text().contains("argon2"));
    }
    t.anonymous()
        .get("/auth/me")
        .await
        .problem(401, "unauthenticated");
    t.anonymous()
        .post("/auth/logout", json!({}))
        .await
        .problem(401, "unauthenticated");
}
