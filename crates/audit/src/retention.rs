//! Dropping what is older than the months kept: whole partitions, never rows.

use std::time::Duration;

use kernel::app::App;
use kernel::error::{BUSY, Result};
use kernel::job::{Job, JobCx, JobError, JobResult};
use kernel::module::Module;
use serde::{Deserialize, Serialize};

pub(crate) fn module() -> Module {
    Module::new("audit-retention").every::<RotateTrail>(Duration::from_hours(24))
}

/// Months after which nothing is dropped.
const NEVER: i32 = 1200;
/// While somebody reads the trail for long, nothing can be dropped.
const IN_USE_PAUSE: Duration = Duration::from_mins(30);

/// Makes the partitions to come and drops the old ones.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct RotateTrail {}

impl Job for RotateTrail {
    const NAME: &'static str = "audit.rotate_trail";
    const TIMEOUT: Duration = Duration::from_mins(10);

    async fn run(self, cx: JobCx) -> JobResult {
        let rotated = rotate(&cx.app, cx.app.config.audit.audit_months).await;
        rotated.map_err(|error| match error.code() {
            // A backup reads the trail.
            code if code == BUSY.code => JobError::Later(IN_USE_PAUSE, error.into()),
            _ => error.into(),
        })
    }
}

/// Makes the partitions of half a year to come, and drops those of months before the kept ones, at least twelve.
/// The last dropped link of each chain stays as its anchor. What is not chained yet is not dropped.
///
/// # Errors
/// Those of the database; nothing is dropped then.
#[expect(
    clippy::disallowed_methods,
    reason = "the trail's partitions are the installation's"
)]
pub async fn rotate(app: &App, months: i32) -> Result<()> {
    // What the dropped months held is chained before, whatever else was late.
    crate::chain(app).await?;
    // By itself: what cannot be dropped now must not keep what is needed soon from being made.
    let mut tx = app.db.system().await?;
    sqlx::query!("select audit_rotate($1)", NEVER)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    let mut tx = app.db.system().await?;
    sqlx::query!("set local statement_timeout = '5min'")
        .execute(&mut *tx)
        .await?;
    sqlx::query!(
        "with kept (since) as (select audit_kept_from($1)),
              dropped as (select distinct on (company_id) company_id, seq, hash
                            from audit_links, kept where chained_at < since order by company_id, seq desc)
         update audit_heads as h
            set anchor_seq = coalesce(d.seq, h.anchor_seq), anchor_hash = coalesce(d.hash, h.anchor_hash), anchor_at = since
           from kept, audit_heads as same left join dropped as d on d.company_id = same.company_id
          where same.company_id = h.company_id and h.anchor_at < since",
        months
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!("select audit_rotate($1)", months)
        .execute(&mut *tx)
        .await?;
    tx.commit().await
}
