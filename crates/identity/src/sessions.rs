//! Signing in, staying in, selecting a company, signing out.
//!
//! A session is a family of refresh tokens with one live member. Using one makes its successor;
//! using one again later than [`GRACE`] ends the session, because a copy is about.

use axum::Extension;
use axum::extract::{Form, State};
use axum::response::{IntoResponse, Response};
use garde::Validate;
use jiff::SignedDuration;
use kernel::app::App;
use kernel::caller::UserCaller;
use kernel::db::SystemTx;
use kernel::error::MALFORMED_REQUEST;
use kernel::output::json;
use kernel::prelude::*;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::me::User;
use crate::memberships::{self, Membership};
use crate::{
    EMAIL_NOT_VERIFIED, EMAIL_OR_PASSWORD_WRONG, Identity, REFRESH_TOKEN_INVALID, REFRESH_TOKEN_REUSED,
    USER_INACTIVE, tokens,
};

/// A client whose answer was lost may ask again this long and gets the same successor.
const GRACE: SignedDuration = SignedDuration::from_secs(10);
/// A session ends this long after signing in, however often it is refreshed.
const ABSOLUTE_LIFE: SignedDuration = SignedDuration::from_hours(24 * 30);

pub fn module() -> Module {
    Module::new("sessions")
        .routes(routes!(login))
        .routes(routes!(refresh))
        .routes(routes!(logout))
        .routes(routes!(select_company))
        .problems(&[
            &EMAIL_OR_PASSWORD_WRONG,
            &EMAIL_NOT_VERIFIED,
            &USER_INACTIVE,
            &REFRESH_TOKEN_INVALID,
            &REFRESH_TOKEN_REUSED,
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

#[derive(Serialize, ToSchema)]
struct SignedIn {
    access_token: String,
    #[schema(example = "bearer")]
    token_type: &'static str,
    /// Seconds that the access token lives.
    #[schema(example = 1800)]
    expires_in: i64,
    /// Opaque; works once, then its successor does.
    refresh_token: String,
    user: User,
    companies: Vec<Membership>,
}

/// Sign in.
#[utoipa::path(post, path = "/auth/login", tag = "auth", operation_id = "login", security(()),
    request_body(content = Credentials, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, body = SignedIn)))]
async fn login(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    form: Result<Form<Credentials>, axum::extract::rejection::FormRejection>,
) -> Result<impl IntoResponse> {
    let Form(credentials) =
        form.map_err(|_| Error::new(&MALFORMED_REQUEST).detail("send username and password as a form"))?;
    // No transaction is open while the password is hashed.
    let found = credential(&app, &credentials.username).await?;
    let (user, hash) = found.map_or((None, None), |(user, hash)| (Some(user), Some(hash)));
    let fits = identity.0.passwords.verify(credentials.password, hash).await?;
    let user = user.filter(|_| fits).ok_or(&EMAIL_OR_PASSWORD_WRONG)?;
    // Only who knows the password learns more.
    if !user.is_active {
        return Err(Error::new(&USER_INACTIVE));
    }
    if !user.email_verified {
        return Err(Error::new(&EMAIL_NOT_VERIFIED));
    }

    let now = app.clock.now();
    let (session, token) = (kernel::ids::new_id(), tokens::opaque());
    #[expect(clippy::disallowed_methods, reason = "sessions are global")]
    let mut tx = app.db.system().await?;
    sqlx::query!(
        "insert into sessions (id, user_id, created_at, expires_at) values ($1, $2, $3, $4)",
        session,
        user.id,
        Timestamp(now) as _,
        Timestamp(expiry(&app, now, now)) as _
    )
    .execute(&mut *tx)
    .await?;
    add_refresh_token(&mut tx, session, &token).await?;
    sqlx::query!(
        "update users set last_login_at = $2 where id = $1",
        user.id,
        Timestamp(now) as _
    )
    .execute(&mut *tx)
    .await?;
    let companies = memberships::of_user(&mut tx, user.id).await?;
    tx.commit().await?;
    signed_in(&identity, user, session, token, companies)
}

