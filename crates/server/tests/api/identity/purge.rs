//! Clean-up: what it deletes.

use sqlx::PgConnection;

use super::{DAY, MINUTE, login, refresh};
use crate::app;

async fn count(conn: &mut PgConnection, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(conn).await.expect("count")
}

const SESSIONS: &str = "select count(*) from ally.sessions";
const REFRESH_TOKENS: &str = "select count(*) from ally.refresh_tokens";
const EMAIL_TOKENS: &str = "select count(*) from ally.email_tokens";

#[tokio::test]
async fn what_expired_a_week_ago_is_deleted_and_nothing_else() {
    let t = app().await;
    let user = t.user("ana").await;
    // Expires in a day; every sign-in of the kit in seven.
    identity::verification_token(&t.app, &user.email)
        .await
        .expect("database")
        .expect("token");
    let signed_out = t.sign_in(&user.email).await;
    signed_out
        .post("/auth/logout", serde_json::json!({}))
        .await
        .status(204);
    let mut conn = t.superuser().await;
    let state = async |conn: &mut PgConnection| {
        (
            count(conn, SESSIONS).await,
            count(conn, REFRESH_TOKENS).await,
            count(conn, EMAIL_TOKENS).await,
        )
    };
    assert_eq!(state(&mut conn).await, (2, 2, 1));

    t.app.clock.advance(7 * DAY - MINUTE);
    assert_eq!(identity::purge_expired(&t.app).await.expect("purge"), 0);
    t.app.clock.advance(2 * MINUTE);
    // The session that was ended a week ago; the other has just expired.
    assert_eq!(identity::purge_expired(&t.app).await.expect("purge"), 1);
    assert_eq!(state(&mut conn).await, (1, 1, 1));
    t.app.clock.advance(DAY);
    assert_eq!(
        identity::purge_expired(&t.app).await.expect("purge"),
        1,
        "the e-mail token"
    );
    let live = login(&t, &user.email, testkit::PASSWORD).await.ok();
    t.app.clock.advance(6 * DAY);
    assert_eq!(
        identity::purge_expired(&t.app).await.expect("purge"),
        1,
        "the first session"
    );
    assert_eq!(state(&mut conn).await, (1, 1, 0));
    refresh(&t, super::text(&live, "refresh_token")).await.ok();
    assert_eq!(identity::purge_expired(&t.app).await.expect("purge"), 0);
}

#[tokio::test]
async fn more_than_a_batch_is_deleted() {
    let t = app().await;
    let user = t.user("ana").await;
    let mut conn = t.superuser().await;
    sqlx::query(
        "insert into ally.sessions (id, user_id, expires_at)
         select gen_random_uuid(), $1, now() - interval '8 days' from generate_series(1, 2500)",
    )
    .bind(user.user_id)
    .execute(&mut conn)
    .await
    .expect("sessions");
    assert_eq!(identity::purge_expired(&t.app).await.expect("purge"), 2500);
    assert_eq!(count(&mut conn, SESSIONS).await, 1);
    user.get("/auth/me").await.ok();
}

#[tokio::test]
async fn invitations_go_ninety_days_after_they_could_last_be_accepted() {
    let t = app().await;
    let owner = t.tenant("ana").await;
    let mut conn = t.superuser().await;
    for state in ["pending", "accepted", "cancelled", "expired"] {
        let body = serde_json::json!({"email": format!("{state}@example.com"), "role": "seller"});
        owner.post("/auth/invite-user", body).await.created();
        sqlx::query("update ally.invitations set state = $1 where email = $1 || '@example.com'")
            .bind(state)
            .execute(&mut conn)
            .await
            .expect("an invitation");
    }
    let left = async |conn: &mut PgConnection| count(conn, "select count(*) from ally.invitations").await;
    t.app.clock.advance(96 * DAY);
    identity::purge_expired(&t.app).await.expect("purge");
    assert_eq!(left(&mut conn).await, 4);
    t.app.clock.advance(2 * DAY);
    identity::purge_expired(&t.app).await.expect("purge");
    assert_eq!(left(&mut conn).await, 0);
    let told = "select count(*) from ally.audit_entries where entity = 'invitations' and action = 'delete'";
    assert_eq!(count(&mut conn, told).await, 4, "the trail tells of it");
}
