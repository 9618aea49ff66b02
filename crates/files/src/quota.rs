//! Room: reserved before an upload, settled when its outcome is known. The company's one row is the
//! lock, so uploads that begin at once cannot promise the same bytes.

use kernel::prelude::*;
use sqlx::PgConnection;

use crate::FilesConfig;

pub(crate) const QUOTA_EXCEEDED: Code = Code::new(
    409,
    "storage-quota-exceeded",
    "The company has no room for this file",
);
pub(crate) const TOO_MANY_UPLOADS: Code =
    Code::new(409, "too-many-open-uploads", "Too many uploads are open already");

/// What a company's plan grants, and what is taken of it.
#[derive(Default)]
pub(crate) struct Room {
    pub quota_bytes: i64,
    /// Largest file, if the plan limits it.
    pub max_file_bytes: Option<i64>,
    pub used_bytes: i64,
    pub reserved_bytes: i64,
    pub open_uploads: i32,
}

impl Room {
    /// Bytes that are free now.
    pub fn free(&self) -> i64 {
        self.quota_bytes - self.used_bytes - self.reserved_bytes
    }
}

/// The company's room, without a lock: only [`reserve`] promises.
///
/// # Errors
/// Those of the database.
pub(crate) async fn room(conn: &mut PgConnection, config: &FilesConfig) -> Result<Room> {
    let room = sqlx::query_as!(
        Room,
        r#"select coalesce(quota_bytes, $1) as "quota_bytes!", max_file_bytes, used_bytes, reserved_bytes, open_uploads
             from storage_usage"#,
        config.company_quota_bytes
    );
    let room = room.fetch_optional(conn).await?;
    Ok(room.unwrap_or_else(|| Room {
        quota_bytes: config.company_quota_bytes,
        ..Room::default()
    }))
}

/// Holds room for one upload until [`settle`].
///
/// # Errors
/// `storage-quota-exceeded`, `too-many-open-uploads`, or those of the database.
pub(crate) async fn reserve(conn: &mut PgConnection, config: &FilesConfig, bytes: i64) -> Result<()> {
    sqlx::query!("insert into storage_usage (tenant_id) values (app_tenant()) on conflict do nothing")
        .execute(&mut *conn)
        .await?;
    let reserved = sqlx::query!(
        "update storage_usage set reserved_bytes = reserved_bytes + $1, open_uploads = open_uploads + 1
          where used_bytes + reserved_bytes + $1 <= coalesce(quota_bytes, $2) and open_uploads < $3",
        bytes,
        config.company_quota_bytes,
        config.max_open_uploads
    );
    if reserved.execute(&mut *conn).await?.rows_affected() == 1 {
        return Ok(());
    }
    let open = sqlx::query_scalar!("select open_uploads from storage_usage")
        .fetch_one(conn)
        .await?;
    Err(Error::new(if open < config.max_open_uploads {
        &QUOTA_EXCEEDED
    } else {
        &TOO_MANY_UPLOADS
    }))
}

/// Ends an upload's reservation and counts the bytes that are kept: 0 when nothing is.
///
/// # Errors
/// Those of the database.
pub(crate) async fn settle(conn: &mut PgConnection, reserved: i64, kept: i64) -> Result<()> {
    sqlx::query!(
        "update storage_usage set reserved_bytes = reserved_bytes - $1, open_uploads = open_uploads - 1,
                used_bytes = used_bytes + $2",
        reserved,
        kept
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Gives back the bytes of files that are gone.
///
/// # Errors
/// Those of the database.
pub(crate) async fn free(conn: &mut PgConnection, bytes: i64) -> Result<()> {
    sqlx::query!("update storage_usage set used_bytes = used_bytes - $1", bytes)
        .execute(conn)
        .await?;
    Ok(())
}
