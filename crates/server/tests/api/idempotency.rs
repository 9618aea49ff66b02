//! `Idempotency-Key`: a write sent again is answered again and done once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router, routing};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use kernel::app::App;
use kernel::caller::{Caller, UserCaller};
use kernel::db::TenantTx;
use kernel::idempotency::{MAX_ANSWER_BYTES, ShownOnce};
use kernel::job::Background;
use serde_json::json;
use testkit::{Answer, Client, TestApp};
use tower::ServiceExt;
use uuid::Uuid;

use crate::{app, plan};

const KEY: &str = "Idempotency-Key";
const HOUR: Duration = Duration::from_hours(1);

/// The client sending this key.
fn with_key(client: &Client, key: &str) -> Client {
    client.with_header(KEY, key)
}

fn replayed(answer: &Answer) -> bool {
    answer.header("idempotency-replayed") == "true"
}

async fn brands(client: &Client) -> usize {
    client.get("/brands?limit=100").await.ok().items("id").len()
}

#[tokio::test]
async fn the_same_request_gets_the_same_answer_and_is_done_once() {
    let t = app().await;
    let a = t.tenant("a").await;
    let keyed = with_key(&a, "8e03978e-40d5-43dd-bc93-6894a57f9324");
    let first = keyed.post("/brands", json!({"name": "Acme"})).await.created();
    assert!(!replayed(&first));
    // The same key as the string of a structured field; a trailing slash names the same path.
    let quoted = with_key(&a, "\"8e03978e-40d5-43dd-bc93-6894a57f9324\"");
    for (client, path) in [(&keyed, "/brands"), (&quoted, "/brands"), (&keyed, "/brands/")] {
        let again = client.post(path, json!({"name": "Acme"})).await.created();
        assert!(replayed(&again));
        assert_eq!(again.body, first.body);
        for header in ["location", "etag", "content-type", "x-tenant-id"] {
            assert!(!first.header(header).is_empty(), "{header}");
            assert_eq!(again.header(header), first.header(header), "{header}");
        }
        assert_ne!(again.header("x-request-id"), first.header("x-request-id"));
    }
    assert_eq!(brands(&a).await, 1);

    let path = format!("/brands/{}", first.id());
    let keyed = with_key(&a, "change");
    let changed = keyed.patch(&path, json!({"name": "Other"})).await.ok();
    a.patch(&path, json!({"name": "Third"})).await.ok();
    let again = keyed.patch(&path, json!({"name": "Other"})).await.ok();
    assert!(replayed(&again));
    assert_eq!(
        (again.body, again.headers["etag"].clone()),
        (changed.body, changed.headers["etag"].clone())
    );
    assert_eq!(
        a.get(&path).await.ok().json["name"],
        "Third",
        "it was not done again"
    );

    let keyed = with_key(&a, "delete");
    assert!(!replayed(&keyed.delete(&path).await.status(204)));
    let again = keyed.delete(&path).await.status(204);
    assert!(replayed(&again) && again.body.is_empty());
    a.delete(&path).await.problem(404, "not-found");
}

#[tokio::test]
async fn a_key_stands_for_one_request() {
    let t = app().await;
    let a = t.tenant("a").await;
    let keyed = with_key(&a, "one");
    let brand = keyed.post("/brands", json!({"name": "Acme"})).await.created();
    let path = format!("/brands/{}", brand.id());
    for answer in [
        keyed
            .post("/brands", json!({"name": "Acme", "description": null}))
            .await,
        keyed.post("/brands", json!({"name": "Other"})).await,
        keyed.post("/categories", json!({"name": "Acme"})).await,
        keyed.post("/brands?x=1", json!({"name": "Acme"})).await,
        keyed.patch(&path, json!({"name": "Acme"})).await,
        keyed.delete(&path).await,
    ] {
        answer.problem(422, "idempotency-key-reused");
    }
    assert_eq!(brands(&a).await, 1);
    // Reading needs none, and looks at none.
    with_key(&a, "").get(&path).await.ok();
}

