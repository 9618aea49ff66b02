//! Clean-up: what it deletes, and that many processes do it once.

use std::time::Duration;

use kernel::app::App;
use server::maintenance::{plan, run_one};
use sqlx::{Connection, PgConnection};

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

/// Runs what is due until nothing is; how many runs that were.
async fn worker(app: &App) -> i64 {
    let mut runs = 0;
    while run_one(app).await.expect("a run") {
        runs += 1;
    }
    runs
}

#[tokio::test(flavor = "multi_thread")]
async fn many_processes_run_every_slot_once() {
    let t = app().await;
    let mut conn = t.superuser().await;
    sqlx::query(
        "insert into ally.maintenance_runs (task, slot)
         select 'identity.purge_expired', date_trunc('hour', now()) - n * interval '1 hour' from generate_series(1, 20) as n",
    )
    .execute(&mut conn)
    .await
    .expect("slots");
    let (one, two) = tokio::join!(plan(&t.app), plan(&t.app));
    one.and(two).expect("planned");
    plan(&t.app).await.expect("planned again");
    let planned = count(&mut conn, "select count(*) from ally.maintenance_runs").await;
    assert!(
        (21..=22).contains(&planned),
        "20 and this hour's, or the next's too: {planned}"
    );
    let (a, b, c) = tokio::join!(worker(&t.app), worker(&t.app), worker(&t.app));
    assert_eq!(a + b + c, planned);
    let once = "select count(*) from ally.maintenance_runs where attempt = 1 and finished_at is not null";
    assert_eq!(count(&mut conn, once).await, planned);
    assert_eq!(worker(&t.app).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_lost_the_lease_cannot_finish_the_run() {
    let t = app().await;
    let user = t.user("ana").await;
    let mut conn = t.superuser().await;
    plan(&t.app).await.expect("planned");
    let expire = "update ally.sessions set expires_at = now() - interval '8 days' where user_id = $1";
    sqlx::query(expire)
        .bind(user.user_id)
        .execute(&mut conn)
        .await
        .expect("expired");
    let unfinished = "select count(*) from ally.maintenance_runs where finished_at is null";

    // The first worker takes the run and is held up by a lock on the session that it wants to delete.
    let mut holder = t.superuser().await;
    let mut held = holder.begin().await.expect("begin");
    sqlx::query("select from ally.sessions for update")
        .execute(&mut *held)
        .await
        .expect("lock");
    let overtake = async {
        while count(
            &mut conn,
            "select count(*) from ally.maintenance_runs where attempt = 1",
        )
        .await
            == 0
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(
            !run_one(&t.app).await.expect("nothing is due"),
            "the lease is not over"
        );
        // Five minutes later another one takes it.
        let taken = "update ally.maintenance_runs set attempt = 2, lease_until = now() - interval '1 second'";
        sqlx::query(taken).execute(&mut conn).await.expect("taken");
        held.rollback().await.expect("rollback");
    };
    let (first, ()) = tokio::join!(run_one(&t.app), overtake);
    first.expect("it ends without an error");
    assert_eq!(
        count(&mut conn, SESSIONS).await,
        0,
        "its work is done, and doing it again harms nobody"
    );
    assert_eq!(
        count(&mut conn, unfinished).await,
        1,
        "but the run is not its any more"
    );
    assert!(
        run_one(&t.app).await.expect("a run"),
        "a lease that is over is taken"
    );
    assert_eq!(count(&mut conn, unfinished).await, 0);
    assert_eq!(
        count(&mut conn, "select attempt::bigint from ally.maintenance_runs").await,
        3
    );
}
