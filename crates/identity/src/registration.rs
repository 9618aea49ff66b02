//! Registering.
//!
//! The answer is the same whether an address is known or not; the mail that follows is not.

use axum::Extension;
use axum::extract::State;
use axum::response::IntoResponse;
use garde::Validate;
use http::StatusCode;
use jiff::SignedDuration;
use kernel::app::App;
use kernel::input::object;
use kernel::language::Language;
use kernel::origin::subscriber;
use kernel::output::json;
use kernel::prelude::*;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::client::Client;
use crate::mail_requests::{self, Kind};
use crate::me::Profile;
use crate::new_user::NewUser;
use crate::password_rules::{self, PASSWORD_TOO_COMMON};
use crate::throttle::TOO_MANY_ATTEMPTS;
use crate::{Identity, contact};

/// Accounts that one address of the network may register.
const PER_ADDRESS: (i32, SignedDuration) = (30, SignedDuration::from_mins(1));

pub fn module() -> Module {
    Module::new("registration")
        .routes(routes!(register))
        .problems(&[&PASSWORD_TOO_COMMON, &TOO_MANY_ATTEMPTS])
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
    /// 10 to 128 characters of any kind, and not among those that are tried first.
    #[garde(length(chars, min = 10, max = 128))]
    #[schema(min_length = 10, max_length = 128, format = Password, example = "una frase larga")]
    password: String,
    #[garde(dive)]
    #[serde(deserialize_with = "object")]
    profile: Profile,
    /// Of mails; Spanish when absent.
    #[serde(default)]
    #[garde(skip)]
    #[schema(required = false)]
    language: Language,
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
/// The answer is the same when the address already has an account, which then stays as it is; its owner
/// is told by mail.
#[utoipa::path(post, path = "/auth/register", tag = "auth", operation_id = "register", security(()),
    request_body = Registration, responses((status = 201, body = Registered)))]
async fn register(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    client: Client,
    Valid(new): Valid<Registration>,
) -> Result<impl IntoResponse> {
    let names = [new.profile.first_name.as_str(), &new.profile.last_name];
    password_rules::check(&new.password, &new.email, &names, "/password")?;
    allowed(&app, &identity, &client).await?;
    // No transaction is open while the password is hashed.
    let hash = identity.0.passwords.hash(new.password).await?;
    let at_once = app.config.activates_users_at_once();
    #[expect(clippy::disallowed_methods, reason = "users are global")]
    let mut tx = app.db.system().await?;
    let user = NewUser {
        email: &new.email,
        password_hash: &hash,
        profile: &new.profile,
        language: new.language.code(),
        verified: at_once,
    };
    let created = user.create(&mut tx, &app).await?.is_some();
    if !(created && at_once) {
        let kind = if created {
            Kind::VerifyEmail
        } else {
            Kind::AccountExists
        };
        mail_requests::ask(&mut tx, &app, &identity, &client, kind, &new.email).await?;
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

/// Hashing is dear: nobody registers accounts in masses.
async fn allowed(app: &App, identity: &Identity, client: &Client) -> Result<()> {
    let Some(address) = client.address else {
        return Ok(());
    };
    let subscriber = subscriber(address).to_string();
    #[expect(clippy::disallowed_methods, reason = "nobody is signed in")]
    let mut tx = app.db.system().await?;
    let allowed = identity
        .0
        .throttle
        .allows(&mut tx, app, "registrations by", &subscriber, PER_ADDRESS);
    if !allowed.await? {
        return Err(Error::new(&TOO_MANY_ATTEMPTS).retry_after(60));
    }
    tx.commit().await
}
