//! A new password for whoever knows the present one.

use axum::Extension;
use axum::extract::State;
use garde::Validate;
use kernel::app::App;
use kernel::caller::UserCaller;
use kernel::error::FieldError;
use kernel::prelude::*;
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::mails::MailPasswordChanged;
use crate::password_rules::{self, PASSWORD_TOO_COMMON};
use crate::throttle::TOO_MANY_ATTEMPTS;
use crate::{Identity, email_tokens, sessions};

pub(crate) const PASSWORD_WRONG: Code = Code::new(422, "password-wrong", "The current password is wrong");

pub fn module() -> Module {
    Module::new("password_change")
        .routes(routes!(change_password))
        .problems(&[&PASSWORD_WRONG, &PASSWORD_TOO_COMMON, &TOO_MANY_ATTEMPTS])
}

#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
struct PasswordChange {
    #[garde(length(max = 1000))]
    #[schema(format = Password)]
    current_password: String,
    /// 10 to 128 characters of any kind, and not among those that are tried first.
    #[garde(length(chars, min = 10, max = 128))]
    #[schema(min_length = 10, max_length = 128, format = Password, example = "otra frase larga")]
    new_password: String,
    /// The new password once more, for clients that ask twice.
    #[garde(skip)]
    #[schema(format = Password, example = "otra frase larga")]
    confirm_password: Option<String>,
}

/// Change the password.
///
/// Ends all other sessions and voids whatever was mailed and waits to be used.
#[utoipa::path(post, path = "/auth/change-password", tag = "auth", operation_id = "change_password",
    security(("bearer" = [])), request_body = PasswordChange, responses((status = 204)))]
async fn change_password(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Extension(caller): Extension<UserCaller>,
    Valid(body): Valid<PasswordChange>,
) -> Result<NoContent> {
    if body
        .confirm_password
        .is_some_and(|again| again != body.new_password)
    {
        let fault = FieldError::body(
            "/confirm_password",
            "mismatch",
            "must be the same as new_password",
        );
        return Err(Error::invalid(vec![fault]));
    }
    let user = caller.user_id;
    let before = confirm(&app, &identity, user, body.current_password).await?;
    let names = [before.first_name.as_str(), &before.last_name];
    password_rules::check(&body.new_password, &before.email, &names, "/new_password")?;
    let hash = identity.0.passwords.hash(body.new_password).await?;
    #[expect(clippy::disallowed_methods, reason = "users are global")]
    let mut tx = app.db.system().await?;
    // Of two changes at once that both knew the old password, one has been overtaken.
    let changed = sqlx::query!(
        "update users set password_hash = $2, password_changed_at = $3 where id = $1 and password_changed_at is not distinct from $4",
        user,
        hash,
        Timestamp(app.clock.now()) as _,
        before.password_changed_at as _
    );
    if changed.execute(&mut *tx).await?.rows_affected() == 0 {
        return Err(Error::new(&PASSWORD_WRONG).at("/current_password"));
    }
    sessions::end_all(&mut tx, &app, user, Some(caller.session_id)).await?;
    email_tokens::void_all(&mut tx, &app, user).await?;
    tx.enqueue(&MailPasswordChanged { user }).await?;
    tx.commit().await?;
    identity.0.changes.changed(user).await;
    tracing::info!(user.id = %user, "password changed");
    Ok(NoContent)
}

/// What is known of a user who has given his password.
pub struct Confirmed {
    pub email: String,
    pub first_name: String,
    pub last_name: String,
    pub password_hash: String,
    pub password_changed_at: Option<Timestamp>,
}

/// Lets a signed-in user show by his password that the session is not somebody else's. Guesses are
/// throttled.
///
/// # Errors
/// `password-wrong` at `/current_password`, `too-many-attempts`, or those of the database.
pub async fn confirm(app: &App, identity: &Identity, user: Uuid, password: String) -> Result<Confirmed> {
    let attempt = identity.0.throttle.own_password(app, user).await?;
    #[expect(clippy::disallowed_methods, reason = "users are global")]
    let mut tx = app.db.system().await?;
    let known = sqlx::query_as!(
        Confirmed,
        "select email, first_name, last_name, password_hash, password_changed_at from users where id = $1",
        user
    )
    .fetch_one(&mut *tx)
    .await?;
    drop(tx);
    let hash = known.password_hash.clone();
    let fits = match identity.0.passwords.verify(password, Some(hash)).await {
        Ok(fits) => fits,
        Err(error) => {
            attempt.withdraw(app).await?;
            return Err(error);
        }
    };
    if !fits {
        return Err(Error::new(&PASSWORD_WRONG).at("/current_password"));
    }
    #[expect(clippy::disallowed_methods, reason = "attempts are of no company")]
    let mut tx = app.db.system().await?;
    attempt.succeeded(&mut tx).await?;
    tx.commit().await?;
    Ok(known)
}