#[tokio::test]
async fn what_is_no_key_is_refused_before_anything_is_done() {
    let t = app().await;
    let a = t.tenant("a").await;
    let too_long = "k".repeat(256);
    for key in [
        "",
        "\"\"",
        "two words",
        "\"open",
        "a,b",
        "ñ",
        "\"a\";p",
        &too_long,
    ] {
        let answer = with_key(&a, key).post("/brands", json!({"name": "Acme"})).await;
        answer.problem(400, "idempotency-key-invalid");
    }
    let twice = with_key(&with_key(&a, "one"), "one");
    twice
        .post("/brands", json!({"name": "Acme"}))
        .await
        .problem(400, "idempotency-key-invalid");
    assert_eq!(brands(&a).await, 0);
    let longest = "k".repeat(255);
    with_key(&a, &longest)
        .post("/brands", json!({"name": "Acme"}))
        .await
        .created();
}

#[tokio::test]
async fn a_refused_request_leaves_its_key_free() {
    let t = app().await;
    let a = t.tenant("a").await;
    let keyed = with_key(&a, "one");
    keyed
        .post("/brands", json!({"name": ""}))
        .await
        .problem(422, "validation-failed");
    let viewer = t.member(&a, "viewer").await;
    with_key(&viewer, "one")
        .post("/brands", json!({"name": "Acme"}))
        .await
        .problem(403, "permission-missing");
    let taken = a.post("/brands", json!({"name": "Acme"})).await.created().id();
    keyed
        .post("/brands", json!({"name": "Acme"}))
        .await
        .problem(409, "brand-name-taken");
    a.delete(&format!("/brands/{taken}")).await.status(204);
    assert!(!replayed(
        &keyed.post("/brands", json!({"name": "Acme"})).await.created()
    ));
    assert!(replayed(
        &keyed.post("/brands", json!({"name": "Acme"})).await.created()
    ));
}

