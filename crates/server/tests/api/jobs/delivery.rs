//! What becomes of runs that fail.

use std::time::Duration;

use super::support::{
    Act, Hasty, Step, app, drained, enqueue, execute, hurry, quick, rows, sql, start, until_number,
};

const LIMIT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_failing_job_is_tried_again_after_growing_pauses_and_dies_with_its_error() {
    let t = app().await;
    let a = t.tenant("a").await;
    enqueue(
        &t,
        &a,
        &Act::new(1, &[Step::Retry("the printer is on fire".to_owned())]),
    )
    .await;
    let worker = start(&t, quick());
    let mut conn = sql(&t).await;
    for (failures, pause) in [(1, 5.0), (2, 10.0)] {
        until_number(&t, "select failures::bigint from jobs", failures, LIMIT).await;
        let stored = rows(
            &mut conn,
            "select extract(epoch from run_at - ended_at) from jobs",
        )
        .await;
        let stored: f64 = stored[0].parse().expect("seconds");
        assert!(
            (pause * 0.9..=pause * 1.1).contains(&stored),
            "after {failures}: {stored} s"
        );
        hurry(&mut conn).await;
    }
    until_number(&t, "select count(*) from jobs where state = 'dead'", 1, LIMIT).await;
    assert_eq!(
        rows(&mut conn, "select failures, attempt, last_error from jobs").await,
        ["3 3 the printer is on fire"]
    );
    let history = rows(
        &mut conn,
        "select attempt, outcome from job_runs order by attempt",
    )
    .await;
    assert_eq!(history, ["1 retry", "2 retry", "3 dead"]);
    worker.stop().await;
}

#[tokio::test]
async fn a_retried_job_can_succeed() {
    let t = app().await;
    let a = t.tenant("a").await;
    enqueue(&t, &a, &Act::new(1, &[Step::SucceedAt(2)])).await;
    let worker = start(&t, quick());
    until_number(&t, "select failures::bigint from jobs", 1, LIMIT).await;
    let mut conn = sql(&t).await;
    hurry(&mut conn).await;
    drained(&t, LIMIT).await;
    assert_eq!(rows(&mut conn, "select n, attempt from effects").await, ["1 2"]);
    worker.stop().await;
}

#[tokio::test]
async fn what_can_never_succeed_is_dead_at_once() {
    let t = app().await;
    let a = t.tenant("a").await;
    enqueue(&t, &a, &Act::new(1, &[Step::Fail("no such invoice".to_owned())])).await;
    let unreadable = enqueue(&t, &a, &Act::new(2, &[])).await;
    let mut conn = sql(&t).await;
    execute(
        &mut conn,
        &format!("update jobs set payload = '{{\"n\": \"two\"}}' where id = '{unreadable}'"),
    )
    .await;
    let worker = start(&t, quick());
    until_number(&t, "select count(*) from jobs where state = 'dead'", 2, LIMIT).await;
    let dead = rows(
        &mut conn,
        "select attempt, failures, last_error from jobs order by created_at",
    )
    .await;
    assert_eq!(dead[0], "1 1 no such invoice");
    assert!(
        dead[1].starts_with("1 1 invalid type: string \"two\", expected i32"),
        "{}",
        dead[1]
    );
    worker.stop().await;
}

#[tokio::test]
async fn coming_back_later_is_no_failure() {
    let t = app().await;
    let a = t.tenant("a").await;
    enqueue(&t, &a, &Act::new(1, &[Step::Later(100)])).await;
    let worker = start(&t, quick());
    drained(&t, LIMIT).await;
    let mut conn = sql(&t).await;
    assert_eq!(rows(&mut conn, "select n, attempt from effects").await, ["1 3"]);
    let history = rows(
        &mut conn,
        "select attempt, outcome from job_runs order by attempt",
    )
    .await;
    assert_eq!(history, ["1 released", "2 released", "3 done"]);
    worker.stop().await;
}

#[tokio::test]
async fn panics_and_long_runs_are_failures_and_the_worker_lives() {
    let t = app().await;
    let a = t.tenant("a").await;
    enqueue(
        &t,
        &a,
        &Act::new(1, &[Step::Panic("index out of bounds".to_owned())]),
    )
    .await;
    enqueue(&t, &a, &Hasty(Act::new(2, &[Step::Sleep(10_000)]))).await;
    let worker = start(&t, quick());
    until_number(&t, "select count(*) from jobs where failures = 1", 2, LIMIT).await;
    let mut conn = sql(&t).await;
    let errors = rows(
        &mut conn,
        "select state, last_error from jobs order by created_at",
    )
    .await;
    assert_eq!(
        errors,
        [
            "scheduled panic: index out of bounds",
            "scheduled not done after 200ms"
        ]
    );
    enqueue(&t, &a, &Act::new(3, &[])).await;
    until_number(&t, "select count(*) from effects", 1, LIMIT).await;
    worker.stop().await;
}

#[tokio::test]
async fn what_had_committed_is_done_whatever_comes_after() {
    // Cut in the very moment of its commit, a job is either done or runs again; never both.
    let t = app().await;
    let a = t.tenant("a").await;
    for n in 0..60 {
        enqueue(
            &t,
            &a,
            &Hasty(Act::new(n, &[Step::Sleep(185 + u64::from(n.unsigned_abs()) / 3)])),
        )
        .await;
    }
    let worker = start(&t, quick());
    let mut conn = sql(&t).await;
    super::support::until("all ended", Duration::from_secs(60), async || {
        let mut conn = sql(&t).await;
        hurry(&mut conn).await;
        super::support::number(&mut conn, "select count(*) from jobs where state <> 'dead'").await == 0
    })
    .await;
    let twice = "select n from effects group by n having count(*) > 1";
    assert!(rows(&mut conn, twice).await.is_empty());
    let unclear = "select id from jobs where (payload->>'n')::integer in (select n from effects)";
    assert!(rows(&mut conn, unclear).await.is_empty());
    let all = "select (select count(*) from effects) + (select count(*) from jobs)";
    assert_eq!(super::support::number(&mut conn, all).await, 60);
    worker.stop().await;
}
