//! Background jobs: enqueued in the transaction of the business write, run at least once by a
//! worker, always in the scope of the company that enqueued them.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use futures::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::PgConnection;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::actor;
use crate::app::App;
use crate::caller::{Caller, Cause, UserCaller};
use crate::db::{SystemTx, TenantTx};
use crate::error::{Error, Result, UNAVAILABLE};
use crate::limit::Overrides;
use crate::permissions;
use crate::trace::TraceContext;

permissions! {
    /// What a job may do in its company; no role has it.
    Background = "background";
}

/// Work that is described by a value and done later. Running it twice must do no harm: a worker may
/// die between the effect and its record. Payloads carry ids, not data.
pub trait Job: Serialize + DeserializeOwned + Send + 'static {
    /// Stable name, stored in rows: `crate.verb_noun`.
    const NAME: &'static str;
    /// Workers can be started for some queues only.
    const QUEUE: &'static str = "default";
    /// Smaller goes first within a company's jobs.
    const PRIORITY: i16 = 100;
    /// Then the job is dead: kept with its error, to be retried by hand.
    const MAX_ATTEMPTS: i32 = 8;
    /// Longer runs are cut and retried.
    const TIMEOUT: Duration = Duration::from_secs(60);

    /// While a job with this name and key waits or runs, enqueuing another one does nothing.
    fn unique_key(&self) -> Option<String> {
        None
    }

    /// Does the work. End with [`JobCx::commit`] to make effect and completion one.
    fn run(self, cx: JobCx) -> impl Future<Output = JobResult> + Send;
}

/// What a run ends with.
pub type JobResult<T = ()> = std::result::Result<T, JobError>;

/// Why a run did not succeed, and what shall happen now. `?` on any other error means retry.
#[derive(Debug)]
pub enum JobError {
    /// Try again, with growing pauses.
    Retry(anyhow::Error),
    /// Try again after this pause; does not count as an attempt towards death.
    Later(Duration, anyhow::Error),
    /// It will never succeed: dead at once.
    Fail(anyhow::Error),
}

impl JobError {
    /// Dead at once, with this reason.
    pub fn fail(reason: impl Into<anyhow::Error>) -> JobError {
        JobError::Fail(reason.into())
    }
}

impl<E: Into<anyhow::Error>> From<E> for JobError {
    fn from(cause: E) -> JobError {
        JobError::Retry(cause.into())
    }
}

/// What a running job works with.
#[derive(Clone)]
pub struct JobCx {
    pub app: App,
    /// The company; the nil UUID for the installation's own jobs.
    pub tenant_id: Uuid,
    pub job_id: Uuid,
    /// Number of this run, from 1; the fencing token.
    pub attempt: i32,
    /// Earlier runs that failed, of [`Job::MAX_ATTEMPTS`].
    pub failures: i32,
    /// The user or API key that caused it.
    pub created_by: Option<Uuid>,
    /// The request that caused it; what the job enqueues carries it on.
    pub cause: Cause,
    /// Cancelled when the job is to stop: asked for, lease lost, shutdown. It has two seconds to end
    /// by itself before it is dropped at its next await.
    pub cancelled: CancellationToken,
    /// Shared by all clones: [`commit`](JobCx::commit) ended the job.
    pub committed: Arc<AtomicBool>,
    /// What goes on when the run is cut; its end is waited for before the run's is recorded.
    pub uncut: TaskTracker,
}

static BACKGROUND: LazyLock<Arc<BTreeSet<&'static str>>> =
    LazyLock::new(|| Arc::new(BTreeSet::from(["background"])));

async fn begin(app: &App, tenant_id: Uuid, user: UserCaller) -> Result<TenantTx<Background>> {
    TenantTx::begin(
        &app.db,
        Caller {
            user,
            api_key: None,
            tenant_id,
            role: "job",
            grants: BACKGROUND.clone(),
            suspended: false,
            limits: Overrides::default(),
        },
    )
    .await
}

/// A transaction in a company for what no user asks for: news from another service, or an
/// installation's own job that visits one company after the other.
///
/// # Errors
/// Those of the database.
pub async fn background_tx(app: &App, tenant_id: Uuid) -> Result<TenantTx<Background>> {
    begin(
        app,
        tenant_id,
        UserCaller {
            user_id: Uuid::nil(),
            session_id: Uuid::nil(),
        },
    )
    .await
}

