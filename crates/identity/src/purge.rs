//! Clean-up of what has expired.

use std::time::Duration;

use jiff::SignedDuration;
use kernel::app::App;
use kernel::error::Result;
use kernel::job::{Job, JobCx, JobResult};
use kernel::module::Module;
use kernel::types::Timestamp;
use serde::{Deserialize, Serialize};

pub fn module() -> Module {
    Module::new("identity").every::<PurgeExpired>(Duration::from_secs(3600))
}

/// Ended sessions stay this long, so that a late reuse of their tokens is still told from nonsense.
const KEPT: SignedDuration = SignedDuration::from_hours(24 * 7);
/// Rows per statement: short locks.
const BATCH: i64 = 1000;

/// Deletes what has expired, once an hour.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct PurgeExpired {}

impl Job for PurgeExpired {
    const NAME: &'static str = "identity.purge_expired";

    async fn run(self, cx: JobCx) -> JobResult {
        let deleted = purge_expired(&cx.app).await?;
        tracing::info!(deleted, "expired sessions and tokens deleted");
        Ok(())
    }
}

/// Deletes expired sessions, with their refresh tokens, and e-mail tokens. Returns the rows deleted.
///
/// # Errors
/// Those of the database; what was deleted before stays deleted.
pub async fn purge_expired(app: &App) -> Result<u64> {
    let before = Timestamp(app.clock.now() - KEPT);
    let mut deleted = 0;
    loop {
        #[expect(clippy::disallowed_methods, reason = "sessions are global")]
        let mut tx = app.db.system().await?;
        let sessions = sqlx::query!(
            "delete from sessions where id in (select id from sessions where expires_at < $1 or revoked_at < $1 limit $2)",
            before as _,
            BATCH
        );
        let mut batch = sessions.execute(&mut *tx).await?.rows_affected();
        let email_tokens = sqlx::query!(
            "delete from email_tokens where token_hash in (select token_hash from email_tokens where expires_at < $1 limit $2)",
            before as _,
            BATCH
        );
        batch += email_tokens.execute(&mut *tx).await?.rows_affected();
        tx.commit().await?;
        deleted += batch;
        if batch == 0 {
            return Ok(deleted);
        }
    }
}
