//! Single-use tokens that reach a user by mail.
//!
//! A token is derived from its row's id under a key of its purpose, so that the job that mails it carries
//! the id only; the row keeps its hash. A user has one live token per purpose.

use jiff::SignedDuration;
use kernel::app::App;
use kernel::db::SystemTx;
use kernel::keys::Keys;
use kernel::prelude::*;
use uuid::Uuid;

use crate::tokens;

/// What a token lets its holder do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    VerifyEmail,
    ResetPassword,
}

impl Purpose {
    /// As the database and the derivation of keys have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Purpose::VerifyEmail => "verify-email",
            Purpose::ResetPassword => "reset-password",
        }
    }

    /// How long a token works.
    fn life(self) -> SignedDuration {
        match self {
            Purpose::VerifyEmail => SignedDuration::from_hours(24),
            Purpose::ResetPassword => SignedDuration::from_mins(30),
        }
    }
}

/// The token of this id and purpose that has this hash; by whichever of the installation's keys made it.
pub fn derived(keys: &Keys, purpose: &str, id: Uuid, hash: &[u8]) -> Option<String> {
    let keys = keys.derive_all(&format!("mailed token {purpose}"));
    let mut made = keys.iter().map(|key| tokens::derived(key, &[id.as_bytes()]));
    made.find(|token| tokens::hash(token) == hash)
}

/// A fresh token of this id and purpose.
pub fn fresh(keys: &Keys, purpose: &str, id: Uuid) -> String {
    tokens::derived(&keys.derive(&format!("mailed token {purpose}")), &[id.as_bytes()])
}

/// Makes the user's one live token of this purpose; an earlier one stops working. Returns its id and the
/// token.
///
/// # Errors
/// Those of the database.
pub async fn issue(tx: &mut SystemTx, app: &App, user: Uuid, purpose: Purpose) -> Result<(Uuid, String)> {
    let (id, now) = (kernel::ids::new_id(), app.clock.now());
    let token = fresh(&app.keys, purpose.as_str(), id);
    // The user's row is the lock: tokens issued at once take turns, and the last one lives.
    sqlx::query_scalar!("select id from users where id = $1 for no key update", user)
        .fetch_one(&mut **tx)
        .await?;
    sqlx::query!(
        "update email_tokens set used_at = $3 where user_id = $1 and purpose = $2 and used_at is null",
        user,
        purpose.as_str(),
        Timestamp(now) as _
    )
    .execute(&mut **tx)
    .await?;
    sqlx::query!(
        "insert into email_tokens (id, token_hash, user_id, purpose, expires_at) values ($1, $2, $3, $4, $5)",
        id,
        tokens::hash(&token),
        user,
        purpose.as_str(),
        Timestamp(now + purpose.life()) as _
    )
    .execute(&mut **tx)
    .await?;
    Ok((id, token))
}

/// Whose live token this is; it stays live.
///
/// # Errors
/// Those of the database.
pub async fn holder(tx: &mut SystemTx, app: &App, token: &str, purpose: Purpose) -> Result<Option<Uuid>> {
    let holder = sqlx::query_scalar!(
        "select user_id from email_tokens
          where token_hash = $1 and purpose = $2 and used_at is null and expires_at > $3",
        tokens::hash(token),
        purpose.as_str(),
        Timestamp(app.clock.now()) as _
    );
    Ok(holder.fetch_optional(&mut **tx).await?)
}

/// Uses the token up: whose it was. Of uses at once one gets it.
///
/// # Errors
/// Those of the database.
pub async fn redeem(tx: &mut SystemTx, app: &App, token: &str, purpose: Purpose) -> Result<Option<Uuid>> {
    let user = sqlx::query_scalar!(
        "update email_tokens set used_at = $3
          where token_hash = $1 and purpose = $2 and used_at is null and expires_at > $3
      returning user_id",
        tokens::hash(token),
        purpose.as_str(),
        Timestamp(app.clock.now()) as _
    );
    Ok(user.fetch_optional(&mut **tx).await?)
}

/// Voids whatever was mailed to the user and waits to be used, a change of his address included: for
/// events after which a mailbox or a password counts for nothing any more.
///
/// # Errors
/// Those of the database.
pub async fn void_all(tx: &mut SystemTx, app: &App, user: Uuid) -> Result<()> {
    sqlx::query!(
        "with tokens as (update email_tokens set used_at = $2 where user_id = $1 and used_at is null)
         delete from email_changes where user_id = $1",
        user,
        Timestamp(app.clock.now()) as _
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// A live token as the job that mails it reads it.
pub struct Mailed {
    pub user_id: Uuid,
    pub token: String,
    /// Time that it still works.
    pub expires_in: std::time::Duration,
}

/// The token of this id, unless it was used, replaced or has expired.
///
/// # Errors
/// Those of the database.
pub async fn to_mail(tx: &mut SystemTx, app: &App, id: Uuid, purpose: Purpose) -> Result<Option<Mailed>> {
    let row = sqlx::query!(
        "select user_id, token_hash, expires_at from email_tokens where id = $1 and purpose = $2 and used_at is null",
        id,
        purpose.as_str()
    );
    let Some(row) = row.fetch_optional(&mut **tx).await? else {
        return Ok(None);
    };
    let left = row.expires_at.0.duration_since(app.clock.now());
    Ok((|| {
        Some(Mailed {
            user_id: row.user_id,
            token: derived(&app.keys, purpose.as_str(), id, &row.token_hash)?,
            expires_in: std::time::Duration::try_from(left)
                .ok()
                .filter(|left| !left.is_zero())?,
        })
    })())
}
