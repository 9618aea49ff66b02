//! A new password for whoever can read the account's mail.

use axum::Extension;
use axum::extract::State;
use garde::Validate;
use kernel::app::App;
use kernel::prelude::*;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::client::Client;
use crate::email_tokens::{self, Purpose};
use crate::mail_requests::{self, Kind};
use crate::mails::MailPasswordChanged;
use crate::password_rules::{self, PASSWORD_TOO_COMMON};
use crate::verification::{EmailAddress, OnItsWay};
use crate::{EMAIL_TOKEN_INVALID, Identity, sessions};

pub fn module() -> Module {
    Module::new("password_reset")
        .routes(routes!(request_password_reset))
        .routes(routes!(reset_password))
        .problems(&[&EMAIL_TOKEN_INVALID, &PASSWORD_TOO_COMMON])
}

/// Ask for a mail with which the password can be reset.
///
/// The answer is the same for every address.
#[utoipa::path(post, path = "/auth/request-password-reset", tag = "auth", operation_id = "request_password_reset",
    security(()), request_body = EmailAddress, responses((status = 202, body = OnItsWay)))]
async fn request_password_reset(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    client: Client,
    Valid(body): Valid<EmailAddress>,
) -> Result<OnItsWay> {
    mail_requests::ask_alone(&app, &identity, &client, Kind::ResetPassword, &body.email).await?;
    Ok(OnItsWay {
        message: "If there is an account with that address, a mail is on its way",
    })
}

#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
struct PasswordReset {
    /// From the link in the mail.
    #[garde(length(min = 1, max = 200))]
    #[schema(min_length = 1, max_length = 200)]
    token: String,
    /// 10 to 128 characters of any kind, and not among those that are tried first.
    #[garde(length(chars, min = 10, max = 128))]
    #[schema(min_length = 10, max_length = 128, format = Password, example = "otra frase larga")]
    new_password: String,
}

/// Reset the password.
///
/// Ends all sessions, voids whatever else was mailed, and counts as verification of the address: who has
/// the token reads its mail. It brings back an account that its owner had disabled.
#[utoipa::path(post, path = "/auth/reset-password", tag = "auth", operation_id = "reset_password", security(()),
    request_body = PasswordReset, responses((status = 204)))]
async fn reset_password(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    client: Client,
    Valid(body): Valid<PasswordReset>,
) -> Result<NoContent> {
    check(&app, &body).await?;
    let hash = identity.0.passwords.hash(body.new_password).await?;
    let now = Timestamp(app.clock.now());
    #[expect(clippy::disallowed_methods, reason = "users are global")]
    let mut tx = app.db.system().await?;
    let user = email_tokens::redeem(&mut tx, &app, &body.token, Purpose::ResetPassword)
        .await?
        .ok_or(&EMAIL_TOKEN_INVALID)?;
    let reset = sqlx::query!(
        "update users set password_hash = $2, password_changed_at = $3, is_active = true, disabled_himself = false,
                          email_verified_at = coalesce(email_verified_at, $3)
          where id = $1 and (is_active or disabled_himself) and deleted_at is null",
        user,
        hash,
        now as _
    );
    if reset.execute(&mut *tx).await?.rows_affected() == 0 {
        return Err(Error::new(&EMAIL_TOKEN_INVALID));
    }
    sessions::end_all(&mut tx, &app, user, None).await?;
    email_tokens::void_all(&mut tx, &app, user).await?;
    // Whoever guessed at the old password does not keep its owner from using the new one.
    sessions::remember_device(&mut tx, &app, &identity, user, &client).await?;
    tx.enqueue(&MailPasswordChanged { user }).await?;
    tx.commit().await?;
    identity.0.changes.changed(user).await;
    tracing::info!(user.id = %user, "password reset");
    Ok(NoContent)
}

/// Whether the token works, and the password is good enough for its holder.
async fn check(app: &App, body: &PasswordReset) -> Result<()> {
    #[expect(clippy::disallowed_methods, reason = "users are global")]
    let mut tx = app.db.system().await?;
    let user = email_tokens::holder(&mut tx, app, &body.token, Purpose::ResetPassword)
        .await?
        .ok_or(&EMAIL_TOKEN_INVALID)?;
    let owner = sqlx::query!(
        "select email, first_name, last_name from users where id = $1",
        user
    )
    .fetch_one(&mut *tx)
    .await?;
    let names = [owner.first_name.as_str(), &owner.last_name];
    password_rules::check(&body.new_password, &owner.email, &names, "/new_password")
}
