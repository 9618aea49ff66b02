//! Signing in.
//!
//! Nothing that is answered before the password fits, nor the time it takes, depends on whether there is
//! such an account.

use axum::Extension;
use axum::extract::{Form, State};
use axum::response::IntoResponse;
use kernel::app::App;
use kernel::db::SystemTx;
use kernel::error::MALFORMED_REQUEST;
use kernel::prelude::*;
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::client::Client;
use crate::mails::MailNewSignIn;
use crate::me::User;
use crate::memberships;
use crate::sessions::{self, SignedIn};
use crate::throttle::TOO_MANY_ATTEMPTS;
use crate::{EMAIL_NOT_VERIFIED, EMAIL_OR_PASSWORD_WRONG, Identity, USER_INACTIVE, contact, events, tokens};

pub fn module() -> Module {
    Module::new("sign_in").routes(routes!(login)).problems(&[
        &EMAIL_OR_PASSWORD_WRONG,
        &EMAIL_NOT_VERIFIED,
        &USER_INACTIVE,
        &TOO_MANY_ATTEMPTS,
    ])
}

/// The OAuth 2 password form; fields that we have no use for are ignored.
#[derive(Deserialize, ToSchema)]
struct Credentials {
    /// The e-mail address, in any case.
    #[schema(example = "user@example.com")]
    username: String,
    #[schema(format = Password, example = "password123")]
    password: String,
}

/// Sign in.
///
/// Failures are followed by growing pauses, per account, per address and for both together; `Retry-After`
/// tells how long. From where somebody has signed in before, only his own failures count.
#[utoipa::path(post, path = "/auth/login", tag = "auth", operation_id = "login", security(()),
    request_body(content = Credentials, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, body = SignedIn)))]
async fn login(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    client: Client,
    form: Result<Form<Credentials>, axum::extract::rejection::FormRejection>,
) -> Result<impl IntoResponse> {
    let Form(credentials) =
        form.map_err(|_| Error::new(&MALFORMED_REQUEST).detail("send username and password as a form"))?;
    let device = identity.0.throttle.device(client.address);
    let (email, account) = account(&app, credentials.username, device.as_deref()).await?;
    let known = account.as_ref().is_some_and(|account| account.known_device);
    let attempt = identity
        .0
        .throttle
        .sign_in(&app, &email, client.address, known)
        .await?;
    // No transaction is open while the password is hashed.
    let hash = account.as_ref().map(|account| account.password_hash.clone());
    let fits = match identity
        .0
        .passwords
        .verify(credentials.password.clone(), hash)
        .await
    {
        Ok(fits) => fits,
        Err(error) => {
            attempt.withdraw(&app).await?;
            return Err(error);
        }
    };
    if !fits {
        failed(&app, account.map(|account| account.id)).await?;
        return Err(Error::new(&EMAIL_OR_PASSWORD_WRONG));
    }
    let account = account.ok_or(&EMAIL_OR_PASSWORD_WRONG)?;
    let new_hash = if identity.0.passwords.is_outdated(&account.password_hash) {
        Some(identity.0.passwords.hash(credentials.password).await?)
    } else {
        None
    };

    #[expect(clippy::disallowed_methods, reason = "sessions are global")]
    let mut tx = app.db.system().await?;
    attempt.succeeded(&mut tx).await?;
    // Only who knows the password learns more.
    if !account.is_active || !account.email_verified {
        tx.commit().await?;
        let refusal = if account.is_active {
            &EMAIL_NOT_VERIFIED
        } else {
            &USER_INACTIVE
        };
        return Err(Error::new(refusal));
    }
    signs_in(&mut tx, &app, &account, new_hash).await?;
    let (session, token) = (kernel::ids::new_id(), tokens::opaque());
    sessions::begin(&mut tx, &app, account.id, session, &token, &client).await?;
    sessions::remember_device(&mut tx, &app, &identity, account.id, &client).await?;
    if device.is_some() && account.has_devices && !known {
        tx.enqueue(&MailNewSignIn { session }).await?;
    }
    let user = User::find(&mut tx, account.id).await?;
    let companies = memberships::of_user(&mut tx, account.id).await?;
    tx.commit().await?;
    sessions::signed_in(&identity, user, session, token, companies)
}

/// Records the failure, with the same work for an address that nobody has.
async fn failed(app: &App, account: Option<Uuid>) -> Result<()> {
    #[expect(clippy::disallowed_methods, reason = "security events are global")]
    let mut tx = app.db.system().await?;
    events::record(&mut tx, "sign-in-failed", account, None).await?;
    tx.commit().await
}

/// What decides whether somebody may sign in.
struct Account {
    id: Uuid,
    password_hash: String,
    password_changed_at: Option<Timestamp>,
    is_active: bool,
    email_verified: bool,
    /// Whether the user has shown who he is from this device before, and from any.
    known_device: bool,
    has_devices: bool,
}

/// The address as accounts are found by it, and whose it is.
async fn account(app: &App, email: String, device: Option<&[u8]>) -> Result<(String, Option<Account>)> {
    if email.contains('\0') {
        return Ok((email, None));
    }
    #[expect(clippy::disallowed_methods, reason = "users are global")]
    let mut tx = app.db.system().await?;
    let email = contact::folded(&mut tx, &email).await?;
    let account = sqlx::query_as!(
        Account,
        r#"select id, password_hash, password_changed_at, is_active, email_verified_at is not null as "email_verified!",
                  exists (select from known_devices where user_id = users.id and device = $2) as "known_device!",
                  exists (select from known_devices where user_id = users.id) as "has_devices!"
             from users where lower(email) = $1"#,
        email,
        device
    );
    let account = account.fetch_optional(&mut *tx).await?;
    Ok((email, account))
}

/// Notes the sign-in. A password that was changed while it was looked at, or a user disabled meanwhile,
/// opens no session.
async fn signs_in(tx: &mut SystemTx, app: &App, account: &Account, new_hash: Option<String>) -> Result<()> {
    let noted = sqlx::query!(
        "update users set last_login_at = $2, password_hash = coalesce($4, password_hash)
          where id = $1 and password_changed_at is not distinct from $3 and is_active",
        account.id,
        Timestamp(app.clock.now()) as _,
        account.password_changed_at as _,
        new_hash
    );
    if noted.execute(&mut **tx).await?.rows_affected() == 0 {
        return Err(Error::new(&EMAIL_OR_PASSWORD_WRONG));
    }
    Ok(())
}
