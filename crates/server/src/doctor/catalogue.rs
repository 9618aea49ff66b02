//! What the catalogue tells of roles and tables.

use kernel::error::Result;
use sqlx::PgConnection;

/// Faults.
///
/// # Errors
/// Those of the database.
pub async fn catalogue_faults(conn: &mut PgConnection) -> Result<Vec<String>> {
    sqlx::query_scalar::<_, i32>("select 1").fetch_one(conn).await?;
    Ok(Vec::new())
}
