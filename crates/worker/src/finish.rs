//! The end of a run: recorded in the history and, fenced by the attempt, in the queue.

use std::time::Duration;

use kernel::app::App;
use kernel::error::Result;
use kernel::job::{JobError, complete};
use tracing::{error, info, warn};

use crate::Claimed;

/// What became of a run.
#[derive(Debug)]
pub(crate) enum Ending {
    /// Succeeded, and is to be recorded as such.
    Done,
    /// Succeeded, and was recorded together with its effects.
    Committed,
    /// Its owner asked for it.
    Cancelled,
    /// The process stops: given back, nothing counted.
    Released,
    /// Wants to be run again after a pause, nothing counted.
    Later(Duration, String),
    /// Failed; tried again, unless that was the last attempt.
    Failed(String),
    /// Failed, and will never succeed.
    Dead(String),
}

/// Longest text kept of an error, in characters.
const ERROR_CHARS: usize = 2000;
/// Pause after the first failure; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(6 * 3600);

impl From<JobError> for Ending {
    fn from(error: JobError) -> Ending {
        let text = |cause: anyhow::Error| {
            format!("{cause:#}")
                .replace('\0', "")
                .chars()
                .take(ERROR_CHARS)
                .collect()
        };
        match error {
            JobError::Retry(cause) => Ending::Failed(text(cause)),
            JobError::Later(pause, cause) => Ending::Later(pause, text(cause)),
            JobError::Fail(cause) => Ending::Dead(text(cause)),
        }
    }
}

/// What is written about a run that did not succeed.
struct Record<'a> {
    outcome: &'static str,
    /// The job's state from now on.
    state: &'static str,
    failures: i32,
    pause: Duration,
    error: Option<&'a str>,
}

impl<'a> Record<'a> {
    fn of(ending: &'a Ending, job: &Claimed, max_attempts: i32) -> Option<Record<'a>> {
        let record = |outcome, state, error| Record {
            outcome,
            state,
            failures: 0,
            pause: Duration::ZERO,
            error,
        };
        Some(match ending {
            Ending::Done | Ending::Committed => return None,
            Ending::Cancelled => record("cancelled", "cancelled", None),
            Ending::Released => record("released", "ready", None),
            Ending::Later(pause, error) => Record {
                pause: *pause,
                ..record("released", "scheduled", Some(error))
            },
            Ending::Failed(error) if job.failures + 1 < max_attempts => Record {
                failures: 1,
                pause: backoff(job.failures, rand::random_range(0.9..=1.1)),
                ..record("retry", "scheduled", Some(error))
            },
            Ending::Failed(error) | Ending::Dead(error) => Record {
                failures: 1,
                ..record("dead", "dead", Some(error))
            },
        })
    }
}

/// How the history calls the ending.
pub(crate) fn outcome(ending: &Ending, job: &Claimed, max_attempts: i32) -> &'static str {
    Record::of(ending, job, max_attempts).map_or("done", |record| record.outcome)
}

/// The pause after this many earlier failures: 5 s · 2ⁿ, at most 6 h, times the jitter.
fn backoff(failures: i32, jitter: f64) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(failures.unsigned_abs()));
    doubled.min(LONGEST_PAUSE).mul_f64(jitter)
}

/// Records the ending. A worker that lost the lease records nothing: another one has the job.
///
/// # Errors
/// Those of the database; the lease then ends by itself and the job is run again.
#[expect(clippy::disallowed_methods, reason = "the queue is the installation's")]
pub(crate) async fn finish(app: &App, job: &Claimed, max_attempts: i32, ending: &Ending) -> Result<()> {
    if matches!(ending, Ending::Committed) {
        return Ok(());
    }
    let mut tx = app.db.system().await?;
    let held = match Record::of(ending, job, max_attempts) {
        None => complete(&mut tx, job.tenant_id, job.id, job.attempt).await?,
        Some(record) => give_back(&mut tx, job, &record).await?,
    };
    tx.commit().await?;
    match ending {
        _ if !held => warn!("the run ended after its lease was lost"),
        Ending::Done | Ending::Committed => info!("job done"),
        Ending::Cancelled => info!("job cancelled"),
        Ending::Released => info!("job given back"),
        Ending::Later(pause, cause) => info!(cause, ?pause, "job comes back later"),
        Ending::Failed(cause) if job.failures + 1 < max_attempts => {
            warn!(cause, "job failed; it is tried again");
        }
        Ending::Failed(cause) | Ending::Dead(cause) => error!(cause, "job is dead"),
    }
    Ok(())
}

/// Whoever was asked to stop and comes back instead is cancelled.
async fn give_back(conn: &mut sqlx::PgConnection, job: &Claimed, record: &Record<'_>) -> Result<bool> {
    let ended = sqlx::query!(
        "with ended as (
           update jobs set state = case when cancel_requested and $5 <> 'dead' then 'cancelled' else $5 end,
                  failures = failures + $6, run_at = now() + make_interval(secs => $7),
                  last_error = coalesce($8, last_error), ended_at = now(), worker = null, lease_until = null
            where tenant_id = $1 and id = $2 and attempt = $3 and state = 'running'
        returning tenant_id, id, attempt, queue, name, created_at, started_at, ended_at)
         insert into job_runs (tenant_id, job_id, attempt, queue, name, outcome, error, enqueued_at, started_at, finished_at)
         select tenant_id, id, attempt, queue, name, $4, $8, created_at, started_at, ended_at from ended",
        job.tenant_id,
        job.id,
        job.attempt,
        record.outcome,
        record.state,
        record.failures,
        record.pause.as_secs_f64(),
        record.error
    );
    Ok(ended.execute(conn).await?.rows_affected() == 1)
}

/// Rows per statement: short locks.
const BATCH: i64 = 1000;

/// Makes and drops partitions of the history; deletes cancelled jobs, and dead ones that nobody
/// retried, so many days after they ended.
///
/// # Errors
/// Those of the database; what was deleted before stays deleted.
#[expect(clippy::disallowed_methods, reason = "the queue is the installation's")]
pub(crate) async fn rotate(app: &App, days_kept: i32) -> Result<()> {
    let mut tx = app.db.system().await?;
    sqlx::query!("select job_runs_rotate($1)", days_kept)
        .execute(&mut *tx)
        .await?;
    sqlx::query!("delete from schedule_slots where slot < now() - interval '30 days'")
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    loop {
        let mut tx = app.db.system().await?;
        let old = sqlx::query!(
            "delete from jobs where (tenant_id, id) in (
               select tenant_id, id from jobs
                where state in ('dead', 'cancelled') and ended_at < now() - make_interval(days => $1)
                limit $2 for update skip locked)",
            days_kept,
            BATCH
        );
        let deleted = old.execute(&mut *tx).await?.rows_affected();
        tx.commit().await?;
        if deleted == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_six_hours() {
        let pauses: Vec<u64> = (0..14).map(|failures| backoff(failures, 1.0).as_secs()).collect();
        assert_eq!(pauses[..4], [5, 10, 20, 40]);
        assert_eq!(pauses[12..], [20480, 21600]);
        assert_eq!(backoff(i32::MAX, 1.0), LONGEST_PAUSE);
        assert_eq!(backoff(1, 0.9), Duration::from_secs(9));
    }
}
