//! Showing that an e-mail address is one's own.

use axum::Extension;
use axum::extract::State;
use axum::response::IntoResponse;
use garde::Validate;
use http::StatusCode;
use kernel::app::App;
use kernel::output::json;
use kernel::prelude::*;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::client::Client;
use crate::email_tokens::{self, Purpose};
use crate::mail_requests::{self, Kind};
use crate::{EMAIL_TOKEN_INVALID, Identity, contact};

pub fn module() -> Module {
    Module::new("verification")
        .routes(routes!(verify_email))
        .routes(routes!(resend_verification))
        .problems(&[&EMAIL_TOKEN_INVALID])
}

/// A token from the link in a mail.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EmailToken {
    /// From the link in the mail.
    #[garde(length(min = 1, max = 200))]
    #[schema(min_length = 1, max_length = 200)]
    pub token: String,
}

/// An address to which a mail may go.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EmailAddress {
    #[garde(custom(|v: &String, c: &()| contact::email(v, c)))]
    #[schema(format = Email, max_length = 254, example = "ana@example.com")]
    pub email: String,
}

/// What is said whether there is an account or not.
#[derive(Serialize, ToSchema)]
pub struct OnItsWay {
    pub message: &'static str,
}

impl IntoResponse for OnItsWay {
    fn into_response(self) -> axum::response::Response {
        (StatusCode::ACCEPTED, json(self)).into_response()
    }
}

/// Verify the e-mail address.
#[utoipa::path(post, path = "/auth/verify-email", tag = "auth", operation_id = "verify_email", security(()),
    request_body = EmailToken, responses((status = 204)))]
async fn verify_email(State(app): State<App>, Valid(body): Valid<EmailToken>) -> Result<NoContent> {
    #[expect(clippy::disallowed_methods, reason = "users are global")]
    let mut tx = app.db.system().await?;
    let user = email_tokens::redeem(&mut tx, &app, &body.token, Purpose::VerifyEmail)
        .await?
        .ok_or(&EMAIL_TOKEN_INVALID)?;
    sqlx::query!(
        "update users set email_verified_at = coalesce(email_verified_at, $2) where id = $1",
        user,
        Timestamp(app.clock.now()) as _
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(NoContent)
}

/// Send the verification mail again.
///
/// The answer is the same for every address; a mail goes out only to one that waits to be verified.
#[utoipa::path(post, path = "/auth/resend-verification", tag = "auth", operation_id = "resend_verification",
    security(()), request_body = EmailAddress, responses((status = 202, body = OnItsWay)))]
async fn resend_verification(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    client: Client,
    Valid(body): Valid<EmailAddress>,
) -> Result<OnItsWay> {
    mail_requests::ask_alone(&app, &identity, &client, Kind::VerifyEmail, &body.email).await?;
    Ok(OnItsWay {
        message: "If the address waits to be verified, a mail is on its way",
    })
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
    let (_, token) = email_tokens::issue(&mut tx, app, user, Purpose::VerifyEmail).await?;
    tx.commit().await?;
    Ok(Some(token))
}
