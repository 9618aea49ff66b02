//! The mailbox of development: mails that were kept instead of sent.

use kernel::app::App;
use kernel::error::Result;
use kernel::types::Timestamp;
use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

/// Older ones go.
const KEPT: i64 = 500;
/// Shown at once.
const PAGE: i64 = 100;

/// A kept mail.
#[derive(Debug, Serialize)]
pub(crate) struct Kept {
    pub id: Uuid,
    pub letter: String,
    pub address: String,
    pub subject: String,
    pub headers: String,
    pub text: String,
    pub html: String,
    pub created_at: Timestamp,
}

/// The newest mails, to this address if one is given.
#[expect(clippy::disallowed_methods, reason = "the mailbox is the installation's")]
pub(crate) async fn newest(app: &App, address: Option<&str>) -> Result<Vec<Kept>> {
    let mut tx = app.db.system().await?;
    let mails = sqlx::query_as!(
        Kept,
        r#"select id, letter, address, subject, headers as "headers!", text_body as "text!", html_body as "html!", created_at
             from mails where outcome = 'kept' and ($1::text is null or lower(address) = lower($1))
            order by created_at desc, id desc limit $2"#,
        address,
        PAGE
    );
    Ok(mails.fetch_all(&mut *tx).await?)
}

/// One mail.
#[expect(clippy::disallowed_methods, reason = "the mailbox is the installation's")]
pub(crate) async fn find(app: &App, id: Uuid) -> Result<Option<Kept>> {
    let mut tx = app.db.system().await?;
    let mail = sqlx::query_as!(
        Kept,
        r#"select id, letter, address, subject, headers as "headers!", text_body as "text!", html_body as "html!", created_at
             from mails where outcome = 'kept' and id = $1"#,
        id
    );
    Ok(mail.fetch_optional(&mut *tx).await?)
}

/// Deletes all but the newest.
pub(crate) async fn trim(conn: &mut PgConnection) -> Result<()> {
    sqlx::query!(
        "delete from mails where outcome = 'kept' and (created_at, id) <= (
           select created_at, id from mails where outcome = 'kept' order by created_at desc, id desc offset $1 limit 1)",
        KEPT
    )
    .execute(conn)
    .await?;
    Ok(())
}