#[tokio::test]
async fn who_may_no_longer_do_it_is_not_told_what_came_of_it() {
    let t = app().await;
    let a = t.tenant("a").await;
    let admin = t.member(&a, "admin").await;
    let keyed = with_key(&admin, "one");
    keyed.post("/brands", json!({"name": "Acme"})).await.created();
    sqlx::query("update ally.memberships set role = 'viewer' where user_id = $1")
        .bind(admin.user_id)
        .execute(&mut t.superuser().await)
        .await
        .expect("membership");
    let limit = Instant::now() + Duration::from_secs(7);
    while keyed.post("/brands", json!({"name": "Acme"})).await.status != 403 {
        assert!(Instant::now() < limit, "still replayed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_at_once_make_one() {
    let t = app().await;
    let a = t.tenant("a").await;
    for round in 0..3 {
        let keyed = with_key(&a, &format!("round-{round}"));
        let body = json!({"name": format!("Acme {round}")});
        let sent = (0..100).map(|_| keyed.post("/brands", body.clone()));
        let answers = futures::future::join_all(sent).await;
        let first: Vec<_> = answers.iter().filter(|answer| !replayed(answer)).collect();
        assert_eq!(
            first.len(),
            1,
            "{:?}",
            first.iter().map(|a| a.summary()).collect::<Vec<_>>()
        );
        for answer in &answers {
            assert_eq!((answer.status.as_u16(), &answer.body), (201, &first[0].body));
        }
        assert_eq!(brands(&a).await, round + 1);
    }
}

#[tokio::test]
async fn a_running_request_is_waited_for_but_not_for_long() {
    let t = app().await;
    let a = t.tenant("a").await;
    let keyed = with_key(&a, "one");
    let mut running = t.superuser().await;
    let insert = sqlx::query(
        "insert into ally.idempotency_keys (tenant_id, caller_id, key_hash, fingerprint) values ($1, $2, sha256('one'), sha256('other'))",
    );
    sqlx::raw_sql("begin").execute(&mut running).await.expect("begin");
    insert
        .bind(a.company())
        .bind(a.user_id)
        .execute(&mut running)
        .await
        .expect("the key is free");
    let begun = Instant::now();
    let answer = keyed.post("/brands", json!({"name": "Acme"})).await;
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    assert_eq!(answer.header("retry-after"), "1");
    answer.problem(409, "idempotency-key-in-use");
    // Another key does not wait.
    let begun = Instant::now();
    with_key(&a, "two")
        .post("/categories", json!({"name": "Acme"}))
        .await
        .created();
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());

    let waiting = keyed.post("/brands", json!({"name": "Acme"}));
    tokio::pin!(waiting);
    let early = tokio::time::timeout(Duration::from_millis(300), &mut waiting).await;
    assert!(early.is_err(), "answered while the key was in use");
    sqlx::raw_sql("rollback")
        .execute(&mut running)
        .await
        .expect("rollback");
    assert!(!replayed(&waiting.await.created()));
    assert_eq!(brands(&a).await, 1);
}

/// The clients of one user in two companies, and of two users in one.
async fn others(t: &TestApp, a: &Client) -> [Client; 2] {
    let b = t.tenant("b").await;
    let mut same_user = a.in_company(b.company());
    t.join(&mut same_user, "owner").await;
    [same_user, t.member(a, "admin").await]
}

#[tokio::test]
async fn another_company_or_user_has_keys_of_its_own() {
    let t = app().await;
    let a = t.tenant("a").await;
    let others = others(&t, &a).await;
    let secret = with_key(&a, "one")
        .post("/brands", json!({"name": "Acme", "description": "known to A"}))
        .await
        .created();
    for (number, other) in others.iter().enumerate() {
        let answer = with_key(other, "one")
            .post(
                "/brands",
                json!({"name": format!("Acme {number}"), "description": "known to A"}),
            )
            .await
            .created();
        assert!(!replayed(&answer) && answer.id() != secret.id());
    }
}

/// The control of the test before: it is row security that keeps the companies apart.
#[tokio::test]
async fn without_row_security_the_other_company_would_be_noticed() {
    let t = app().await;
    let a = t.tenant("a").await;
    let [other, _] = others(&t, &a).await;
    sqlx::raw_sql("drop policy tenant_guard on ally.idempotency_keys; alter policy tenant_isolation on ally.idempotency_keys using (true)")
        .execute(&mut t.superuser().await)
        .await
        .expect("policies");
    with_key(&a, "one")
        .post("/brands", json!({"name": "Acme"}))
        .await
        .created();
    let answer = with_key(&other, "one")
        .post("/brands", json!({"name": "Acme"}))
        .await;
    // It writes its answer over that of the other company, which the policy's check refuses.
    answer.problem(500, "internal");
}

#[tokio::test]
async fn keys_are_kept_for_a_day_and_then_deleted() {
    let t = app().await;
    let a = t.tenant("a").await;
    let keyed = with_key(&a, "one");
    keyed.post("/brands", json!({"name": "Acme"})).await.created();
    let purge = async || {
        plan(&t).await;
        t.run_jobs().await;
    };
    t.app.clock.advance(23 * HOUR);
    purge().await;
    let fresh = t.sign_in(&a.email).await.in_company(a.company());
    let keyed = with_key(&fresh, "one");
    assert!(replayed(
        &keyed.post("/brands", json!({"name": "Acme"})).await.created()
    ));
    t.app.clock.advance(2 * HOUR);
    purge().await;
    let fresh = t.sign_in(&a.email).await.in_company(a.company());
    assert!(!replayed(
        &with_key(&fresh, "one")
            .post("/brands", json!({"name": "Other"}))
            .await
            .created()
    ));
}

/// A route in the tenant scope that counts how often it was reached.
fn counting(t: &TestApp, company: Uuid, answer: fn() -> Response) -> (Router, Arc<AtomicUsize>) {
    let reached = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&reached);
    let handler = async move |tx: TenantTx<Background>, State(_): State<App>| {
        drop(tx);
        count.fetch_add(1, Ordering::SeqCst);
        answer()
    };
    let caller = Caller {
        user: UserCaller {
            user_id: Uuid::nil(),
            session_id: Uuid::nil(),
        },
        api_key: None,
        tenant_id: company,
        role: "test",
        grants: Arc::new(BTreeSet::from(["background"])),
        suspended: false,
        limits: kernel::limit::Overrides::default(),
    };
    let router = Router::new()
        .route("/", routing::post(handler))
        .route_layer(from_fn(kernel::db::scope))
        .route_layer(from_fn_with_state(t.app.clone(), kernel::db::received))
        .route_layer(Extension(caller))
        .with_state(t.app.clone());
    (router, reached)
}

