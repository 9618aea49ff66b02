//! The audit trail: what it records, that nobody changes it unnoticed, and how it is read.

mod chaining;
mod events;
mod export;
mod reading;
mod recording;
mod retention;
mod tampering;

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgConnection};
use testkit::{Client, TestApp};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

/// Creates a brand; its id.
async fn create_brand(client: &Client, name: &str) -> String {
    client
        .post("/brands", json!({"name": name}))
        .await
        .created()
        .id()
        .to_owned()
}

/// What the trail tells of one thing, newest first.
async fn trail_of(client: &Client, id: &str) -> Vec<Value> {
    let page = client.get(&format!("/audit?entity_id={id}&limit=100")).await.ok();
    page.json["items"].as_array().expect("items").clone()
}

/// Chains until nothing of the company waits: transactions of other tests hold chaining up, for the cluster
/// counts them together.
async fn chain(t: &TestApp, company: Uuid) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        audit::chain(&t.app).await.expect("chained");
        let report = audit::verify(&t.app, company, &[]).await.expect("verified");
        if report.waiting == 0 {
            return;
        }
        assert!(Instant::now() < deadline, "{report:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Chains everything, and expects the trail of the company to be whole. Returns the number of links.
async fn whole(t: &TestApp, company: Uuid) -> i64 {
    chain(t, company).await;
    let report = audit::verify(&t.app, company, &[]).await.expect("verified");
    assert_eq!(report.faults, vec![]);
    report.links
}

/// Runs statements.
#[expect(clippy::disallowed_methods, reason = "tests do what no handler may")]
async fn execute(conn: &mut PgConnection, sql: &str) -> sqlx::Result<u64> {
    let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(conn).await?;
    Ok(done.rows_affected())
}
