//! Workers that die, stall and stop: no job lost, no effect twice.

use std::sync::Arc;
use std::time::{Duration, Instant};

use testkit::TestApp;
use tokio::sync::Notify;
use worker::{Options, Worker};

use super::support::{
    Act, Step, app, drained, enqueue, execute, kinds, number, quick, rows, sql, start, state, until_number,
};

/// A worker on a thread and a runtime of its own. A job that blocks stalls all of it, its leases
/// too; killed, it stops at whatever await it is, and its connections break.
struct Process {
    kill: Arc<Notify>,
    thread: std::thread::JoinHandle<()>,
}

impl Process {
    fn start(t: &TestApp, options: Options) -> Process {
        let kill = Arc::new(Notify::new());
        let killed = kill.clone();
        let app = state(t, 4);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("runtime");
            runtime.block_on(async {
                tokio::select! {
                    () = killed.notified() => {}
                    () = Worker::new(&app, kinds(), options).run() => {}
                }
            });
        });
        Process { kill, thread }
    }

    fn kill(self) {
        self.kill.notify_one();
        self.thread.join().expect("the worker's thread");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_worker_cannot_complete_a_job_that_was_taken_over() {
    let t = app().await;
    let a = t.tenant("a").await;
    enqueue(&t, &a, &Act::new(1, &[Step::Stall(3000)])).await;
    let stalled = Process::start(&t, quick());
    until_number(
        &t,
        "select attempt::bigint from jobs where state = 'running'",
        1,
        Duration::from_secs(10),
    )
    .await;
    let mut conn = sql(&t).await;
    let other = start(&t, quick());
    until_number(&t, "select count(*) from effects", 1, Duration::from_secs(10)).await;
    // The stalled one wakes, tries to commit and is refused.
    tokio::time::sleep(Duration::from_millis(3500)).await;
    assert_eq!(rows(&mut conn, "select n, attempt from effects").await, ["1 2"]);
    let history = rows(
        &mut conn,
        "select attempt, outcome from job_runs order by attempt",
    )
    .await;
    assert_eq!(history, ["1 lost", "2 done"]);
    stalled.kill();
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_kills_its_workers_is_dead_after_the_third() {
    let t = app().await;
    let a = t.tenant("a").await;
    enqueue(&t, &a, &Act::new(1, &[Step::Sleep(60_000)])).await;
    for attempt in 1..=3 {
        let worker = Process::start(&t, quick());
        let running = "select coalesce(max(attempt), 0)::bigint from jobs where state = 'running'";
        until_number(&t, running, attempt, Duration::from_secs(15)).await;
        worker.kill();
    }
    let worker = start(&t, quick());
    until_number(
        &t,
        "select count(*) from jobs where state = 'dead'",
        1,
        Duration::from_secs(10),
    )
    .await;
    let mut conn = sql(&t).await;
    let dead = rows(&mut conn, "select lost, failures, last_error from jobs").await;
    assert_eq!(dead, ["3 0 the worker died or stalled"]);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_jobs_under_kills_and_stalls_each_has_its_effect_once() {
    const KILLS: u64 = 25;
    const LOST: i64 = 10;
    let t = app().await;
    let a = t.tenant("a").await;
    let mut conn = sql(&t).await;
    let mut processes: Vec<Process> = (0..3).map(|_| Process::start(&t, quick())).collect();
    let begun = Instant::now();
    let (mut jobs, mut kills, mut lost, mut buried) = (0_i32, 0, 0, 0);
    loop {
        assert!(begun.elapsed() < Duration::from_secs(100), "jobs are left");
        // However fast the machine is, there is work to be killed in.
        let waiting = number(&mut conn, "select count(*) from jobs").await;
        let enough = kills >= KILLS && lost > LOST;
        if enough && waiting == 0 {
            break;
        }
        if !enough && waiting < 50 {
            for n in jobs..jobs + 50 {
                // 2 % stall for longer than the lease.
                let step = if n % 50 == 7 {
                    Step::Stall(1500)
                } else {
                    Step::Sleep(u64::from(n.unsigned_abs()) * 7 % 40)
                };
                enqueue(&t, &a, &Act::new(n, &[step])).await;
            }
            jobs += 50;
        }
        tokio::time::sleep(Duration::from_millis(150 + kills * 37 % 200)).await;
        if !enough {
            let victim = processes.remove(usize::try_from(kills).expect("small") % processes.len());
            tokio::task::spawn_blocking(|| victim.kill())
                .await
                .expect("killed");
            processes.push(Process::start(&t, quick()));
            kills += 1;
        }
        // Three workers died under it, by our hand: it gets another chance.
        for dead in a.get("/jobs?state=dead").await.ok().items("id") {
            a.post(&format!("/jobs/{dead}/retry"), serde_json::json!({}))
                .await
                .status(204);
            buried += 1;
        }
        lost = number(
            &mut conn,
            "select count(*) from job_runs where outcome in ('lost', 'dead')",
        )
        .await;
    }
    eprintln!(
        "{jobs} jobs, {kills} kills, {lost} leases lost, {buried} dead and retried, {:?}",
        begun.elapsed()
    );
    let twice = rows(
        &mut conn,
        "select n, count(*) from effects group by n having count(*) > 1",
    )
    .await;
    assert!(twice.is_empty(), "effects twice: {twice:?}");
    assert_eq!(
        number(&mut conn, "select count(*) from effects").await,
        i64::from(jobs),
        "effects lost"
    );
    assert_eq!(
        number(&mut conn, "select count(*) from job_runs where outcome = 'done'").await,
        i64::from(jobs)
    );
    for process in processes {
        tokio::task::spawn_blocking(|| process.kill())
            .await
            .expect("killed");
    }
}

#[tokio::test]
async fn a_stopping_worker_finishes_what_is_short_and_gives_back_what_is_long() {
    let t = app().await;
    let a = t.tenant("a").await;
    enqueue(&t, &a, &Act::new(1, &[Step::Sleep(1000)])).await;
    enqueue(&t, &a, &Act::new(2, &[Step::Sleep(8000)])).await;
    let first = start(&t, quick());
    until_number(
        &t,
        "select count(*) from jobs where state = 'running'",
        2,
        Duration::from_secs(10),
    )
    .await;
    let enqueued_meanwhile = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        enqueue(&t, &a, &Act::new(3, &[])).await
    };
    let (took, _) = tokio::join!(first.stop(), enqueued_meanwhile);
    assert!(took < Duration::from_secs(6), "{took:?}");

    let mut conn = sql(&t).await;
    assert_eq!(rows(&mut conn, "select n, attempt from effects").await, ["1 1"]);
    let left = rows(
        &mut conn,
        "select payload->>'n', state, failures, lost from jobs order by created_at",
    )
    .await;
    assert_eq!(left, ["2 ready 0 0", "3 ready 0 0"]);
    let second = start(&t, quick());
    until_number(
        &t,
        "select count(*) from jobs where attempt = 2 and state = 'running'",
        1,
        Duration::from_secs(3),
    )
    .await;
    drained(&t, Duration::from_secs(20)).await;
    assert_eq!(
        rows(&mut conn, "select n, attempt from effects order by n").await,
        ["1 1", "2 2", "3 1"]
    );
    second.stop().await;
}

/// Nobody could take back a job that nobody has, or since when is unknown.
#[tokio::test]
async fn a_job_under_way_has_begun_and_has_a_worker_and_a_lease() {
    let t = app().await;
    let a = t.tenant("a").await;
    enqueue(&t, &a, &Act::new(1, &[])).await;
    let mut conn = sql(&t).await;
    for lacking in [
        "update jobs set state = 'running', started_at = now(), lease_until = now()",
        "update jobs set state = 'running', worker = id, lease_until = now()",
        "update jobs set state = 'running', worker = id, started_at = now()",
    ] {
        let refused = sqlx::raw_sql(lacking).execute(&mut conn).await;
        let constraint = refused
            .as_ref()
            .err()
            .and_then(|error| error.as_database_error()?.constraint());
        assert_eq!(constraint, Some("jobs_running_leased"), "{lacking}: {refused:?}");
    }
    execute(
        &mut conn,
        "update jobs set state = 'running', worker = id, started_at = now(), lease_until = now()",
    )
    .await;
}
