//! Workers killed while files are processed: every file has one outcome, and nothing else is left.

use std::mem::replace;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rustix::process::Signal;
use tokio::time::sleep;

use super::support::{Installation, ordinary, seed, upload_all};
use crate::support::{figures, full};

/// Files that a worker which lives, or lived until a moment ago, is processing.
const AT_WORK: &str = "select count(*) from ally.jobs
                        where name = 'files.process' and state = 'running' and lease_until > now()";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_killed_at_random_moments_finish_every_file_once() {
    let (files, kills, limit) = if full() { (500, 60, 900) } else { (60, 5, 60) };
    let place = Installation::start(&[]).await;
    let uploads = upload_all(&place.client, ordinary(files)).await;
    let mut random = StdRng::seed_from_u64(seed());
    let mut workers = [(); 2].map(|()| place.worker());
    let (began, mut killed) = (Instant::now(), 0_i64);
    while place.open_files().await > 0 {
        assert!(
            began.elapsed() < Duration::from_secs(limit),
            "{} files are open",
            place.open_files().await
        );
        sleep(Duration::from_millis(random.random_range(5..250))).await;
        if killed == kills {
            continue;
        }
        // Frozen, so that what they hold now is what they lose.
        workers.iter().for_each(|worker| worker.signal(Signal::STOP));
        if place.count(AT_WORK).await == 0 {
            workers.iter().for_each(|worker| worker.signal(Signal::CONT));
            continue;
        }
        for worker in &mut workers {
            replace(worker, place.worker()).kill9();
        }
        killed += 1;
        // The leases of the dead end at once; each death is forgiven, for there are more than a job survives.
        place
            .execute("update ally.jobs set lease_until = now() where state = 'running'")
            .await;
        place
            .execute("update ally.jobs set lost = 0 where lost > 0")
            .await;
    }
    place.settle(Duration::from_secs(30)).await;
    let lost = place
        .count("select count(*) from ally.job_runs where queue = 'files' and outcome = 'lost'")
        .await;
    let took = began.elapsed();
    assert!(2 * lost >= killed, "workers died at work");
    place.check_all_ready(&uploads).await;
    figures(
        "kill -9 of both workers while files are processed",
        &format!(
            "{files} files, {killed} times both killed, {lost} running jobs lost their worker: each file ready once, \
             nothing left over, all done after {} s",
            took.as_secs()
        ),
    );
}
