//! Background jobs of a test, run when it says so.

use std::time::Duration;

use kernel::app::{App, Shared};
use sqlx::PgConnection;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use worker::{Options, Worker};

use crate::TestApp;

/// Longer, and something hangs.
const LIMIT: Duration = Duration::from_secs(60);

impl TestApp {
    /// Runs every job that is due and what these enqueue, by a worker in this process. Jobs that ask for
    /// a pause wait for [`pass`](TestApp::pass).
    ///
    /// # Panics
    /// When a job is dead.
    pub async fn run_jobs(&self) {
        let worker = self.start_worker();
        let mut conn = self.superuser().await;
        let begun = Instant::now();
        while count(
            &mut conn,
            "state in ('ready', 'running') or state = 'scheduled' and run_at <= now()",
        )
        .await
            > 0
        {
            assert!(begun.elapsed() < LIMIT, "jobs are still due after {LIMIT:?}");
            sleep(Duration::from_millis(20)).await;
        }
        worker.stop().await;
        let dead: Vec<(String, Option<String>)> =
            sqlx::query_as("select name, last_error from ally.jobs where state = 'dead'")
                .fetch_all(&mut conn)
                .await
                .expect("jobs");
        assert!(dead.is_empty(), "dead jobs: {dead:?}");
    }

    /// A worker of this program's jobs, until it is stopped.
    pub fn start_worker(&self) -> RunningWorker {
        let mut shared = Shared::clone(&self.app);
        shared.stopping = CancellationToken::new();
        let app = App::from(shared);
        let options = Options {
            lease: Duration::from_secs(2),
            drain: Duration::from_secs(10),
            ..Options::default()
        };
        let task = app
            .tasks
            .spawn(Worker::new(&app, self.kinds.clone(), options).run());
        RunningWorker { app, task }
    }

    /// Lets time pass: for the API's clock and for the jobs that wait.
    pub async fn pass(&self, time: Duration) {
        self.app.clock.advance(time);
        let mut conn = self.superuser().await;
        sqlx::query(
            "update ally.jobs set run_at = run_at - make_interval(secs => $1) where state = 'scheduled'",
        )
        .bind(time.as_secs_f64())
        .execute(&mut conn)
        .await
        .expect("jobs");
    }
}

/// A worker in this process.
pub struct RunningWorker {
    app: App,
    task: tokio::task::JoinHandle<()>,
}

impl RunningWorker {
    /// Lets running jobs finish, then ends.
    pub async fn stop(self) {
        self.app.stopping.cancel();
        self.task.await.expect("the worker");
    }
}

async fn count(conn: &mut PgConnection, condition: &'static str) -> i64 {
    let mut query = sqlx::QueryBuilder::<sqlx::Postgres>::new("select count(*) from ally.jobs where ");
    query.push(condition);
    query.build_query_scalar().fetch_one(conn).await.expect("jobs")
}
