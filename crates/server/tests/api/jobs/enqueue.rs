//! Enqueuing: part of the business write, once per key, in the company's scope.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::routing::post;
use kernel::app::App;
use kernel::caller::{Caller, Cause};
use kernel::db::TenantTx;
use kernel::error::{Error, NOT_FOUND, Result};
use kernel::job::Background;
use kernel::output::NoContent;
use kernel::trace::TraceContext;
use tower::ServiceExt;

use super::support::{
    Act, Mail, Step, Urgent, app, drained, enqueue, execute, number, quick, rows, sql, start, tx,
    until_number,
};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const LIMIT: Duration = Duration::from_secs(20);

async fn enqueues(mut tx: TenantTx<Background>) -> Result<NoContent> {
    tx.enqueue(&Act::new(1, &[])).await?;
    Ok(NoContent)
}

async fn enqueues_and_fails(mut tx: TenantTx<Background>) -> Result<NoContent> {
    tx.enqueue(&Act::new(2, &[])).await?;
    Err(Error::new(&NOT_FOUND))
}

#[tokio::test]
async fn a_job_exists_if_and_only_if_the_request_commits() {
    let t = app().await;
    let a = t.tenant("a").await;
    let caller = tx(&t.app, &a).await.caller().clone();
    let identify = move |State(caller): State<Caller>, mut request: Request, next: Next| async move {
        request.extensions_mut().insert(caller);
        request.extensions_mut().insert(Cause {
            request_id: Some("request-1".to_owned()),
            trace: TraceContext::parse(PARENT, Some("vendor=value")),
            address: None,
        });
        next.run(request).await
    };
    let routes = axum::Router::<App>::new()
        .route("/good", post(enqueues))
        .route("/bad", post(enqueues_and_fails))
        .route_layer(from_fn_with_state(t.app.clone(), kernel::db::scope))
        .route_layer(from_fn_with_state(caller, identify))
        .with_state(t.app.clone());
    let send = |path: &'static str| {
        routes.clone().oneshot(
            Request::post(path)
                .body(axum::body::Body::empty())
                .expect("request"),
        )
    };
    assert_eq!(send("/bad").await.expect("answer").status(), 404);
    assert_eq!(send("/good").await.expect("answer").status(), 204);

    let mut conn = sql(&t).await;
    let seen = rows(
        &mut conn,
        "select tenant_id, created_by, request_id, traceparent, tracestate, payload->>'n' from jobs",
    )
    .await;
    assert_eq!(
        seen,
        [format!(
            "{} {} request-1 {PARENT} vendor=value 1",
            a.company(),
            a.user_id
        )]
    );
    let worker = start(&t, quick());
    drained(&t, LIMIT).await;
    assert_eq!(rows(&mut conn, "select n from effects").await, ["1"]);
    assert_eq!(
        rows(&mut conn, "select outcome, attempt from job_runs").await,
        ["done 1"]
    );
    worker.stop().await;
}

#[tokio::test]
async fn a_job_sees_its_company_alone() {
    let t = app().await;
    let (a, b) = (t.tenant("a").await, t.tenant("b").await);
    for name in ["x", "y"] {
        b.post("/brands", serde_json::json!({"name": name}))
            .await
            .created();
    }
    enqueue(&t, &a, &Act::new(1, &[])).await;
    enqueue(&t, &b, &Act::new(2, &[])).await;
    let worker = start(&t, quick());
    drained(&t, LIMIT).await;
    let mut conn = sql(&t).await;
    let seen = rows(&mut conn, "select n, seen, tenant_id from effects order by n").await;
    assert_eq!(
        seen,
        [format!("1 0 {}", a.company()), format!("2 2 {}", b.company())]
    );
    worker.stop().await;
}

