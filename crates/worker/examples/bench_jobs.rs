//! What the queue costs beside the least that a queue in PostgreSQL can cost: part of `script/bench`.
//!
//! Settings are the program's own (DATABASE_URL and the roles' passwords). Prints lines of a name and
//! numbers. `worker` is one worker of no-op jobs until it is killed, `bench` measures.

#![expect(
    clippy::print_stdout,
    clippy::float_arithmetic,
    reason = "a measurement prints rates, and its process ends with it"
)]

use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::{Args, FromArgMatches};
use futures::future::try_join_all;
use kernel::app::App;
use kernel::clock::Clock;
use kernel::config::Config;
use kernel::db::{Db, PoolSize, RolePasswords, TenantTx, connect_options};
use kernel::job::{Background, Job, JobCx, JobKind, JobResult, background_tx};
use kernel::keys::Keys;
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::{sleep, timeout};
use uuid::Uuid;
use worker::{Options, Worker};

/// Jobs at once in one worker.
const SLOTS: u32 = 8;
/// Jobs or rows of one measurement.
const JOBS: u32 = 10_000;
/// Clients that enqueue at once.
const CLIENTS: u32 = 8;

/// Does nothing.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Nothing {}

impl Job for Nothing {
    const NAME: &'static str = "bench.nothing";
    const QUEUE: &'static str = "bench";
    async fn run(self, _: JobCx) -> JobResult {
        if let Some(starts) = STARTS.get() {
            starts.send(Instant::now())?;
        }
        Ok(())
    }
}

/// Hears of every start, in the process that measures the latency.
static STARTS: OnceLock<UnboundedSender<Instant>> = OnceLock::new();

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let command = clap::Command::new("bench_jobs").arg(clap::Arg::new("part").required(true));
    let matches = Config::augment_args(command).get_matches();
    let config = Config::from_arg_matches(&matches)?;
    let server = connect_options(&config.database)?.context("DATABASE_URL is not set")?;
    let app = app(config, &server)?;
    match matches.get_one::<String>("part").map(String::as_str) {
        Some("worker") => worker(&app).run().await,
        _ => bench(&app, &server).await?,
    }
    Ok(())
}

fn app(config: Config, server: &PgConnectOptions) -> anyhow::Result<App> {
    let database = &config.database;
    let password = |given: &Option<String>| given.clone().context("a role's password is not set");
    let roles = RolePasswords {
        app: vec![password(&database.db_app_password)?],
        system: vec![password(&database.db_system_password)?],
    };
    let size = PoolSize {
        app: 16,
        system: 10,
        acquire_timeout: Duration::from_secs(5),
    };
    let db = Db::connect_lazy(server, &roles, &size);
    let keys = Keys::new("of no use here, and long enough to be one");
    Ok(App::new(config, db, keys, Clock::default()))
}

fn worker(app: &App) -> Worker {
    let options = Options {
        concurrency: SLOTS as usize,
        per_tenant: 1_000_000,
        ..Options::default()
    };
    Worker::new(app, vec![JobKind::of::<Nothing>()], options)
}

async fn bench(app: &App, server: &PgConnectOptions) -> anyhow::Result<()> {
    let mut owner = server.connect().await?;
    let company: Uuid = sqlx::query_scalar("select tenant_id from ally.companies order by tenant_id limit 1")
        .fetch_one(&mut owner)
        .await?;
    sqlx::raw_sql("create table if not exists bare_queue (id bigserial primary key, payload jsonb not null)")
        .execute(&mut owner)
        .await?;
    for workers in [1, 2, 4] {
        println!(
            "run {workers} {:.0} {:.0}",
            run(app, company, &mut owner, workers).await?,
            bare_run(server, workers * SLOTS).await?
        );
    }
    println!(
        "enqueue {:.0} {:.0}",
        enqueue(app, company).await?,
        bare_enqueue(server).await?
    );
    sqlx::raw_sql("delete from ally.jobs where queue = 'bench'")
        .execute(&mut owner)
        .await?;
    let mut latencies = latencies(app, company).await?;
    latencies.sort();
    let at = |percent: usize| latencies[(latencies.len() - 1) * percent / 100].as_secs_f64() * 1e3;
    println!("latency {:.1} {:.1}", at(50), at(99));
    sqlx::raw_sql("drop table bare_queue; delete from ally.job_runs where queue = 'bench'")
        .execute(&mut owner)
        .await?;
    Ok(())
}

async fn transaction(app: &App, company: Uuid) -> anyhow::Result<TenantTx<Background>> {
    background_tx(app, company).await.context("no transaction")
}