async fn credential(app: &App, email: &str) -> Result<Option<(User, String)>> {
    if email.contains('\0') {
        return Ok(None);
    }
    #[expect(clippy::disallowed_methods, reason = "users are global")]
    let mut tx = app.db.system().await?;
    let id = sqlx::query!(
        "select id, password_hash from users where lower(email) = lower($1)",
        email
    )
    .fetch_optional(&mut *tx)
    .await?;
    match id {
        Some(row) => Ok(Some((User::find(&mut tx, row.id).await?, row.password_hash))),
        None => Ok(None),
    }
}

/// When a session that is used now ends, unless it is used again before.
fn expiry(app: &App, signed_in: jiff::Timestamp, now: jiff::Timestamp) -> jiff::Timestamp {
    let idle_life = SignedDuration::from_hours(24 * app.config.auth.refresh_token_expire_days);
    (now + idle_life).min(signed_in + ABSOLUTE_LIFE)
}

async fn add_refresh_token(tx: &mut SystemTx, session: Uuid, token: &str) -> Result<()> {
    sqlx::query!(
        "insert into refresh_tokens (token_hash, session_id) values ($1, $2)",
        tokens::hash(token),
        session
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

fn signed_in(
    identity: &Identity,
    user: User,
    session: Uuid,
    refresh_token: String,
    companies: Vec<Membership>,
) -> Result<Response> {
    let tokens = &identity.0.tokens;
    let access_token = tokens.sign(user.id, session, None)?;
    let body = SignedIn {
        access_token,
        token_type: "bearer",
        expires_in: tokens.lifetime(),
        refresh_token,
        user,
        companies,
    };
    Ok(json(body).into_response())
}

#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
struct Refresh {
    #[garde(length(min = 1, max = 200))]
    #[schema(min_length = 1, max_length = 200)]
    refresh_token: String,
}

/// Exchange a refresh token for new tokens.
#[utoipa::path(post, path = "/auth/refresh", tag = "auth", operation_id = "refresh", security(()),
    request_body = Refresh, responses((status = 200, body = SignedIn)))]
async fn refresh(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Valid(body): Valid<Refresh>,
) -> Result<impl IntoResponse> {
    let now = app.clock.now();
    let mut successor = identity.0.tokens.successor(&body.refresh_token);
    #[expect(clippy::disallowed_methods, reason = "sessions are global")]
    let mut tx = app.db.system().await?;
    // The session's row is the lock: uses of one family take turns.
    let used = sqlx::query!(
        "select s.id, s.user_id, s.created_at, t.used_at
           from refresh_tokens t
           join sessions s on s.id = t.session_id
           join users u on u.id = s.user_id
          where t.token_hash = $1 and s.revoked_at is null and s.expires_at > $2 and u.is_active
            for no key update of s",
        tokens::hash(&body.refresh_token),
        Timestamp(now) as _
    )
    .fetch_optional(&mut *tx)
    .await?
    .ok_or(&REFRESH_TOKEN_INVALID)?;
    // Read again now that the lock is held: another use may have just finished.
    let used_at = sqlx::query_scalar!(
        "select used_at from refresh_tokens where token_hash = $1",
        tokens::hash(&body.refresh_token)
    )
    .fetch_one(&mut *tx)
    .await?;
    match used_at {
        None => {
            sqlx::query!(
                "update refresh_tokens set used_at = $2 where token_hash = $1",
                tokens::hash(&body.refresh_token),
                Timestamp(now) as _
            )
            .execute(&mut *tx)
            .await?;
            add_refresh_token(&mut tx, used.id, &successor).await?;
            let expires_at = expiry(&app, used.created_at.0, now);
            sqlx::query!(
                "update sessions set expires_at = $2 where id = $1",
                used.id,
                Timestamp(expires_at) as _
            )
            .execute(&mut *tx)
            .await?;
        }
        Some(at) => {
            let given = live_one(&mut tx, &identity.0.tokens.successors(&body.refresh_token)).await?;
            let Some(given) = given.filter(|_| now < at.0 + GRACE) else {
                sqlx::query!(
                    "update sessions set revoked_at = $2 where id = $1",
                    used.id,
                    Timestamp(now) as _
                )
                .execute(&mut *tx)
                .await?;
                tx.commit().await?;
                identity.0.callers.changed(used.user_id).await;
                tracing::warn!(user.id = %used.user_id, session.id = %used.id, "refresh token reused; session ended");
                return Err(Error::new(&REFRESH_TOKEN_REUSED));
            };
            successor = given;
        }
    }
    let user = User::find(&mut tx, used.user_id).await?;
    let companies = memberships::of_user(&mut tx, user.id).await?;
    tx.commit().await?;
    signed_in(&identity, user, used.id, successor, companies)
}

