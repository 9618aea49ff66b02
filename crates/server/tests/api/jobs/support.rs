//! Jobs that do what a test asks for, a table that shows what they did, and workers.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kernel::app::App;
use kernel::caller::{Caller, UserCaller};
use kernel::clock::Clock;
use kernel::db::{Db, PoolSize, RolePasswords, TenantTx};
use kernel::job::{Background, Job, JobCx, JobError, JobKind, JobResult};
use kernel::keys::Keys;
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, PgConnection, Row};
use testkit::{Client, TestApp};
use tokio::task::JoinHandle;
use uuid::Uuid;
use worker::{Options, Worker};

/// A job whose run is described by its payload. Every run that commits leaves a row in `effects`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Act {
    pub n: i32,
    #[serde(default)]
    pub steps: Vec<Step>,
    #[serde(default)]
    pub key: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Step {
    /// Awaits for so many milliseconds.
    Sleep(u64),
    /// Blocks the worker's thread for so many milliseconds, in the first attempt: a stalled process.
    Stall(u64),
    /// Waits to be told to stop and then ends by itself.
    UntilCancelled,
    Progress(i16, String),
    Fail(String),
    Retry(String),
    Later(u64),
    Panic(String),
    /// Fails in every attempt but this one.
    SucceedAt(i32),
}

impl Act {
    pub fn new(n: i32, steps: &[Step]) -> Act {
        Act {
            n,
            steps: steps.to_vec(),
            key: None,
        }
    }
}

impl Job for Act {
    const NAME: &'static str = "test.act";
    const MAX_ATTEMPTS: i32 = 3;
    const TIMEOUT: Duration = Duration::from_secs(60);

    fn unique_key(&self) -> Option<String> {
        self.key.clone()
    }

    async fn run(self, cx: JobCx) -> JobResult {
        act(self, cx).await
    }
}

/// The same with little time.
#[derive(Serialize, Deserialize)]
pub struct Hasty(pub Act);

impl Job for Hasty {
    const NAME: &'static str = "test.hasty";
    const MAX_ATTEMPTS: i32 = 2;
    const TIMEOUT: Duration = Duration::from_millis(200);

    async fn run(self, cx: JobCx) -> JobResult {
        act(self.0, cx).await
    }
}

/// The same before others.
#[derive(Serialize, Deserialize)]
pub struct Urgent(pub Act);

impl Job for Urgent {
    const NAME: &'static str = "test.urgent";
    const PRIORITY: i16 = 1;

    async fn run(self, cx: JobCx) -> JobResult {
        act(self.0, cx).await
    }
}

/// The same in a queue of its own.
#[derive(Serialize, Deserialize)]
pub struct Mail(pub Act);

impl Job for Mail {
    const NAME: &'static str = "test.mail";
    const QUEUE: &'static str = "mail";

    async fn run(self, cx: JobCx) -> JobResult {
        act(self.0, cx).await
    }
}

/// And in another one.
#[derive(Serialize, Deserialize)]
pub struct Slow(pub Act);

impl Job for Slow {
    const NAME: &'static str = "test.slow";
    const QUEUE: &'static str = "slow";

    async fn run(self, cx: JobCx) -> JobResult {
        act(self.0, cx).await
    }
}

async fn act(act: Act, cx: JobCx) -> JobResult {
    for step in act.steps {
        match step {
            Step::Sleep(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
            Step::Stall(ms) if cx.attempt == 1 => std::thread::sleep(Duration::from_millis(ms)),
            Step::UntilCancelled => {
                cx.cancelled.cancelled().await;
                return Err(anyhow::anyhow!("told to stop").into());
            }
            Step::Progress(percent, message) => cx.progress(percent, Some(&message)).await?,
            Step::Fail(reason) => return Err(JobError::fail(anyhow::anyhow!(reason))),
            Step::Retry(reason) => return Err(anyhow::anyhow!(reason).into()),
            Step::Later(ms) if cx.attempt < 3 => {
                return Err(JobError::Later(
                    Duration::from_millis(ms),
                    anyhow::anyhow!("not yet"),
                ));
            }
            Step::SucceedAt(attempt) if cx.attempt < attempt => {
                return Err(anyhow::anyhow!("too early").into());
            }
            Step::Stall(_) | Step::Later(_) | Step::SucceedAt(_) => {}
            Step::Panic(text) => panic!("{text}"),
        }
    }
    let mut tx = cx.tenant_tx().await?;
    sqlx::query("insert into effects (n, attempt, seen) select $1, $2, count(*) from brands")
        .bind(act.n)
        .bind(cx.attempt)
        .execute(&mut *tx)
        .await?;
    cx.commit(tx).await?;
    Ok(())
}

pub fn kinds() -> Vec<JobKind> {
    vec![
        JobKind::of::<Act>(),
        JobKind::of::<Hasty>(),
        JobKind::of::<Urgent>(),
        JobKind::of::<Mail>(),
        JobKind::of::<Slow>(),
    ]
}

/// Short times, so that tests are.
pub fn quick() -> Options {
    Options {
        lease: Duration::from_millis(900),
        drain: Duration::from_secs(6),
        ..Options::default()
    }
}

/// The API with the table `effects`.
pub async fn app() -> TestApp {
    let t = crate::app().await;
    prepare(&t).await;
    t
}

pub async fn prepare(t: &TestApp) {
    let mut conn = sql(t).await;
    sqlx::raw_sql(
        "create table effects (tenant_id uuid not null references companies, n integer not null, attempt integer not null,
           seen bigint not null, at timestamptz not null default clock_timestamp());
         select tenant_table('effects');",
    )
    .execute(&mut conn)
    .await
    .expect("effects");
}

