//! Another chance for a dead or cancelled job; asked for by its company or by an operator.

use kernel::error::{Code, Error, Result};
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
    let state = state.fetch_one(&mut *conn).await?;
    if state != "dead" && state != "cancelled" {
        return Err(Error::new(&JOB_NOT_ENDED));
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