/// The one of these tokens that is live.
async fn live_one(tx: &mut SystemTx, tokens: &[String]) -> Result<Option<String>> {
    let hashes: Vec<_> = tokens.iter().map(|token| tokens::hash(token)).collect();
    let live = sqlx::query_scalar!(
        "select token_hash from refresh_tokens where token_hash = any($1) and used_at is null",
        &hashes
    );
    let live = live.fetch_optional(&mut **tx).await?;
    Ok(live.and_then(|hash| tokens.iter().find(|token| tokens::hash(token) == hash).cloned()))
}

/// Sign out: ends this session on every process.
#[utoipa::path(post, path = "/auth/logout", tag = "auth", operation_id = "logout",
    security(("bearer" = [])), responses((status = 204)))]
async fn logout(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Extension(caller): Extension<UserCaller>,
) -> Result<NoContent> {
    #[expect(clippy::disallowed_methods, reason = "sessions are global")]
    let mut tx = app.db.system().await?;
    sqlx::query!(
        "update sessions set revoked_at = $2 where id = $1 and revoked_at is null",
        caller.session_id,
        Timestamp(app.clock.now()) as _
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    identity.0.callers.changed(caller.user_id).await;
    Ok(NoContent)
}

#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
struct Selection {
    #[garde(skip)]
    #[schema(example = "550e8400-e29b-41d4-a716-446655440000")]
    company_id: Uuid,
}

#[derive(Serialize, ToSchema)]
struct Selected {
    /// A context token: works without the `X-Company-ID` header, for this company only.
    access_token: String,
    #[schema(example = "bearer")]
    token_type: &'static str,
    /// Seconds that the token lives.
    #[schema(example = 1800)]
    expires_in: i64,
    tenant_id: Uuid,
    company_name: String,
    #[schema(example = "owner")]
    user_role: String,
}

/// Select a company: a token that carries it.
#[utoipa::path(post, path = "/auth/select-company", tag = "auth", operation_id = "select_company",
    security(("bearer" = [])), request_body = Selection, responses((status = 200, body = Selected)))]
async fn select_company(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Extension(user): Extension<UserCaller>,
    Valid(selection): Valid<Selection>,
) -> Result<impl IntoResponse> {
    let caller = identity
        .0
        .callers
        .member(user.user_id, user.session_id, selection.company_id)
        .await?;
    #[expect(clippy::disallowed_methods, reason = "companies of a user are global")]
    let mut tx = app.db.system().await?;
    let company_name = sqlx::query_scalar!(
        "select name from companies where tenant_id = $1",
        caller.tenant_id
    )
    .fetch_one(&mut *tx)
    .await?;
    Ok(json(Selected {
        access_token: identity
            .0
            .tokens
            .sign(user.user_id, user.session_id, Some(caller.tenant_id))?,
        token_type: "bearer",
        expires_in: identity.0.tokens.lifetime(),
        tenant_id: caller.tenant_id,
        company_name,
        user_role: caller.role.to_owned(),
    }))
}
