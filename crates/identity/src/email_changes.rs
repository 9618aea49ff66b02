//! Moving an account to another address: both addresses confirm, and either can refuse.
//!
//! Asking tells nothing of whether the new address has an account: it is mailed in any case, and the
//! change can only be completed by who reads that mail.

use axum::Extension;
use axum::extract::State;
use axum::response::IntoResponse;
use garde::Validate;
use jiff::SignedDuration;
use kernel::app::App;
use kernel::caller::UserCaller;
use kernel::db::SystemTx;
use kernel::output::json;
use kernel::prelude::*;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::mails::{MailAccountExists, MailEmailChange, MailEmailChangeNotice};
use crate::password_change::{self, PASSWORD_WRONG};
use crate::throttle::TOO_MANY_ATTEMPTS;
use crate::verification::{EmailToken, OnItsWay};
use crate::{EMAIL_TOKEN_INVALID, Identity, contact, email_tokens, mail_requests, tokens};

const EMAIL_TAKEN: Code = Code::new(409, "email-taken", "Another account has that address by now");

/// How long both addresses have time.
const WITHIN: SignedDuration = SignedDuration::from_hours(24);
/// Purposes of the two tokens of a change, which have one id.
const AT_NEW: &str = "email-change";
const AT_OLD: &str = "email-change-notice";
/// Changes that a user may ask for.
const PER_USER: (i32, SignedDuration) = (5, SignedDuration::from_mins(15));

const CONSTRAINTS: &[Constraint] = &[Constraint {
    name: "users_email_taken",
    code: &EMAIL_TAKEN,
    pointer: None,
}];

pub fn module() -> Module {
    Module::new("email_changes")
        .routes(routes!(change_email))
        .routes(routes!(confirm_email_change))
        .routes(routes!(refuse_email_change))
        .problems(&[&EMAIL_TOKEN_INVALID, &PASSWORD_WRONG, &TOO_MANY_ATTEMPTS])
        .constraints(CONSTRAINTS)
}

#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewEmail {
    #[garde(length(max = 1000))]
    #[schema(format = Password)]
    current_password: String,
    #[garde(custom(|v: &String, c: &()| contact::email(v, c)))]
    #[schema(format = Email, max_length = 254, example = "ana@example.com")]
    new_email: String,
}

/// Ask for another e-mail address.
///
/// The present and the new address are mailed; the address changes once both have confirmed. An earlier
/// change that waits is forgotten.
#[utoipa::path(post, path = "/auth/change-email", tag = "auth", operation_id = "change_email",
    security(("bearer" = [])), request_body = NewEmail, responses((status = 202, body = OnItsWay)))]
async fn change_email(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Extension(caller): Extension<UserCaller>,
    Valid(new): Valid<NewEmail>,
) -> Result<OnItsWay> {
    let user = caller.user_id;
    password_change::confirm(&app, &identity, user, new.current_password).await?;
    #[expect(clippy::disallowed_methods, reason = "users are global")]
    let mut tx = app.db.system().await?;
    let throttle = &identity.0.throttle;
    if !throttle
        .allows(&mut tx, &app, "email changes of", &user.to_string(), PER_USER)
        .await?
    {
        return Err(Error::new(&TOO_MANY_ATTEMPTS).retry_after(900));
    }
    mail_requests::charge(&mut tx, &app, &identity, &new.new_email).await?;
    let id = kernel::ids::new_id();
    let [at_new, at_old] =
        [AT_NEW, AT_OLD].map(|purpose| tokens::hash(&email_tokens::fresh(&app.keys, purpose, id)));
    sqlx::query!(
        "insert into email_changes (id, user_id, new_email, new_token_hash, old_token_hash, expires_at)
         values ($1, $2, $3, $4, $5, $6)
             on conflict (user_id) do update
            set id = excluded.id, new_email = excluded.new_email, expires_at = excluded.expires_at,
                new_token_hash = excluded.new_token_hash, old_token_hash = excluded.old_token_hash,
                new_confirmed_at = null, old_confirmed_at = null",
        id,
        user,
        new.new_email,
        at_new,
        at_old,
        Timestamp(app.clock.now() + WITHIN) as _
    )
    .execute(&mut *tx)
    .await?;
    let taken_by = sqlx::query_scalar!(
        "select id from users where lower(email) = lower($1) and deleted_at is null",
        new.new_email
    )
    .fetch_optional(&mut *tx)
    .await?;
    match taken_by {
        Some(user) => tx.enqueue(&MailAccountExists { user }).await?,
        None => tx.enqueue(&MailEmailChange { change: id }).await?,
    };
    tx.enqueue(&MailEmailChangeNotice { change: id }).await?;
    tx.commit().await?;
    Ok(OnItsWay {
        message: "Both addresses have to confirm: look into both mailboxes",
    })
}