#[tokio::test]
async fn a_taken_key_enqueues_nothing_and_the_transaction_goes_on() {
    let t = app().await;
    let (a, b) = (t.tenant("a").await, t.tenant("b").await);
    let job = Act {
        key: Some("once".to_owned()),
        ..Act::new(1, &[])
    };
    let mut first = tx(&t.app, &a).await;
    assert!(first.enqueue(&job).await.expect("enqueued").is_some());
    assert!(first.enqueue(&job).await.expect("not an error").is_none());
    assert!(
        first
            .enqueue(&Act::new(2, &[]))
            .await
            .expect("the transaction goes on")
            .is_some()
    );
    first.commit().await.expect("committed");
    // Another company's key is another key.
    enqueue(&t, &b, &job).await;
    let worker = start(&t, quick());
    drained(&t, LIMIT).await;
    // Free again.
    enqueue(&t, &a, &job).await;
    drained(&t, LIMIT).await;
    let mut conn = sql(&t).await;
    assert_eq!(
        rows(&mut conn, "select n from effects order by n").await,
        ["1", "1", "1", "2"]
    );
    worker.stop().await;
}

#[tokio::test]
async fn urgent_jobs_go_first_and_delayed_ones_wait() {
    let t = app().await;
    let a = t.tenant("a").await;
    for n in 1..=3 {
        enqueue(&t, &a, &Act::new(n, &[])).await;
    }
    enqueue(&t, &a, &Urgent(Act::new(0, &[]))).await;
    let mut later = tx(&t.app, &a).await;
    later
        .enqueue_in(&Urgent(Act::new(9, &[])), Duration::from_secs(2))
        .await
        .expect("enqueued");
    later.commit().await.expect("committed");
    let options = worker::Options {
        concurrency: 1,
        ..quick()
    };
    let worker = start(&t, options);
    drained(&t, LIMIT).await;
    let mut conn = sql(&t).await;
    assert_eq!(
        rows(&mut conn, "select n from effects order by at").await,
        ["0", "1", "2", "3", "9"]
    );
    let waited = "select (extract(epoch from r.started_at - r.enqueued_at) * 1000)::bigint from job_runs r order by finished_at desc limit 1";
    let waited = number(&mut conn, waited).await;
    assert!((2000..5000).contains(&waited), "{waited} ms");
    worker.stop().await;
}

#[tokio::test]
async fn a_worker_serves_the_queues_it_was_started_for() {
    let t = app().await;
    let a = t.tenant("a").await;
    enqueue(&t, &a, &Act::new(1, &[])).await;
    enqueue(&t, &a, &Mail(Act::new(2, &[]))).await;
    let worker = start(
        &t,
        worker::Options {
            queues: vec!["mail".to_owned()],
            ..quick()
        },
    );
    until_number(&t, "select count(*) from effects", 1, LIMIT).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let mut conn = sql(&t).await;
    assert_eq!(rows(&mut conn, "select n from effects").await, ["2"]);
    worker.stop().await;
}

#[tokio::test]
async fn a_program_that_does_not_know_a_job_leaves_it_to_another_and_buries_it_in_the_end() {
    let t = app().await;
    let a = t.tenant("a").await;
    let id = enqueue(&t, &a, &Act::new(1, &[Step::Sleep(1)])).await;
    let mut conn = sql(&t).await;
    execute(&mut conn, "update jobs set name = 'test.unheard_of'").await;
    let worker = start(&t, quick());
    let failed = "select failures::bigint from jobs where state in ('scheduled', 'dead')";
    until_number(
        &t,
        "select count(*) from jobs where state = 'scheduled' and failures = 1",
        1,
        LIMIT,
    )
    .await;
    for failures in 2..=8 {
        super::support::hurry(&mut conn).await;
        until_number(&t, failed, failures, LIMIT).await;
    }
    let seen = rows(&mut conn, "select id, state, last_error from jobs").await;
    assert_eq!(
        seen,
        [format!("{id} dead this program knows no job test.unheard_of")]
    );
    worker.stop().await;
}
