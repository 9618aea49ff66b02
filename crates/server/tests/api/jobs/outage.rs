//! The database goes away and comes back: the worker waits.

use std::time::{Duration, Instant};

use super::support::{Act, Step, app, enqueue, execute, number, quick, rows, sql, start};

#[tokio::test]
async fn all_jobs_are_done_though_every_connection_is_cut_several_times() {
    const JOBS: i32 = 200;
    let t = app().await;
    let a = t.tenant("a").await;
    for n in 0..JOBS {
        enqueue(&t, &a, &Act::new(n, &[Step::Sleep(30)])).await;
    }
    let workers = [start(&t, quick()), start(&t, quick())];
    let mut conn = sql(&t).await;
    let begun = Instant::now();
    let mut cuts = 0;
    while number(&mut conn, "select count(*) from jobs").await > 0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "jobs are left");
        if cuts < 6 {
            let cut = "select pg_terminate_backend(pid) from pg_stat_activity
                        where datname = current_database() and pid <> pg_backend_pid()";
            execute(&mut conn, cut).await;
            cuts += 1;
        }
        // A cut run counts as a failure and would wait.
        super::support::hurry(&mut conn).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert_eq!(cuts, 6);
    assert!(workers.iter().all(super::support::Running::is_alive));
    assert!(
        rows(&mut conn, "select n from effects group by n having count(*) > 1")
            .await
            .is_empty()
    );
    assert_eq!(
        number(&mut conn, "select count(*) from effects").await,
        i64::from(JOBS)
    );
    for worker in workers {
        worker.stop().await;
    }
}