#[derive(Serialize, ToSchema)]
struct Confirmation {
    /// Whether both addresses have confirmed, and the account has the new one now.
    changed: bool,
}

/// Confirm a change of address, from the old or the new one.
#[utoipa::path(post, path = "/auth/confirm-email-change", tag = "auth", operation_id = "confirm_email_change",
    security(()), request_body = EmailToken, responses((status = 200, body = Confirmation)))]
async fn confirm_email_change(
    State(app): State<App>,
    Valid(body): Valid<EmailToken>,
) -> Result<impl IntoResponse> {
    let now = Timestamp(app.clock.now());
    #[expect(clippy::disallowed_methods, reason = "users are global")]
    let mut tx = app.db.system().await?;
    let change = sqlx::query!(
        r#"update email_changes
              set new_confirmed_at = case when new_token_hash = $1 then $2 else new_confirmed_at end,
                  old_confirmed_at = case when old_token_hash = $1 then $2 else old_confirmed_at end
            where expires_at > $2
              and (new_token_hash = $1 and new_confirmed_at is null or old_token_hash = $1 and old_confirmed_at is null)
        returning user_id, new_email, new_confirmed_at is not null and old_confirmed_at is not null as "complete!""#,
        tokens::hash(&body.token),
        now as _
    )
    .fetch_optional(&mut *tx)
    .await?
    .ok_or(&EMAIL_TOKEN_INVALID)?;
    if change.complete {
        sqlx::query!(
            "update users set email = $2, email_verified_at = $3 where id = $1",
            change.user_id,
            change.new_email,
            now as _
        )
        .execute(&mut *tx)
        .await?;
        // Also what the old mailbox still holds.
        email_tokens::void_all(&mut tx, &app, change.user_id).await?;
        tracing::info!(user.id = %change.user_id, "e-mail address changed");
    }
    tx.commit().await?;
    Ok(json(Confirmation {
        changed: change.complete,
    }))
}

/// Refuse a change of address, from the old or the new one.
#[utoipa::path(post, path = "/auth/refuse-email-change", tag = "auth", operation_id = "refuse_email_change",
    security(()), request_body = EmailToken, responses((status = 204)))]
async fn refuse_email_change(State(app): State<App>, Valid(body): Valid<EmailToken>) -> Result<NoContent> {
    #[expect(clippy::disallowed_methods, reason = "users are global")]
    let mut tx = app.db.system().await?;
    sqlx::query_scalar!(
        "delete from email_changes where (new_token_hash = $1 or old_token_hash = $1) and expires_at > $2
      returning user_id",
        tokens::hash(&body.token),
        Timestamp(app.clock.now()) as _
    )
    .fetch_optional(&mut *tx)
    .await?
    .ok_or(&EMAIL_TOKEN_INVALID)?;
    tx.commit().await?;
    Ok(NoContent)
}

/// A change as the jobs that mail it read it.
pub struct Mailed {
    pub user_id: Uuid,
    pub new_email: String,
    pub new_token: String,
    pub old_token: String,
    /// Time that the tokens still work.
    pub expires_in: std::time::Duration,
}

/// The change of this id, unless it was completed, refused, replaced or has expired.
///
/// # Errors
/// Those of the database.
pub async fn to_mail(tx: &mut SystemTx, app: &App, id: Uuid) -> Result<Option<Mailed>> {
    let row = sqlx::query!(
        "select user_id, new_email, new_token_hash, old_token_hash, expires_at from email_changes where id = $1",
        id
    );
    let Some(row) = row.fetch_optional(&mut **tx).await? else {
        return Ok(None);
    };
    let left = row.expires_at.0.duration_since(app.clock.now());
    Ok((|| {
        Some(Mailed {
            user_id: row.user_id,
            new_email: row.new_email,
            new_token: email_tokens::derived(&app.keys, AT_NEW, id, &row.new_token_hash)?,
            old_token: email_tokens::derived(&app.keys, AT_OLD, id, &row.old_token_hash)?,
            expires_in: std::time::Duration::try_from(left).ok()?,
        })
    })())
}
