//! Another chance for a dead or cancelled job; asked for by its company or by an operator.

use kernel::error::{Code, Error, NOT_FOUND, Result};
use sqlx::PgConnection;
use uuid::Uuid;

pub(crate) const JOB_NOT_ENDED: Code = Code::new(
    409,
    "job-not-ended",
    "Only a dead or cancelled job can be retried",
);

/// Makes the job ready, as if it had never failed.
///
/// # Errors
/// `not-found`, `job-not-ended`, the violation of `jobs_unique_key`, or those of the database.
pub(crate) async fn retry(conn: &mut PgConnection, tenant_id: Uuid, id: Uuid) -> Result<()> {
    let state = sqlx::query_scalar!(
        "select state from jobs where tenant_id = $1 and id = $2 for update",
        tenant_id,
        id
    );
    match state.fetch_optional(&mut *conn).await?.as_deref() {
        Some("dead" | "cancelled") => {}
        None if !is_done(conn, tenant_id, id).await? => return Err(Error::new(&NOT_FOUND)),
        _ => return Err(Error::new(&JOB_NOT_ENDED)),
    }
    sqlx::query!(
        "update jobs set state = 'ready', run_at = now(), failures = 0, lost = 0, cancel_requested = false
          where tenant_id = $1 and id = $2",
        tenant_id,
        id
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Whether the job is known to be done: it has left the queue then.
///
/// # Errors
/// Those of the database.
pub(crate) async fn is_done(conn: &mut PgConnection, tenant_id: Uuid, id: Uuid) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (select from job_runs where tenant_id = $1 and job_id = $2 and outcome = 'done') as "done!""#,
        tenant_id,
        id
    )
    .fetch_one(conn)
    .await
}
