//! Users, sessions, tokens, companies and memberships.

mod api_keys;
mod companies;
mod company_states;
mod email_changes;
mod enumeration;
mod forge;
mod invitations;
mod leaving;
mod login;
mod me;
mod members;
mod membership;
mod my_sessions;
mod nits;
mod pages;
mod passwords;
mod purge;
mod refresh;
mod registration;
mod rotation;
mod sessions;
mod throttling;
mod tokens;
mod verification;

pub use forge::claims;

use std::time::{Duration, Instant};

use kernel::config::Environment;
use serde_json::{Value, json};
use sqlx::PgConnection;
use testkit::{Answer, Client, TestApp};
use uuid::Uuid;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Like [`crate::app`], where new users must verify their address.
async fn app_that_verifies() -> TestApp {
    let t = TestApp::with(server::service, |config| config.environment = Environment::Test).await;
    t.with_jobs(server::jobs().0)
}

/// A body for `POST /auth/register`.
fn registration(email: &str, password: &str) -> Value {
    json!({"email": email, "password": password, "profile": {"first_name": "Ana", "last_name": "Gómez", "phone_number": "3001234567"}})
}

/// A body for `POST /company`.
fn company(name: &str) -> Value {
    json!({"name": name, "nit": "900123456", "phone_number": "3001234567"})
}

async fn login(t: &TestApp, email: &str, password: &str) -> Answer {
    t.anonymous()
        .post_form("/auth/login", &[("username", email), ("password", password)])
        .await
}

async fn refresh(t: &TestApp, refresh_token: &str) -> Answer {
    t.anonymous()
        .post("/auth/refresh", json!({"refresh_token": refresh_token}))
        .await
}

/// A string field of an answer.
#[track_caller]
fn text<'a>(answer: &'a Answer, field: &str) -> &'a str {
    answer.json[field]
        .as_str()
        .unwrap_or_else(|| panic!("no {field} in {}", answer.text()))
}

/// Pointer and code of the first invalid value of a problem.
fn fault(answer: &Answer) -> (&str, &str) {
    let fault = &answer.json["errors"][0];
    (
        fault["pointer"].as_str().unwrap_or_default(),
        fault["code"].as_str().unwrap_or_default(),
    )
}

/// The client with a token for its company, which it does not name otherwise.
async fn with_context_token(client: &Client) -> Client {
    let selected = client
        .post("/auth/select-company", json!({"company_id": client.company()}))
        .await
        .ok();
    client
        .without_company()
        .with_token(text(&selected, "access_token"))
}

/// Waits for the connection that hears changes; its process id.
async fn listener(conn: &mut PgConnection) -> i32 {
    for _ in 0..100 {
        let pid: Option<i32> = sqlx::query_scalar(
            "select pid from pg_stat_activity where datname = current_database() and query ilike 'listen%ally_changes%'",
        )
        .fetch_optional(&mut *conn)
        .await
        .expect("pg_stat_activity");
        if let Some(pid) = pid {
            // LISTEN counts once it has committed, which the next statement of ours does not wait for.
            tokio::time::sleep(Duration::from_millis(100)).await;
            return pid;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("nobody listens");
}

/// Asks until the answer is as expected; fails when it is not after `within`.
async fn until(client: &Client, path: &str, expected: &str, within: Duration) {
    let started = Instant::now();
    loop {
        let summary = client.get(path).await.summary();
        if summary == expected {
            return;
        }
        assert!(
            started.elapsed() < within,
            "still {summary}, not {expected}, after {within:?}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Sets role and state of the client's membership, as an administrator elsewhere would.
async fn set_membership(conn: &mut PgConnection, client: &Client, role: &str, state: &str) {
    sqlx::query("update ally.memberships set role = $3, state = $4 where tenant_id = $1 and user_id = $2")
        .bind(client.company())
        .bind(client.user_id)
        .bind(role)
        .bind(state)
        .execute(conn)
        .await
        .expect("membership");
}

async fn set_active(conn: &mut PgConnection, user: Uuid, active: bool) {
    sqlx::query("update ally.users set is_active = $2 where id = $1")
        .bind(user)
        .bind(active)
        .execute(conn)
        .await
        .expect("user");
}
