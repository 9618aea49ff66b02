//! How much work waits, for monitoring.

use kernel::app::App;
use kernel::error::Result;

/// A queue, over all companies.
#[derive(Clone, Debug)]
pub struct Depth {
    pub queue: String,
    /// Jobs for later, pauses after a failure among them.
    pub scheduled: i64,
    pub ready: i64,
    pub running: i64,
    /// Failed for good, and nobody has retried them.
    pub dead: i64,
    /// Seconds that the job which is due for longest has waited; 0 when none is due.
    pub oldest_seconds: f64,
}

/// The queues that have jobs.
///
/// # Errors
/// Those of the database.
#[expect(clippy::disallowed_methods, reason = "the queue is the installation's")]
pub async fn depths(app: &App) -> Result<Vec<Depth>> {
    let mut tx = app.db.system().await?;
    // What is due and still `scheduled` waits as well: only a claim makes it ready.
    let depths = sqlx::query_as!(
        Depth,
        r#"select queue, count(*) filter (where state = 'scheduled') as "scheduled!",
                  count(*) filter (where state = 'ready') as "ready!", count(*) filter (where state = 'running') as "running!",
                  count(*) filter (where state = 'dead') as "dead!",
                  greatest(0, extract(epoch from now() - min(run_at) filter (where state in ('ready', 'scheduled'))))::float8
                    as "oldest_seconds!"
             from jobs group by queue"#
    );
    Ok(depths.fetch_all(&mut *tx).await?)
}
