//! Suspending, resuming and closing a company.

use std::time::Duration;

use identity::{CompanyState, company_states, set_company_state};
use serde_json::json;
use sqlx::PgConnection;
use testkit::{Client, TestApp};

use super::{listener, until, with_context_token};
use crate::app;

const SOON: Duration = Duration::from_secs(1);

async fn set(t: &TestApp, client: &Client, state: CompanyState, reason: &str) -> bool {
    set_company_state(&t.app, client.company(), state, reason)
        .await
        .expect("set")
}

#[tokio::test]
async fn each_change_is_kept_with_its_reason() {
    let t = app().await;
    let owner = t.tenant("acme").await;
    assert!(set(&t, &owner, CompanyState::Suspended, "invoice 7 is due").await);
    assert!(!set(&t, &owner, CompanyState::Suspended, "again").await);
    assert!(set(&t, &owner, CompanyState::Closed, "asked for").await);
    assert!(set(&t, &owner, CompanyState::Active, "paid").await);
    let kept: Vec<_> = company_states(&t.app, owner.company())
        .await
        .expect("states")
        .into_iter()
        .map(|change| (change.state, change.reason))
        .collect();
    let expected = [
        ("suspended", "invoice 7 is due"),
        ("closed", "asked for"),
        ("active", "paid"),
    ];
    assert_eq!(kept, expected.map(|(s, r)| (s.to_owned(), r.to_owned())));
    let unknown = kernel::ids::new_id();
    for outcome in [
        set_company_state(&t.app, unknown, CompanyState::Closed, "x")
            .await
            .map(drop),
        company_states(&t.app, unknown).await.map(drop),
    ] {
        assert_eq!(outcome.expect_err("unknown").code(), "not-found");
    }
}

#[tokio::test]
async fn another_process_hears_at_once() {
    let t = app().await;
    let owner = t.tenant("acme").await;
    let context = with_context_token(&owner).await;
    for client in [&owner, &context] {
        client.get("/brands").await.ok();
    }
    listener(&mut t.superuser().await).await;
    // As the command line does it, with a pool and no cache of its own.
    set(&t, &owner, CompanyState::Closed, "asked for").await;
    for client in [&owner, &context] {
        until(client, "/brands", "403 company-closed", SOON).await;
    }
    owner
        .post("/auth/select-company", json!({"company_id": owner.company()}))
        .await
        .problem(403, "company-closed");
    let mine = owner.without_company().get("/company/my_companies").await.ok();
    assert_eq!(mine.json["items"][0]["is_active"], false);
    set(&t, &owner, CompanyState::Suspended, "half way").await;
    until(&owner, "/brands", "200", SOON).await;
    let profile = owner.get("/company/me").await.ok();
    assert_eq!(profile.json["state"], "suspended");
    owner
        .post("/auth/select-company", json!({"company_id": owner.company()}))
        .await
        .ok();
}

/// A superuser whose changes fire no trigger: no process hears of them.
async fn unheard(t: &TestApp) -> PgConnection {
    let mut conn = t.superuser().await;
    sqlx::query("set session_replication_role = replica")
        .execute(&mut conn)
        .await
        .expect("superuser");
    conn
}

#[tokio::test]
async fn a_process_that_has_not_heard_writes_nothing() {
    let t = app().await;
    let owner = t.tenant("acme").await;
    owner.post("/brands", json!({"name": "One"})).await.created();
    for (state, code) in [("suspended", "company-suspended"), ("closed", "company-closed")] {
        owner.get("/brands").await.ok();
        sqlx::query("update ally.companies set state = $2 where tenant_id = $1")
            .bind(owner.company())
            .bind(state)
            .execute(&mut unheard(&t).await)
            .await
            .expect("state");
        // Read from the cache, the company is active; the transaction itself is refused.
        owner
            .post("/brands", json!({"name": "Two"}))
            .await
            .problem(403, code);
        sqlx::query("update ally.companies set state = 'active' where tenant_id = $1")
            .bind(owner.company())
            .execute(&mut t.superuser().await)
            .await
            .expect("state");
        until(&owner, "/brands", "200", SOON).await;
    }
    assert_eq!(owner.get("/brands").await.ok().items("name"), ["One"]);
}

#[tokio::test]
async fn work_that_was_accepted_is_finished() {
    let t = app().await;
    let owner = t.tenant("acme").await;
    set(&t, &owner, CompanyState::Suspended, "test").await;
    let mut tx = kernel::job::background_tx(&t.app, owner.company())
        .await
        .expect("begun");
    sqlx::query("insert into brands (id, name) values ($1, 'Late')")
        .bind(kernel::ids::new_id())
        .execute(&mut *tx)
        .await
        .expect("written");
    tx.commit().await.expect("committed");
    until(&owner, "/brands", "200", SOON).await;
    assert_eq!(owner.get("/brands").await.ok().items("name"), ["Late"]);
}
