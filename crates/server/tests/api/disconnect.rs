//! A write that has reached its handler happens as a whole, whether or not the client waits for it.

use std::time::Duration;

use serde_json::json;
use sqlx::Connection;

use crate::app;

#[tokio::test]
async fn a_write_whose_client_left_still_commits() {
    let t = app().await;
    let a = t.tenant("a").await;
    let mut conn = t.superuser().await;
    let mut lock = conn.begin().await.expect("begin");
    // Holds the insert, not the reads.
    sqlx::raw_sql("lock table ally.brands in share mode")
        .execute(&mut *lock)
        .await
        .expect("lock");
    let left = tokio::time::timeout(
        Duration::from_millis(300),
        a.post("/brands", json!({"name": "Acme"})),
    )
    .await;
    assert!(left.is_err(), "the insert did not wait");
    lock.rollback().await.expect("rollback");

    let mut names = Vec::new();
    for _ in 0..100 {
        names = a.get("/brands").await.ok().items("name");
        if !names.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(names, ["Acme"]);
}

#[tokio::test]
async fn a_write_happens_whole_or_not_at_all() {
    let t = app().await;
    let owner = t.user("a").await;
    owner.get("/auth/me").await.ok();
    let mut answered = 0;
    for i in 0..60 {
        let company =
            json!({"name": format!("Company {i}"), "nit": "900123456", "phone_number": "+573001234567"});
        let sent = owner.post("/company", company);
        // Steps from "not yet begun" to "answered"; the last client waits.
        let patience = if i < 59 {
            Duration::from_micros(i * 200)
        } else {
            Duration::from_secs(10)
        };
        answered += i32::from(tokio::time::timeout(patience, sent).await.is_ok());
    }
    let unfinished = "select count(*) from pg_stat_activity
                       where datname = current_database() and usename like 'ally_%' and state <> 'idle'";
    let mut conn = t.superuser().await;
    for _ in 0..100 {
        let open: i64 = sqlx::query_scalar(unfinished)
            .fetch_one(&mut conn)
            .await
            .expect("pg_stat_activity");
        if open == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let founded: i64 = sqlx::query_scalar("select count(*) from ally.companies")
        .fetch_one(&mut conn)
        .await
        .expect("companies");
    let owned: i64 = sqlx::query_scalar("select count(*) from ally.memberships")
        .fetch_one(&mut conn)
        .await
        .expect("memberships");
    eprintln!("disconnect: {answered} of 60 answered, {founded} companies");
    assert_eq!(founded, owned, "a company without its owner");
    assert!(founded >= i64::from(answered), "an answered company is missing");
    assert!((1..60).contains(&answered), "nobody left, or nobody waited");
}
