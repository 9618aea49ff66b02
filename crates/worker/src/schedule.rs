//! Periodic jobs: one per schedule and slot, however many processes plan them.

use std::time::Duration;

use kernel::app::App;
use kernel::db::in_time;
use kernel::error::Result;
use kernel::job::Schedule;
use kernel::types::Timestamp;
use tracing::warn;

/// How often it is looked whether a slot has begun.
const TICK: Duration = Duration::from_secs(10);

/// Plans until the process stops. Slots that pass while no process plans are not made up for.
pub async fn schedule(app: App, schedules: Vec<Schedule>) {
    loop {
        if let Err(error) = in_time(plan_now(&app, &schedules)).await {
            warn!(
                cause = error.with_cause(),
                "schedules could not be planned; trying again"
            );
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

/// By the clock of the database, which all processes share.
#[expect(clippy::disallowed_methods, reason = "schedules are the installation's")]
async fn plan_now(app: &App, schedules: &[Schedule]) -> Result<u64> {
    let mut tx = app.db.system().await?;
    let now = sqlx::query_scalar!(r#"select now() as "now!: Timestamp""#)
        .fetch_one(&mut *tx)
        .await?;
    tx.commit().await?;
    plan(app, schedules, now).await
}

/// Enqueues what is due at this time. The slot's row and the job commit together; whoever comes second
/// finds the row and enqueues nothing. Returns how many were enqueued.
///
/// # Errors
/// Those of the database.
#[expect(clippy::disallowed_methods, reason = "schedules are the installation's")]
pub async fn plan(app: &App, schedules: &[Schedule], now: Timestamp) -> Result<u64> {
    let mut planned = 0;
    for schedule in schedules {
        let mut tx = app.db.system().await?;
        let seconds = i64::try_from(schedule.every.as_secs())
            .unwrap_or(i64::MAX)
            .max(60);
        let slot = sqlx::query!(
            "insert into schedule_slots (name, slot) values ($1, to_timestamp($2::bigint)) on conflict do nothing",
            schedule.name,
            now.0.as_second() / seconds * seconds
        );
        if slot.execute(&mut *tx).await?.rows_affected() == 1 {
            (schedule.enqueue)(&mut tx).await?;
            planned += 1;
        }
        tx.commit().await?;
    }
    Ok(planned)
}