/// Jobs per second of so many worker processes, by the history's own times.
async fn run(app: &App, company: Uuid, owner: &mut PgConnection, workers: u32) -> anyhow::Result<f64> {
    sqlx::query("delete from ally.job_runs where queue = 'bench'")
        .execute(&mut *owner)
        .await?;
    let mut tx = transaction(app, company).await?;
    for _ in 0..JOBS {
        tx.enqueue(&Nothing {}).await?;
    }
    tx.commit().await?;
    let mut processes = (0..workers)
        .map(|_| {
            Command::new(std::env::current_exe()?)
                .arg("worker")
                .stdout(Stdio::null())
                .spawn()
        })
        .collect::<std::io::Result<Vec<Child>>>()?;
    let deadline = Instant::now() + Duration::from_secs(120);
    while sqlx::query_scalar::<_, bool>("select exists (select from ally.jobs where queue = 'bench')")
        .fetch_one(&mut *owner)
        .await?
    {
        ensure!(Instant::now() < deadline, "jobs are left");
        sleep(Duration::from_millis(100)).await;
    }
    for process in &mut processes {
        process.kill()?;
        process.wait()?;
    }
    let seconds: f64 = sqlx::query_scalar(
        "select extract(epoch from max(finished_at) - min(started_at))::float8 from ally.job_runs
          where queue = 'bench' and outcome = 'done'",
    )
    .fetch_one(owner)
    .await?;
    Ok(f64::from(JOBS) / seconds)
}

/// Rows per second that so many connections take from a bare table.
async fn bare_run(server: &PgConnectOptions, connections: u32) -> anyhow::Result<f64> {
    let mut owner = server.connect().await?;
    sqlx::query("insert into bare_queue (payload) select '{}' from generate_series(1, $1)")
        .bind(i32::try_from(JOBS)?)
        .execute(&mut owner)
        .await?;
    let takers = try_join_all((0..connections).map(|_| server.connect())).await?;
    let begun = Instant::now();
    try_join_all(takers.into_iter().map(|mut taker| async move {
        let take = "delete from bare_queue where id = (select id from bare_queue order by id limit 1 for update skip locked)";
        while sqlx::query(take).execute(&mut taker).await?.rows_affected() > 0 {}
        taker.close().await
    }))
    .await?;
    Ok(f64::from(JOBS) / begun.elapsed().as_secs_f64())
}

/// Jobs per second enqueued by several clients, each in a transaction of its own.
async fn enqueue(app: &App, company: Uuid) -> anyhow::Result<f64> {
    let begun = Instant::now();
    try_join_all((0..CLIENTS).map(|_| async move {
        for _ in 0..JOBS / CLIENTS {
            let mut tx = transaction(app, company).await?;
            tx.enqueue(&Nothing {}).await?;
            tx.commit().await?;
        }
        anyhow::Ok(())
    }))
    .await?;
    Ok(f64::from(JOBS) / begun.elapsed().as_secs_f64())
}

/// Rows per second inserted into a bare table by as many clients.
async fn bare_enqueue(server: &PgConnectOptions) -> anyhow::Result<f64> {
    let clients = try_join_all((0..CLIENTS).map(|_| server.connect())).await?;
    let begun = Instant::now();
    try_join_all(clients.into_iter().map(|mut client| async move {
        for _ in 0..JOBS / CLIENTS {
            sqlx::query("insert into bare_queue (payload) values ('{}')")
                .execute(&mut client)
                .await?;
        }
        client.close().await
    }))
    .await?;
    Ok(f64::from(JOBS) / begun.elapsed().as_secs_f64())
}

/// From the commit's return to the start of the job, in an idle worker; what carries the commit's bell to it belongs to
/// the program that enqueues.
async fn latencies(app: &App, company: Uuid) -> anyhow::Result<Vec<Duration>> {
    let (starts, mut started) = unbounded_channel();
    ensure!(STARTS.set(starts).is_ok(), "measured once");
    let carried = app.clone();
    app.tasks
        .spawn(async move { carried.db.bell().carry(&carried.db).await });
    let running = app.tasks.spawn(worker(app).run());
    let mut latencies = Vec::new();
    for round in 0..220 {
        // Longer than the worker needs to be idle again, and another moment of its second each time.
        sleep(Duration::from_millis(23)).await;
        let mut tx = transaction(app, company).await?;
        tx.enqueue(&Nothing {}).await?;
        tx.commit().await?;
        let committed = Instant::now();
        let start = timeout(Duration::from_secs(10), started.recv()).await;
        let start = start
            .context("a job did not start")?
            .context("the worker ended")?;
        // The first rounds connect.
        if round >= 20 {
            latencies.push(start.saturating_duration_since(committed));
        }
    }
    app.stopping.cancel();
    running.await?;
    Ok(latencies)
}
