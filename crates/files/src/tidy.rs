//! Hourly: deleted files are purged after their days, and uploads whose job was lost get another.

use std::time::Duration;

use company_settings::SettingsCache;
use jiff::SignedDuration;
use kernel::app::App;
use kernel::job::{Background, Job, JobCx, JobResult, Round, background_tx, companies};
use kernel::prelude::*;
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use uuid::Uuid;

use crate::avatars;
use crate::file::{FileId, Status, Variant};
use crate::open::{AwaitUpload, expire};
use crate::process::{ProcessFile, end_refused};
use crate::quota;
use crate::remove::RemoveObjects;

/// So long after its URL expired, an upload without an outcome has lost its job.
const LOST_AFTER: SignedDuration = SignedDuration::from_hours(1);
/// Rows per transaction: short locks.
const BATCH: i64 = 200;

pub(crate) fn module() -> Module {
    Module::new("file-tidying").every::<Tidy>(Duration::from_hours(1))
}

/// Tidies up the files of all companies.
#[derive(Default, Serialize, Deserialize)]
struct Tidy {}

impl Job for Tidy {
    const NAME: &'static str = "files.tidy";
    const QUEUE: &'static str = crate::QUEUE;
    const TIMEOUT: Duration = Duration::from_mins(30);

    async fn run(self, cx: JobCx) -> JobResult {
        avatars::end_lost(&cx.app, Timestamp(cx.app.clock.now() - LOST_AFTER)).await?;
        let mut round = Round::default();
        for company in companies(&cx.app).await? {
            round.note(company, tidy(&cx.app, company).await)?;
        }
        round.end()
    }
}

async fn tidy(app: &App, company: Uuid) -> Result<()> {
    let mut tx = background_tx(app, company).await?;
    revive(app, &mut tx).await?;
    tx.commit().await?;
    while purge(app, company).await? == BATCH {}
    Ok(())
}

/// Enqueues the job of every overdue upload; where it still waits or runs, its unique key makes this nothing. A
/// file that killed the workers that tried, or whose job has died again and again, is not tried again,
/// nor is one whose job somebody has cancelled.
async fn revive(app: &App, tx: &mut TenantTx<Background>) -> Result<()> {
    let overdue = Timestamp(app.clock.now() - LOST_AFTER);
    let lost = sqlx::query!(
        r#"select id as "id: FileId", state as "status: Status",
                  exists (select from jobs where name = $3 and unique_key = files.id::text and jobs.state = 'dead'
                             and jobs.lost > jobs.failures)
                  or (select count(*) from jobs where name = $3 and unique_key = files.id::text and jobs.state = 'dead') >= 3
                  as "deadly!",
                  exists (select from jobs where name in ($3, $4) and unique_key = files.id::text
                             and jobs.state = 'cancelled') as "cancelled!"
             from files
            where state in ('pending', 'uploaded', 'scanning') and upload_expires_at < $1 limit $2"#,
        overdue as _,
        BATCH,
        ProcessFile::NAME,
        AwaitUpload::NAME
    );
    for file in lost.fetch_all(&mut **tx).await? {
        if file.deadly {
            tracing::error!(file.id = %file.id, "processing the file ended every worker that tried");
            end_refused(tx, app, file.id, Status::Rejected, "unprocessable").await?;
        } else if file.cancelled && file.status == Status::Pending {
            expire(tx, file.id).await?;
        } else if file.cancelled {
            end_refused(tx, app, file.id, Status::Rejected, "cancelled").await?;
        } else if file.status == Status::Pending {
            tx.enqueue(&AwaitUpload { file_id: file.id }).await?;
        } else {
            tx.enqueue(&ProcessFile { file_id: file.id }).await?;
        }
    }
    Ok(())
}

struct Purged {
    id: FileId,
    upload_key: String,
    key: Option<String>,
    bytes: i64,
    reserved: i64,
    variants: Json<Vec<Variant>>,
}

/// Removes files deleted long enough ago, and what is left of uploads that expired so long ago; their objects go
/// after the commit. Returns how many.
async fn purge(app: &App, company: Uuid) -> Result<i64> {
    let settings = app.part::<SettingsCache>()?.of(company).await?;
    let days = settings.retention.deleted_files_days;
    let before = Timestamp(app.clock.now() - SignedDuration::from_hours(24 * i64::from(days)));
    let mut tx = background_tx(app, company).await?;
    let purged = sqlx::query_as!(
        Purged,
        r#"delete from files where id in (
             (select id from files where deleted_at < $1 limit $2)
             union (select id from files where state = 'expired' and upload_expires_at < $1 limit $2)
             limit $2)
             and (deleted_at < $1 or state = 'expired' and upload_expires_at < $1) -- it may have been restored meanwhile
           returning id, upload_key, key, bytes, reserved, variants as "variants: Json<Vec<Variant>>""#,
        before as _,
        BATCH
    );
    let purged = purged.fetch_all(&mut *tx).await?;
    let mut freed = 0;
    for file in &purged {
        tracing::info!(file.id = %file.id, "file purged");
        if file.reserved > 0 {
            quota::settle(&mut tx, file.reserved, 0).await?;
        }
        freed += file.bytes;
        tx.enqueue(&RemoveObjects::of_file(
            file.upload_key.clone(),
            file.key.clone(),
            &file.variants,
        ))
        .await?;
    }
    if freed > 0 {
        quota::free(&mut tx, freed).await?;
    }
    tx.commit().await?;
    Ok(i64::try_from(purged.len()).unwrap_or(BATCH))
}