/// All companies, in the order of their ids: an installation's own job visits one after the other.
///
/// # Errors
/// Those of the database.
#[expect(
    clippy::disallowed_methods,
    reason = "the installation's own jobs visit one company after the other"
)]
pub async fn companies(app: &App) -> Result<Vec<Uuid>> {
    let mut tx = app.db.system().await?;
    let companies = sqlx::query_scalar!("select tenant_id from companies order by tenant_id");
    Ok(companies.fetch_all(&mut *tx).await?)
}

/// So many companies whose parts fail one after the other are not at fault themselves.
const IN_A_ROW: usize = 5;

/// A round through all companies: one whose part fails keeps none that come after it waiting.
#[derive(Default)]
pub struct Round {
    failed: usize,
    in_a_row: usize,
    first: Option<Error>,
}

impl Round {
    /// Takes note of how a company's part ended.
    ///
    /// # Errors
    /// Its error, when that is no fault of this company: the database is away or has no connection left, and the round
    /// would find it so with each.
    pub fn note(&mut self, company: Uuid, outcome: Result<()>) -> Result<()> {
        let Err(error) = outcome else {
            self.in_a_row = 0;
            return Ok(());
        };
        self.in_a_row += 1;
        if error.code() == UNAVAILABLE.code || self.in_a_row == IN_A_ROW {
            return Err(error);
        }
        tracing::error!(
            tenant.id = %company,
            cause = error.with_cause(),
            "a company's part of a round failed"
        );
        self.failed += 1;
        self.first.get_or_insert(error);
        Ok(())
    }

    /// Ends the round.
    ///
    /// # Errors
    /// When any company's part failed, with the first error.
    pub fn end(self) -> JobResult {
        match self.first {
            None => Ok(()),
            Some(first) => Err(anyhow::Error::from(first)
                .context(format!("{} companies were left out", self.failed))
                .into()),
        }
    }
}

impl JobCx {
    /// A transaction in the job's company.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn tenant_tx(&self) -> Result<TenantTx<Background>> {
        let user = UserCaller {
            user_id: self.created_by.unwrap_or(Uuid::nil()),
            session_id: self.job_id,
        };
        Ok(begin(&self.app, self.tenant_id, user)
            .await?
            .caused_by(self.cause.clone()))
    }

    /// Commits the effects together with the job's completion: afterwards the job is done, whatever
    /// its run ends with. A worker that lost its lease commits nothing.
    ///
    /// # Errors
    /// When the lease is lost, or those of the database.
    pub async fn commit(&self, mut tx: TenantTx<Background>) -> Result<()> {
        if !complete(&mut tx, self.tenant_id, self.job_id, self.attempt).await? {
            return Err(anyhow::anyhow!("the lease was lost: another worker has the job").into());
        }
        tx.commit().await?;
        self.committed.store(true, Ordering::Release);
        Ok(())
    }

    /// Reports progress, 0 to 100, with an optional message that the job's owner reads.
    ///
    /// # Errors
    /// Those of the database.
    #[expect(
        clippy::disallowed_methods,
        reason = "the queue's rows are the installation's"
    )]
    pub async fn progress(&self, percent: i16, message: Option<&str>) -> Result<()> {
        let mut tx = self.app.db.system().await?;
        sqlx::query!(
            "update jobs set progress = $4, progress_message = $5
              where tenant_id = $1 and id = $2 and attempt = $3 and state = 'running'",
            self.tenant_id,
            self.job_id,
            self.attempt,
            percent.clamp(0, 100),
            message
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await
    }
}

/// Ends a run successfully: the job goes, its run stays in the history. Returns false, and changes
/// nothing, when the attempt no longer is the running one.
///
/// # Errors
/// Those of the database.
pub async fn complete(conn: &mut PgConnection, tenant_id: Uuid, job_id: Uuid, attempt: i32) -> Result<bool> {
    let completed = sqlx::query!(
        "with done as (
           delete from jobs where tenant_id = $1 and id = $2 and attempt = $3 and state = 'running'
           returning tenant_id, id, attempt, queue, name, created_at, started_at
         )
         insert into job_runs (tenant_id, job_id, attempt, queue, name, outcome, enqueued_at, started_at, finished_at)
         select tenant_id, id, attempt, queue, name, 'done', created_at, started_at, clock_timestamp() from done",
        tenant_id,
        job_id,
        attempt
    );
    Ok(completed.execute(conn).await?.rows_affected() == 1)
}

