//! Periodic clean-up, shared by any number of processes: a scheduler writes one row per task and
//! hour, a worker takes and runs it. No leader, no doubled run.

use std::time::Duration;

use kernel::app::App;
use kernel::error::Result;
use tracing::{info, warn};

/// How often the scheduler looks whether an hour has begun.
const TICK: Duration = Duration::from_secs(60);
/// How often an idle worker looks for work.
const POLL: Duration = Duration::from_secs(5);

/// Tasks that run once an hour.
const HOURLY: [&str; 1] = ["identity.purge_expired"];

/// Plans what is due until the process stops.
pub async fn schedule(app: App) {
    loop {
        if let Err(error) = plan(&app).await {
            warn!(%error, "could not plan maintenance; trying again");
        }
        if app
            .stopping
            .run_until_cancelled(tokio::time::sleep(TICK))
            .await
            .is_none()
        {
            return;
        }
    }
}

/// Runs what is planned until the process stops.
pub async fn work(app: App) {
    loop {
        let pause = match run_one(&app).await {
            Ok(true) => Duration::ZERO,
            Ok(false) => POLL,
            Err(error) => {
                warn!(%error, "maintenance failed; it is tried again when its lease ends");
                POLL
            }
        };
        if app
            .stopping
            .run_until_cancelled(tokio::time::sleep(pause))
            .await
            .is_none()
        {
            return;
        }
    }
}

/// Plans this hour's tasks; doing it again, here or elsewhere, changes nothing.
///
/// # Errors
/// Those of the database.
#[expect(clippy::disallowed_methods, reason = "maintenance is global")]
pub async fn plan(app: &App) -> Result<()> {
    let mut tx = app.db.system().await?;
    for task in HOURLY {
        sqlx::query!(
            "insert into maintenance_runs (task, slot) values ($1, date_trunc('hour', now())) on conflict do nothing",
            task
        )
        .execute(&mut *tx)
        .await?;
    }
    sqlx::query!("delete from maintenance_runs where slot < now() - interval '30 days'")
        .execute(&mut *tx)
        .await?;
    tx.commit().await
}

/// Takes and runs one task; false when nothing is due. A worker that dies in the middle loses its
/// lease after five minutes, and another one runs the task again.
///
/// # Errors
/// Those of the database.
#[expect(clippy::disallowed_methods, reason = "maintenance is global")]
pub async fn run_one(app: &App) -> Result<bool> {
    let mut tx = app.db.system().await?;
    let taken = sqlx::query!(
        "update maintenance_runs set lease_until = now() + interval '5 minutes', attempt = attempt + 1
          where (task, slot) = (select task, slot from maintenance_runs
                                 where finished_at is null and (lease_until is null or lease_until < now())
                                 order by slot limit 1 for update skip locked)
      returning task, slot, attempt"
    )
    .fetch_optional(&mut *tx)
    .await?;
    tx.commit().await?;
    let Some(run) = taken else { return Ok(false) };

    let deleted = match run.task.as_str() {
        "identity.purge_expired" => identity::purge_expired(app).await?,
        // Planned by a newer version of the program: left for its workers.
        _ => return Ok(false),
    };
    info!(task = run.task, deleted, "maintenance done");
    let mut tx = app.db.system().await?;
    // Fenced by the attempt: who lost the lease cannot finish it.
    sqlx::query!(
        "update maintenance_runs set finished_at = now() where task = $1 and slot = $2 and attempt = $3",
        run.task,
        run.slot as _,
        run.attempt
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(true)
}
