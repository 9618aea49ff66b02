//! Waking workers after a commit.
//!
//! NOTIFY inside the business transaction would make all commits of the database take turns. So a
//! commit only rings this bell, and one task per process notifies for all that rang.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tracing::debug;

use super::{Db, in_time};

/// At most this many notifications per second and process: 100.
const PAUSE: Duration = Duration::from_millis(10);

/// Rung when a committed transaction had enqueued jobs.
#[derive(Clone, Debug, Default)]
pub struct Bell(Arc<Notify>);

impl Bell {
    /// Asks for a notification soon.
    pub fn ring(&self) {
        self.0.notify_one();
    }

    /// Notifies workers of every process for as long as it is polled. A notification that fails is
    /// no loss: workers also look at the queue every second.
    pub async fn carry(&self, db: &Db) {
        loop {
            self.0.notified().await;
            if let Err(error) = in_time(notify(db)).await {
                debug!(%error, "workers were not woken");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the channel is the installation's")]
async fn notify(db: &Db) -> crate::error::Result<()> {
    let mut tx = db.system().await?;
    sqlx::query!("select pg_notify('ally_jobs', '')")
        .execute(&mut *tx)
        .await?;
    tx.commit().await
}
