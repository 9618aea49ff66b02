//! Leases: extended while the worker lives, taken back when it does not.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kernel::app::App;
use kernel::error::Result;
use tokio_util::sync::CancellationToken;
use tracing::warn;
use uuid::Uuid;

/// A job that kills its worker this often is dead at once.
const MAX_LOST: i32 = 3;

/// A run: company, job, attempt.
pub(crate) type Key = (Uuid, Uuid, i32);

/// How a running job is told to stop.
#[derive(Clone, Default)]
pub(crate) struct Stop {
    pub token: CancellationToken,
    /// Its owner asked for it, rather than the lease or the process ending.
    pub asked: CancellationToken,
}

/// The jobs that this worker runs now.
#[derive(Default)]
pub(crate) struct Running(Mutex<HashMap<Key, Stop>>);

impl Running {
    pub fn add(&self, key: Key) -> Stop {
        let stop = Stop::default();
        self.lock().insert(key, stop.clone());
        stop
    }

    pub fn remove(&self, key: &Key) {
        self.lock().remove(key);
    }

    pub fn stop_all(&self) {
        self.lock().values().for_each(|stop| stop.token.cancel());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Stop>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Extends the leases of what runs here by one statement; tells those jobs to stop whose lease is
/// lost or whose cancellation was asked for. Only what really runs is extended: a claim whose answer
/// never arrived is taken back when its lease ends.
///
/// # Errors
/// Those of the database; the leases then run on.
#[expect(clippy::disallowed_methods, reason = "the queue is the installation's")]
pub(crate) async fn extend(app: &App, running: &Running, lease: Duration) -> Result<()> {
    let keys: Vec<Key> = running.lock().keys().copied().collect();
    if keys.is_empty() {
        return Ok(());
    }
    let mut tx = app.db.system().await?;
    let held = sqlx::query!(
        "update jobs set lease_until = now() + make_interval(secs => $4)
           from unnest($1::uuid[], $2::uuid[], $3::integer[]) as run (tenant_id, id, attempt)
          where jobs.tenant_id = run.tenant_id and jobs.id = run.id and jobs.attempt = run.attempt and state = 'running'
      returning jobs.tenant_id, jobs.id, jobs.attempt, cancel_requested",
        &keys.iter().map(|key| key.0).collect::<Vec<_>>(),
        &keys.iter().map(|key| key.1).collect::<Vec<_>>(),
        &keys.iter().map(|key| key.2).collect::<Vec<_>>(),
        lease.as_secs_f64()
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    let held: HashMap<Key, bool> = held
        .into_iter()
        .map(|row| ((row.tenant_id, row.id, row.attempt), row.cancel_requested))
        .collect();
    let running = running.lock();
    for key in keys {
        // What has ended meanwhile is no longer there.
        let Some(stop) = running.get(&key) else { continue };
        match held.get(&key) {
            Some(false) => {}
            Some(true) => {
                stop.asked.cancel();
                stop.token.cancel();
            }
            None => {
                warn!(job.id = %key.1, "lease lost; the job is told to stop");
                stop.token.cancel();
            }
        }
    }
    Ok(())
}

/// Takes back jobs whose worker died or stalled: ready again, cancelled if that was asked for, dead if
/// they do this to every worker. Returns how many.
///
/// # Errors
/// Those of the database.
#[expect(clippy::disallowed_methods, reason = "the queue is the installation's")]
pub(crate) async fn reap(app: &App) -> Result<u64> {
    let mut tx = app.db.system().await?;
    let reaped = sqlx::query!(
        "with expired as (
           select tenant_id, id from jobs where state = 'running' and lease_until < now()
            order by lease_until limit 100 for update skip locked
         ),
         ended as (
           update jobs set lost = lost + 1, worker = null, lease_until = null, ended_at = now(),
                  last_error = 'the worker died or stalled',
                  state = case when cancel_requested then 'cancelled' when lost + 1 >= $1 then 'dead' else 'ready' end
             from expired where jobs.tenant_id = expired.tenant_id and jobs.id = expired.id
        returning jobs.tenant_id, jobs.id, attempt, queue, name, state, last_error, created_at, started_at
         )
         insert into job_runs (tenant_id, job_id, attempt, queue, name, outcome, error, enqueued_at, started_at, finished_at)
         select tenant_id, id, attempt, queue, name, case state when 'ready' then 'lost' else state end, last_error,
                created_at, started_at, now() from ended",
        MAX_LOST
    );
    let reaped = reaped.execute(&mut *tx).await?.rows_affected();
    tx.commit().await?;
    Ok(reaped)
}
