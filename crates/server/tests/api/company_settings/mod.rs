//! What a company sets for itself: the document, how fresh it is, and what obeys it.

mod document;
mod freshness;
mod obeyed;

use serde_json::Value;
use testkit::{Client, TestApp};

const PATH: &str = "/company/settings";

/// The settings that hold.
async fn settings(client: &Client) -> Value {
    client.get(PATH).await.ok().json
}

/// What is stored of the client's company.
async fn stored(t: &TestApp, client: &Client) -> (Value, Option<String>) {
    sqlx::query_as("select settings, time_zone from ally.companies where tenant_id = $1")
        .bind(client.company())
        .fetch_one(&mut t.superuser().await)
        .await
        .expect("a company")
}