impl<P> TenantTx<P> {
    /// Enqueues a job of this company: it exists if and only if the transaction commits. Returns its
    /// id, or `None` when its unique key is taken by a job that waits or runs.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn enqueue<J: Job>(&mut self, job: &J) -> Result<Option<Uuid>> {
        self.enqueue_in(job, Duration::ZERO).await
    }

    /// As [`enqueue`](Self::enqueue), to run no earlier than after the delay.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn enqueue_in<J: Job>(&mut self, job: &J, delay: Duration) -> Result<Option<Uuid>> {
        let caller = self.caller();
        let origin = Origin {
            tenant: caller.tenant_id,
            user: Some(caller.id()).filter(|id| !id.is_nil()),
            cause: self.cause().clone(),
        };
        self.ring_after_commit();
        insert(self, job, job.unique_key(), &origin, delay).await
    }
}

impl SystemTx {
    /// Enqueues a job of the installation itself.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn enqueue<J: Job>(&mut self, job: &J) -> Result<Option<Uuid>> {
        let origin = Origin {
            cause: actor::Origin::current().cause(),
            ..Origin::default()
        };
        insert(self, job, job.unique_key(), &origin, Duration::ZERO).await
    }

    /// Enqueues a periodic job, unless that of an earlier period still waits or runs.
    async fn enqueue_periodic<J: Job + Default>(&mut self) -> Result<Option<Uuid>> {
        insert(
            self,
            &J::default(),
            Some(String::new()),
            &Origin::default(),
            Duration::ZERO,
        )
        .await
    }
}

/// Who and what caused a job; the default is the installation itself.
#[derive(Default)]
struct Origin {
    tenant: Uuid,
    user: Option<Uuid>,
    cause: Cause,
}

async fn insert<J: Job>(
    conn: &mut PgConnection,
    job: &J,
    unique_key: Option<String>,
    origin: &Origin,
    delay: Duration,
) -> Result<Option<Uuid>> {
    let payload = serde_json::to_value(job).map_err(Error::internal)?;
    let trace = origin.cause.trace.as_ref();
    let inserted = sqlx::query_scalar!(
        "insert into jobs (tenant_id, id, queue, name, payload, priority, run_at, unique_key, created_by, request_id, traceparent, tracestate, state)
         values ($1, $2, $3, $4, $5, $6, now() + make_interval(secs => $7), $8, $9, $10, $11, $12,
                 case when $7 > 0 then 'scheduled' else 'ready' end)
             on conflict do nothing returning id",
        origin.tenant,
        crate::ids::new_id(),
        J::QUEUE,
        J::NAME,
        payload,
        J::PRIORITY,
        delay.as_secs_f64(),
        unique_key,
        origin.user,
        origin.cause.request_id,
        trace.map(ToString::to_string),
        trace.and_then(TraceContext::state)
    );
    Ok(inserted.fetch_optional(conn).await?)
}

/// How a worker runs jobs of one name.
#[derive(Clone)]
pub struct JobKind {
    pub name: &'static str,
    pub queue: &'static str,
    pub max_attempts: i32,
    pub timeout: Duration,
    pub run: fn(serde_json::Value, JobCx) -> BoxFuture<'static, JobResult>,
}

impl JobKind {
    /// The kind of a job type.
    pub fn of<J: Job>() -> JobKind {
        JobKind {
            name: J::NAME,
            queue: J::QUEUE,
            max_attempts: J::MAX_ATTEMPTS,
            timeout: J::TIMEOUT,
            run: |payload, cx| {
                Box::pin(async move {
                    // A payload that this version cannot read will not become readable by waiting.
                    let job: J = serde_json::from_value(payload).map_err(JobError::fail)?;
                    job.run(cx).await
                })
            },
        }
    }

    /// A name that is no longer enqueued: what is left of it drains without effect.
    pub fn retired(name: &'static str, queue: &'static str) -> JobKind {
        JobKind {
            name,
            queue,
            max_attempts: 1,
            timeout: Duration::from_secs(1),
            run: |_, _| Box::pin(async { Ok(()) }),
        }
    }
}

/// A job that is enqueued once per period, however many schedulers there are, and not while that of an earlier
/// period waits or runs.
#[derive(Clone, Copy)]
pub struct Schedule {
    pub name: &'static str,
    pub every: Duration,
    pub enqueue: for<'a> fn(&'a mut SystemTx) -> BoxFuture<'a, Result<Option<Uuid>>>,
}

impl Schedule {
    /// The job's default value, once per period (whole minutes; slots start at the epoch, UTC).
    pub fn every<J: Job + Default + Sync>(every: Duration) -> Schedule {
        Schedule {
            name: J::NAME,
            every,
            enqueue: |tx| Box::pin(tx.enqueue_periodic::<J>()),
        }
    }
}
