//! Fair shares: who has more to do than others waits for himself.

use std::time::{Duration, Instant};

use kernel::limit::Rate;
use limits::set_company_limit;
use sqlx::Executor;
use testkit::{Answer, Client, TestApp};
use tokio::time::sleep;

use super::{PATIENCE, limited};
use crate::app;

#[tokio::test]
async fn a_company_whose_requests_are_stuck_waits_for_itself() {
    let t = TestApp::with(server::service, |config| {
        config.limits.requests_at_once = Some(2);
        config.limits.requests_per_company = Some(1);
        config.database.db_acquire_seconds = 1;
    })
    .await;
    let (a, b) = (t.tenant("a").await, t.tenant("b").await);
    a.get("/categories").await.ok();
    b.get("/categories").await.ok();
    let mut stuck = t.superuser().await;
    stuck
        .execute("begin; lock table ally.brands in access exclusive mode")
        .await
        .expect("a lock");
    let flood = async {
        let flood = (0..20).map(|_| a.get("/brands"));
        let answers = futures::future::join_all(flood).await;
        let shed = answers
            .iter()
            .filter(|answer| answer.summary() == "503 overloaded");
        // The first had the slot; the lock is waited for longer than a slot.
        assert!(
            shed.clone().count() >= 15,
            "{:?}",
            answers.iter().map(Answer::summary).collect::<Vec<_>>()
        );
        for answer in shed {
            assert_eq!(answer.header("retry-after"), "1");
        }
    };
    let neighbour = async {
        sleep(Duration::from_millis(50)).await;
        for _ in 0..10 {
            b.get("/categories").await.ok();
        }
    };
    tokio::join!(flood, neighbour);
}

#[tokio::test]
async fn a_storm_on_one_company_is_refused_and_another_works() {
    let t = limited(100).await;
    let (a, b) = (t.tenant("a").await, t.tenant("b").await);
    // So few that a busy machine reaches them too.
    let rate = Rate::parse("60/minute").expect("a rate");
    set_company_limit(&t.app, a.company(), "reads-company", Some(rate))
        .await
        .expect("a limit");
    let policy = async || a.get("/brands").await.header("ratelimit-policy").to_owned();
    let began = Instant::now();
    while !policy().await.contains("\"reads-company\";q=60;w=60") {
        assert!(began.elapsed() < PATIENCE);
        sleep(Duration::from_millis(20)).await;
    }
    let storm = async {
        let count = if std::env::var_os("ALLY360_TEST_FULL").is_some() {
            10_000
        } else {
            300
        };
        let answers = futures::future::join_all((0..count).map(|_| a.get("/brands"))).await;
        for answer in &answers {
            let summary = answer.summary();
            let is_known = summary == "200" || summary == "429 rate-limited" || summary.starts_with("503 ");
            assert!(is_known, "{summary}");
        }
        assert!(answers.iter().any(|answer| answer.status == 429));
    };
    let neighbour = async {
        for _ in 0..10 {
            b.get("/brands").await.ok();
            let category = serde_json::json!({"name": uuid::Uuid::new_v4().to_string()});
            b.post("/categories", category).await.created();
        }
    };
    tokio::join!(storm, neighbour);
    a.get("/auth/me").await.ok();
}

/// Bodies that never end: they are held before their requests have a slot.
#[tokio::test]
async fn a_companys_bodies_take_no_more_than_its_share_of_memory() {
    let t = app().await;
    let (a, b) = (t.tenant("a").await, t.tenant("b").await);
    let service = server::service(&t.app);
    let endless = |client: &Client| {
        let request = http::Request::post("/brands")
            .header("authorization", format!("Bearer {}", client.token))
            .header("x-company-id", client.company().to_string())
            .header("content-type", "application/json")
            .body(axum::body::Body::from_stream(futures::stream::pending::<
                std::io::Result<axum::body::Bytes>,
            >()))
            .expect("a request");
        let service = service.clone();
        async move {
            tower::util::ServiceExt::oneshot(service, request)
                .await
                .expect("an answer")
        }
    };
    let hold = |client: &Client| t.app.tasks.spawn(endless(client));
    // Whoever is refused is told at once; whoever is not waits for its body.
    let settle = async |request: &mut tokio::task::JoinHandle<axum::response::Response>| {
        tokio::time::timeout(Duration::from_secs(2), request).await.ok()
    };
    let mut held: Vec<_> = (0..65).map(|_| hold(&a)).collect();
    let mut refused = Vec::new();
    for request in &mut held {
        if let Ok(answer) = tokio::time::timeout(Duration::from_millis(50), request).await {
            refused.push(answer.expect("an answer"));
        }
    }
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].status(), 503);
    assert_eq!(refused[0].headers()["retry-after"], "1");
    // Small ones are not counted, and another company finds room.
    let brand = || serde_json::json!({"name": uuid::Uuid::new_v4().to_string()});
    for client in [
        &Client::of(service.clone())
            .with_token(&a.token)
            .in_company(a.company()),
        &b,
    ] {
        client.post("/brands", brand()).await.created();
    }
    let mut other = hold(&b);
    assert!(settle(&mut other).await.is_none());
    for request in &held {
        request.abort();
    }
    let mut again = hold(&a);
    assert!(settle(&mut again).await.is_none(), "its room is free again");
    other.abort();
    again.abort();
}
