//! What a company sees of its jobs and can do about them.

use std::time::Duration;

use serde_json::json;

use super::support::{
    Act, Step, app, drained, enqueue, hurry, quick, rows, sql, start, tx, until, until_number,
};

const LIMIT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_job_is_seen_from_its_wait_to_its_end_with_its_progress() {
    let t = app().await;
    let a = t.tenant("a").await;
    let steps = [Step::Progress(40, "2 of 5 pages".to_owned()), Step::Sleep(1500)];
    let path = format!("/jobs/{}", enqueue(&t, &a, &Act::new(1, &steps)).await);
    let waiting = a.get(&path).await.ok();
    assert_eq!(
        (waiting.json["state"].as_str(), waiting.json["progress"].as_i64()),
        (Some("ready"), Some(0))
    );
    let worker = start(&t, quick());
    until("progress", LIMIT, async || {
        a.get(&path).await.ok().json["progress"] == 40
    })
    .await;
    let running = a.get(&path).await.ok().json;
    assert_eq!(
        (running["state"].as_str(), running["progress_message"].as_str()),
        (Some("running"), Some("2 of 5 pages"))
    );
    assert_eq!(
        a.get("/jobs?state=running").await.ok().items("name"),
        ["test.act"]
    );
    drained(&t, LIMIT).await;
    let done = a.get(&path).await.ok().json;
    assert_eq!(
        (done["state"].as_str(), done["progress"].as_i64()),
        (Some("done"), Some(100))
    );
    assert_eq!(a.get("/jobs").await.ok().items("id").len(), 0);
    for (what, code) in [("cancel", "job-ended"), ("retry", "job-not-ended")] {
        a.post(&format!("{path}/{what}"), json!({}))
            .await
            .problem(409, code);
    }
    worker.stop().await;
}

#[tokio::test]
async fn another_company_and_a_viewer_can_do_nothing_about_a_job() {
    let t = app().await;
    let (a, b) = (t.tenant("a").await, t.tenant("b").await);
    let viewer = t.member(&a, "viewer").await;
    let path = format!("/jobs/{}", enqueue(&t, &a, &Act::new(1, &[])).await);
    b.get(&path).await.problem(404, "not-found");
    b.post(&format!("{path}/cancel"), json!({}))
        .await
        .problem(404, "not-found");
    b.post(&format!("{path}/retry"), json!({}))
        .await
        .problem(404, "not-found");
    assert_eq!(b.get("/jobs").await.ok().items("id").len(), 0);
    viewer.get(&path).await.ok();
    viewer
        .post(&format!("{path}/cancel"), json!({}))
        .await
        .problem(403, "permission-missing");
    viewer
        .post(&format!("{path}/retry"), json!({}))
        .await
        .problem(403, "permission-missing");
    a.get(&path).await.ok();
}

#[tokio::test]
async fn a_waiting_job_is_cancelled_at_once_and_can_be_retried() {
    let t = app().await;
    let a = t.tenant("a").await;
    let path = format!("/jobs/{}", enqueue(&t, &a, &Act::new(1, &[])).await);
    a.post(&format!("{path}/retry"), json!({}))
        .await
        .problem(409, "job-not-ended");
    a.post(&format!("{path}/cancel"), json!({})).await.status(204);
    a.post(&format!("{path}/cancel"), json!({}))
        .await
        .problem(409, "job-ended");
    let worker = start(&t, quick());
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(a.get(&path).await.ok().json["state"], "cancelled");
    a.post(&format!("{path}/retry"), json!({})).await.status(204);
    drained(&t, LIMIT).await;
    assert_eq!(a.get(&path).await.ok().json["state"], "done");
    worker.stop().await;
}

#[tokio::test]
async fn a_running_job_is_told_to_stop_whether_it_listens_or_not() {
    let t = app().await;
    let a = t.tenant("a").await;
    let listens = format!(
        "/jobs/{}",
        enqueue(&t, &a, &Act::new(1, &[Step::UntilCancelled])).await
    );
    let ignores = format!(
        "/jobs/{}",
        enqueue(&t, &a, &Act::new(2, &[Step::Sleep(60_000)])).await
    );
    let worker = start(&t, quick());
    until_number(&t, "select count(*) from jobs where state = 'running'", 2, LIMIT).await;
    for path in [&listens, &ignores] {
        a.post(&format!("{path}/cancel"), json!({})).await.status(204);
    }
    until_number(
        &t,
        "select count(*) from jobs where state = 'cancelled'",
        2,
        LIMIT,
    )
    .await;
    let mut conn = sql(&t).await;
    assert!(rows(&mut conn, "select * from effects").await.is_empty());
    assert_eq!(
        rows(&mut conn, "select distinct outcome from job_runs").await,
        ["cancelled"]
    );
    worker.stop().await;
}

#[tokio::test]
async fn a_dead_job_is_retried_unless_another_does_the_same_by_now() {
    let t = app().await;
    let a = t.tenant("a").await;
    let job = Act {
        key: Some("k".to_owned()),
        ..Act::new(1, &[Step::SucceedAt(4)])
    };
    let path = format!("/jobs/{}", enqueue(&t, &a, &job).await);
    let worker = start(&t, quick());
    let mut conn = sql(&t).await;
    until("dead", LIMIT, async || {
        hurry(&mut sql(&t).await).await;
        a.get(&path).await.ok().json["state"] == "dead"
    })
    .await;
    assert_eq!(a.get("/jobs?state=dead").await.ok().items("id").len(), 1);

    let mut other = tx(&t.app, &a).await;
    other
        .enqueue_in(&job, Duration::from_secs(600))
        .await
        .expect("enqueued")
        .expect("the key is free");
    other.commit().await.expect("committed");
    a.post(&format!("{path}/retry"), json!({}))
        .await
        .problem(409, "job-replaced");
    super::support::execute(&mut conn, "delete from jobs where state = 'scheduled'").await;
    a.post(&format!("{path}/retry"), json!({})).await.status(204);
    drained(&t, LIMIT).await;
    assert_eq!(a.get(&path).await.ok().json["state"], "done");
    assert_eq!(rows(&mut conn, "select n, attempt from effects").await, ["1 4"]);
    worker.stop().await;
}