async fn post(router: &Router) -> (StatusCode, usize, Option<String>) {
    let request = Request::post("/")
        .header(KEY, "one")
        .body(String::new())
        .expect("a request");
    let response = router
        .clone()
        .oneshot(request)
        .await
        .unwrap_or_else(|never| match never {});
    let problem = response.extensions().get::<Box<kernel::error::Problem>>();
    let (status, code) = (response.status(), problem.map(|problem| problem.code.clone()));
    (
        status,
        response
            .into_body()
            .collect()
            .await
            .expect("a body")
            .to_bytes()
            .len(),
        code,
    )
}

#[tokio::test]
async fn answers_that_are_too_large_or_secret_are_not_kept() {
    let t = app().await;
    let a = t.tenant("a").await;
    let largest = || (StatusCode::OK, "x".repeat(MAX_ANSWER_BYTES)).into_response();
    let (router, reached) = counting(&t, a.company(), largest);
    for _ in 0..2 {
        assert_eq!(post(&router).await, (StatusCode::OK, MAX_ANSWER_BYTES, None));
    }
    assert_eq!(reached.load(Ordering::SeqCst), 1);

    let too_large = || (StatusCode::OK, "x".repeat(MAX_ANSWER_BYTES + 1)).into_response();
    let secret = || (Extension(ShownOnce), "secret").into_response();
    for (answer, bytes) in [(too_large as fn() -> Response, MAX_ANSWER_BYTES + 1), (secret, 6)] {
        let company = t.tenant("b").await.company();
        let (router, reached) = counting(&t, company, answer);
        assert_eq!(post(&router).await, (StatusCode::OK, bytes, None));
        for _ in 0..2 {
            let refused = (
                StatusCode::CONFLICT,
                0,
                Some("idempotency-answer-not-kept".to_owned()),
            );
            assert_eq!(post(&router).await, refused);
        }
        assert_eq!(reached.load(Ordering::SeqCst), 1, "it was done again");
        let kept: i64 = sqlx::query_scalar(
            "select count(*) from ally.idempotency_keys where body is not null and tenant_id = $1",
        )
        .bind(company)
        .fetch_one(&mut t.superuser().await)
        .await
        .expect("keys");
        assert_eq!(kept, 0);
    }
}

fn company(nit: &str) -> serde_json::Value {
    json!({"name": "Panadería", "nit": nit, "phone_number": "+573001234567"})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_company_is_founded_once_per_key_and_user() {
    let t = app().await;
    let (ana, eva) = (t.user("ana").await, t.user("eva").await);
    let keyed = ana.with_header("Idempotency-Key", "founding");
    let sent = (0..20).map(|_| keyed.post("/company", company("900123456")));
    let answers = futures::future::join_all(sent).await;
    let mut ids: Vec<String> = answers.into_iter().map(|answer| answer.created().id()).collect();
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
    let again = keyed.post("/company", company("900123456")).await.created();
    assert_eq!(
        (again.header("idempotency-replayed"), again.header("location")),
        ("true", "/company/me")
    );
    keyed
        .post("/company", company("830063999"))
        .await
        .problem(422, "idempotency-key-reused");
    assert_eq!(ana.get("/company/my_companies").await.ok().items("id"), ids);

    let other = eva.with_header("Idempotency-Key", "founding");
    let other = other.post("/company", company("900123456")).await.created().id();
    assert!(!ids.contains(&other), "a key of her own");

    // What failed has left no key.
    let fresh = ana.with_header("Idempotency-Key", "another");
    fresh
        .post("/company", company("900123456-1"))
        .await
        .problem(422, "nit-check-digit-wrong");
    fresh.post("/company", company("830063999")).await.created();
    t.app.clock.advance(std::time::Duration::from_hours(25));
    identity::purge_expired(&t.app).await.expect("purged");
    let left: i64 = sqlx::query_scalar("select count(*) from ally.user_idempotency_keys")
        .fetch_one(&mut t.superuser().await)
        .await
        .expect("a count");
    assert_eq!(left, 0);
}