/// A superuser's connection to the schema.
pub async fn sql(t: &TestApp) -> PgConnection {
    let mut conn = t.superuser().await;
    sqlx::query("set search_path = ally, public")
        .execute(&mut conn)
        .await
        .expect("search_path");
    conn
}

/// One number; -1 when there is no row.
pub async fn number(conn: &mut PgConnection, query: &'static str) -> i64 {
    sqlx::query(query)
        .fetch_optional(conn)
        .await
        .expect("a number")
        .map_or(-1, |row| row.get(0))
}

/// Rows as text, one string each.
#[expect(clippy::disallowed_methods, reason = "statements of the tests themselves")]
pub async fn rows(conn: &mut PgConnection, query: &str) -> Vec<String> {
    let query = format!(
        "select (select string_agg(value, ' ') from json_each_text(row_to_json(q))) from ({query}) as q"
    );
    sqlx::query_scalar(AssertSqlSafe(query))
        .fetch_all(conn)
        .await
        .expect("rows")
}

/// Runs statements.
#[expect(clippy::disallowed_methods, reason = "statements of the tests themselves")]
pub async fn execute(conn: &mut PgConnection, statement: &str) {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
        .execute(conn)
        .await
        .expect("statement");
}

/// A transaction of the client's company, as its handlers have it.
pub async fn tx(app: &App, client: &Client) -> TenantTx<Background> {
    let user = UserCaller {
        user_id: client.user_id,
        session_id: Uuid::nil(),
    };
    let grants = Arc::new(BTreeSet::from(["background"]));
    let caller = Caller {
        user,
        api_key: None,
        tenant_id: client.company(),
        role: "owner",
        grants,
        suspended: false,
        limits: kernel::limit::Overrides::default(),
    };
    TenantTx::begin(&app.db, caller).await.expect("transaction")
}

/// Enqueues and commits.
pub async fn enqueue<J: Job>(t: &TestApp, client: &Client, job: &J) -> Uuid {
    let mut tx = tx(&t.app, client).await;
    let id = tx.enqueue(job).await.expect("enqueued").expect("the key is free");
    tx.commit().await.expect("committed");
    id
}

/// A worker on state of its own, as in a process of its own.
pub struct Running {
    pub app: App,
    task: JoinHandle<()>,
    bell: JoinHandle<()>,
}

impl Running {
    /// Tells it to stop, as SIGTERM does, and waits until it has.
    pub async fn stop(self) -> Duration {
        let begun = Instant::now();
        self.app.stopping.cancel();
        self.task.await.expect("the worker ends");
        self.bell.abort();
        self.app.db.close();
        begun.elapsed()
    }

    pub fn is_alive(&self) -> bool {
        !self.task.is_finished()
    }
}

/// State over the test's database, apart from the API's.
pub fn state(t: &TestApp, connections: u32) -> App {
    state_on(t, t.database().options(), connections)
}

/// The same, which reaches the database by a way of its own.
pub fn state_on(t: &TestApp, server: &PgConnectOptions, connections: u32) -> App {
    let roles = RolePasswords {
        app: vec![String::new()],
        system: vec![String::new()],
    };
    let size = PoolSize {
        app: connections,
        system: connections,
        acquire_timeout: Duration::from_secs(5),
    };
    let db = Db::connect_lazy(server, &roles, &size);
    App::new(
        t.app.config.clone(),
        db,
        Keys::new("a secret of the tests, 32 bytes long"),
        Clock::default(),
    )
}

/// Starts a worker.
#[expect(clippy::disallowed_methods, reason = "it is stopped by its test")]
pub fn start(t: &TestApp, options: Options) -> Running {
    let app = state(t, 8);
    let carried = t.app.clone();
    Running {
        task: tokio::task::spawn(Worker::new(&app, kinds(), options).run()),
        bell: tokio::task::spawn(async move { carried.db.bell().carry(&carried.db).await }),
        app,
    }
}

/// Waits until a condition holds.
pub async fn until<F: Future<Output = bool>>(what: &str, limit: Duration, mut condition: impl FnMut() -> F) {
    let begun = Instant::now();
    while !condition().await {
        assert!(begun.elapsed() < limit, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until a query gives this number.
pub async fn until_number(t: &TestApp, query: &'static str, wanted: i64, limit: Duration) {
    let begun = Instant::now();
    let mut conn = sql(t).await;
    loop {
        let found = number(&mut conn, query).await;
        if found == wanted {
            return;
        }
        assert!(
            begun.elapsed() < limit,
            "not within {limit:?}: {query} = {wanted}, but {found}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until no job waits or runs.
pub async fn drained(t: &TestApp, limit: Duration) {
    until_number(
        t,
        "select count(*) from jobs where state in ('ready', 'running', 'scheduled')",
        0,
        limit,
    )
    .await;
}

/// Makes retries due at once.
pub async fn hurry(conn: &mut PgConnection) {
    execute(conn, "update jobs set run_at = now() where state = 'scheduled'").await;
}
