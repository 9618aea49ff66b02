//! Addresses that get no mail: their server said that they do not exist. Sending on would cost the
//! sender's reputation with every server.

use kernel::app::App;
use kernel::error::Result;
use kernel::types::Timestamp;
use sqlx::PgConnection;

/// An address that gets no mail.
#[derive(Debug)]
pub struct Suppression {
    /// In lower case.
    pub address: String,
    /// What its server answered.
    pub reply: String,
    pub created_at: Timestamp,
}

/// All suppressed addresses, newest first.
///
/// # Errors
/// Those of the database.
#[expect(clippy::disallowed_methods, reason = "the list is the installation's")]
pub async fn suppressed(app: &App) -> Result<Vec<Suppression>> {
    let mut tx = app.db.system().await?;
    let all = sqlx::query_as!(
        Suppression,
        "select address, reply, created_at from mail_suppressions order by created_at desc, address"
    );
    Ok(all.fetch_all(&mut *tx).await?)
}

/// Lets an address have mail again; returns whether it was suppressed.
///
/// # Errors
/// Those of the database.
#[expect(clippy::disallowed_methods, reason = "the list is the installation's")]
pub async fn unsuppress(app: &App, address: &str) -> Result<bool> {
    let mut tx = app.db.system().await?;
    let gone = sqlx::query!("delete from mail_suppressions where address = lower($1)", address)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(gone.rows_affected() == 1)
}

/// Why the address gets no mail, if it gets none.
#[expect(clippy::disallowed_methods, reason = "the list is the installation's")]
pub(crate) async fn reason(app: &App, address: &str) -> Result<Option<String>> {
    let mut tx = app.db.system().await?;
    let reason = sqlx::query_scalar!(
        "select reply from mail_suppressions where address = lower($1)",
        address
    );
    Ok(reason.fetch_optional(&mut *tx).await?)
}

/// Puts an address on the list.
pub(crate) async fn suppress(conn: &mut PgConnection, address: &str, reply: &str) -> Result<()> {
    sqlx::query!(
        "insert into mail_suppressions (address, reply) values (lower($1), $2) on conflict do nothing",
        address,
        reply
    )
    .execute(conn)
    .await?;
    Ok(())
}
