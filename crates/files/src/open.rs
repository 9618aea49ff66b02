//! An upload that is open: looked for with growing pauses, so that it works with any store, and ended
//! when its URL has.

use std::time::Duration;

use jiff::SignedDuration;
use kernel::job::{Job, JobCx, JobError, JobResult};
use kernel::prelude::*;
use serde::{Deserialize, Serialize};
use storage::Bucket;

use crate::arrivals::mark_uploaded;
use crate::file::{FileId, Status};
use crate::remove::{RemoveObjects, STORE_TIMEOUT};
use crate::{Files, quota};

/// An upload that began before the URL expired may still be under way so long afterwards.
pub(crate) const GRACE: SignedDuration = SignedDuration::from_mins(15);

/// Waits for the bytes of one upload.
#[derive(Serialize, Deserialize)]
pub(crate) struct AwaitUpload {
    pub file_id: FileId,
}

impl AwaitUpload {
    pub const FIRST_LOOK: Duration = Duration::from_secs(5);
    const LONGEST_PAUSE: Duration = Duration::from_secs(60);

    /// Each pause is half as long again as the one before.
    fn pause(attempt: i32) -> Duration {
        let growth = 1.5_f64.powi(attempt.clamp(0, 20));
        Self::FIRST_LOOK.mul_f64(growth).min(Self::LONGEST_PAUSE)
    }
}

impl Job for AwaitUpload {
    const NAME: &'static str = "files.await_upload";
    const QUEUE: &'static str = crate::QUEUE;
    const TIMEOUT: Duration = STORE_TIMEOUT;

    fn unique_key(&self) -> Option<String> {
        Some(self.file_id.to_string())
    }

    async fn run(self, cx: JobCx) -> JobResult {
        let files = cx.app.part::<Files>()?;
        let mut tx = cx.tenant_tx().await?;
        let upload = sqlx::query!(
            r#"select state as "status: Status", upload_key, upload_expires_at as "expires_at: Timestamp"
                 from files where id = $1"#,
            self.file_id as _
        );
        let upload = upload.fetch_optional(&mut *tx).await?;
        drop(tx);
        let Some(upload) = upload.filter(|upload| upload.status == Status::Pending) else {
            return Ok(());
        };

        let later = |cause: anyhow::Error| JobError::Later(Self::pause(cx.attempt), cause);
        match files.storage.head(Bucket::Quarantine, &upload.upload_key).await {
            Ok(_) => {
                let mut tx = cx.tenant_tx().await?;
                mark_uploaded(&mut tx, self.file_id).await?;
                return Ok(cx.commit(tx).await?);
            }
            Err(storage::Error::NotFound) if cx.app.clock.now() > upload.expires_at.0 + GRACE => {
                // A whole bucket that is away, too, has no such object.
                files.storage.check().await.map_err(|error| later(error.into()))?;
            }
            Err(storage::Error::NotFound) => {
                return Err(later(anyhow::anyhow!("the bytes have not arrived yet")));
            }
            Err(error) => return Err(later(error.into())),
        }

        let mut tx = cx.tenant_tx().await?;
        expire(&mut tx, self.file_id).await?;
        Ok(cx.commit(tx).await?)
    }
}

/// Ends an upload whose bytes nobody waits for any more, if it waits: its room is free, and what may have arrived goes.
///
/// # Errors
/// Those of the database.
pub(crate) async fn expire<P>(tx: &mut TenantTx<P>, id: FileId) -> Result<()> {
    let open = sqlx::query!(
        "select upload_key, reserved from files where id = $1 and state = 'pending' for update",
        id as _
    );
    let Some(open) = open.fetch_optional(&mut **tx).await? else {
        return Ok(());
    };
    sqlx::query!(
        "update files set state = 'expired', reserved = 0 where id = $1",
        id as _
    )
    .execute(&mut **tx)
    .await?;
    quota::settle(tx, open.reserved, 0).await?;
    tx.enqueue(&RemoveObjects::quarantined(open.upload_key)).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_minute() {
        let pauses: Vec<u64> = (1..9)
            .map(|attempt| AwaitUpload::pause(attempt).as_secs())
            .collect();
        assert_eq!(pauses, [7, 11, 16, 25, 37, 56, 60, 60]);
    }
}
