//! Registering and verifying the e-mail address.
//!
//! Every answer is the same whether an address is known or not.

use axum::Extension;
use axum::extract::State;
use axum::response::IntoResponse;
use garde::Validate;
use http::StatusCode;
use jiff::SignedDuration;
use kernel::app::App;
use kernel::db::SystemTx;
use kernel::output::json;
use kernel::prelude::*;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{EMAIL_TOKEN_INVALID, Identity, contact, tokens};

/// How long a verification token works.
const VERIFY_WITHIN: SignedDuration = SignedDuration::from_hours(24);

pub fn module() -> Module {
    Module::new("registration")
        .routes(routes!(register))
        .routes(routes!(verify_email))
        .problems(&[&EMAIL_TOKEN_INVALID])
        .constraints(&[Constraint {
            name: "users_email_length",
            code: &VALIDATION_FAILED,
            pointer: Some("/email"),
        }])
}

#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
struct Registration {
    #[garde(custom(|v: &String, c: &()| contact::email(v, c)))]
    #[schema(format = Email, max_length = 254, example = "ana@example.com")]
    email: String,
    /// 10 to 128 characters of any kind.
    #[garde(length(chars, min = 10, max = 128))]
    #[schema(min_length = 10, max_length = 128, format = Password, example = "una frase larga")]
    password: String,
    #[garde(dive)]
    profile: Profile,
}

/// The person.
#[derive(Clone, Deserialize, Serialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    #[garde(length(chars, min = 1, max = 50), custom(plain_text))]
    #[schema(value_type = PlainText<50>, example = "Ana")]
    pub first_name: String,
    #[garde(length(chars, min = 1, max = 50), custom(plain_text))]
    #[schema(value_type = PlainText<50>, example = "Gómez")]
    pub last_name: String,
    /// E.164; ten digits are taken as a Colombian number.
    #[garde(inner(custom(|v: &String, c: &()| contact::phone(v, c))))]
    #[schema(example = "+573001234567")]
    pub phone_number: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct Registered {
    message: &'static str,
    email: String,
    /// Whether the account works only after the link in the mail was used.
    verification_required: bool,
}

/// Register.
///
/// The answer is the same when the address already has an account, which then stays as it is.
#[utoipa::path(post, path = "/auth/register", tag = "auth", operation_id = "register", security(()),
    request_body = Registration, responses((status = 201, body = Registered)))]
async fn register(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Valid(new): Valid<Registration>,
) -> Result<impl IntoResponse> {
    let hash = identity.0.passwords.hash(new.password).await?;
    let at_once = app.config.activates_users_at_once();
    let now = app.clock.now();
    let user = kernel::ids::new_id();
    let phone = new
        .profile
        .phone_number
        .as_deref()
        .and_then(contact::phone_number);
    #[expect(clippy::disallowed_methods, reason = "users are global")]
    let mut tx = app.db.system().await?;
    let created = sqlx::query!(
        "insert into users (id, email, password_hash, first_name, last_name, phone_number, email_verified_at)
         values ($1, $2, $3, $4, $5, $6, $7) on conflict (lower(email)) do nothing",
        user,
        new.email,
        hash,
        new.profile.first_name,
        new.profile.last_name,
        phone,
        at_once.then(|| Timestamp(now)) as _
    )
    .execute(&mut *tx)
    .await?
    .rows_affected();
    if created == 1 && !at_once {
        // Handed to the mail queue when there is one; until then an operator issues it by command.
        issue_email_token(&mut tx, user, now).await?;
    }
    tx.commit().await?;
    let message = if at_once {
        "The account is ready: sign in"
    } else {
        "Check your e-mail to verify the address"
    };
    Ok((
        StatusCode::CREATED,
        json(Registered {
            message,
            email: new.email,
            verification_required: !at_once,
        }),
    ))
}

#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
struct EmailToken {
    /// From the link in the mail.
    #[garde(length(min = 1, max = 200))]
    #[schema(min_length = 1, max_length = 200)]
    token: String,
}

/// Verify the e-mail address.
#[utoipa::path(post, path = "/auth/verify-email", tag = "auth", operation_id = "verify_email", security(()),
    request_body = EmailToken, responses((status = 204)))]
async fn verify_email(State(app): State<App>, Valid(body): Valid<EmailToken>) -> Result<NoContent> {
    let now = Timestamp(app.clock.now());
    #[expect(clippy::disallowed_methods, reason = "users are global")]
    let mut tx = app.db.system().await?;
    let user = sqlx::query_scalar!(
        "update email_tokens set used_at = $2
          where token_hash = $1 and purpose = 'verify-email' and used_at is null and expires_at > $2
      returning user_id",
        tokens::hash(&body.token),
        now as _
    )
    .fetch_optional(&mut *tx)
    .await?
    .ok_or(&EMAIL_TOKEN_INVALID)?;
    sqlx::query!(
        "update users set email_verified_at = coalesce(email_verified_at, $2) where id = $1",
        user,
        now as _
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(NoContent)
}

/// Makes the user's one live verification token; an earlier one stops working.
async fn issue_email_token(tx: &mut SystemTx, user: Uuid, now: jiff::Timestamp) -> Result<String> {
    let token = tokens::opaque();
    sqlx::query!(
        "update email_tokens set used_at = $2 where user_id = $1 and used_at is null",
        user,
        Timestamp(now) as _
    )
    .execute(&mut **tx)
    .await?;
    sqlx::query!(
        "insert into email_tokens (token_hash, user_id, purpose, expires_at) values ($1, $2, 'verify-email', $3)",
        tokens::hash(&token),
        user,
        Timestamp(now + VERIFY_WITHIN) as _
    )
    .execute(&mut **tx)
    .await?;
    Ok(token)
}

/// A fresh verification token for the user with this address, for operators; `None` when there is no
/// such user.
///
/// # Errors
/// Those of the database.
pub async fn verification_token(app: &App, email: &str) -> Result<Option<String>> {
    #[expect(clippy::disallowed_methods, reason = "users are global")]
    let mut tx = app.db.system().await?;
    let user = sqlx::query_scalar!("select id from users where lower(email) = lower($1)", email)
        .fetch_optional(&mut *tx)
        .await?;
    let Some(user) = user else { return Ok(None) };
    let token = issue_email_token(&mut tx, user, app.clock.now()).await?;
    tx.commit().await?;
    Ok(Some(token))
}
