//! Sessions: staying signed in, seeing where one is, signing out.
//!
//! A session is a family of refresh tokens with one live member. Using one makes its successor;
//! using one again later than [`GRACE`] ends the session, because a copy is about.

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
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

use crate::client::Client;
use crate::me::User;
use crate::memberships::{self, Membership};
use crate::{Identity, REFRESH_TOKEN_INVALID, REFRESH_TOKEN_REUSED, events, tokens};

/// A client whose answer was lost may ask again this long and gets the same successor.
const GRACE: SignedDuration = SignedDuration::from_secs(10);
/// A session ends this long after signing in, however often it is refreshed.
const ABSOLUTE_LIFE: SignedDuration = SignedDuration::from_hours(24 * 30);

pub fn module() -> Module {
    Module::new("sessions")
        .routes(routes!(refresh))
        .routes(routes!(logout))
        .problems(&[&REFRESH_TOKEN_INVALID, &REFRESH_TOKEN_REUSED])
}

/// Somebody who has signed in, or stays so.
#[derive(Serialize, ToSchema)]
pub struct SignedIn {
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

/// Opens a session with its first refresh token.
///
/// # Errors
/// Those of the database.
pub async fn begin(
    tx: &mut SystemTx,
    app: &App,
    user: Uuid,
    session: Uuid,
    token: &str,
    client: &Client,
) -> Result<()> {
    let now = app.clock.now();
    sqlx::query!(
        "insert into sessions (id, user_id, created_at, last_used_at, expires_at, address, user_agent)
         values ($1, $2, $3, $3, $4, $5, $6)",
        session,
        user,
        Timestamp(now) as _,
        Timestamp(expiry(app, now, now)) as _,
        client.address_text(),
        client.user_agent
    )
    .execute(&mut **tx)
    .await?;
    add_refresh_token(tx, session, token).await
}

/// Notes that the user has shown who he is from this device.
///
/// # Errors
/// Those of the database.
pub async fn remember_device(
    tx: &mut SystemTx,
    app: &App,
    identity: &Identity,
    user: Uuid,
    client: &Client,
) -> Result<()> {
    let Some(device) = identity.0.throttle.device(client.address) else {
        return Ok(());
    };
    sqlx::query!(
        "insert into known_devices (user_id, device, seen_at) values ($1, $2, $3)
             on conflict (user_id, device) do update set seen_at = excluded.seen_at",
        user,
        device,
        Timestamp(app.clock.now()) as _
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Ends the user's sessions, all of them or all but one. Call `changed` after the commit.
///
/// # Errors
/// Those of the database.
pub async fn end_all(tx: &mut SystemTx, app: &App, user: Uuid, but: Option<Uuid>) -> Result<()> {
    sqlx::query!(
        "update sessions set revoked_at = $2 where user_id = $1 and revoked_at is null and id is distinct from $3",
        user,
        Timestamp(app.clock.now()) as _,
        but
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
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

/// The answer to a sign-in or a refresh.
///
/// # Errors
/// Never in practice: signing cannot fail.
pub fn signed_in(
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
    client: Client,
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
                "update sessions set expires_at = $2, last_used_at = $3, address = $4, user_agent = $5 where id = $1",
                used.id,
                Timestamp(expires_at) as _,
                Timestamp(now) as _,
                client.address_text(),
                client.user_agent
            )
            .execute(&mut *tx)
            .await?;
        }
        Some(at) => {
            let given = live_one(&mut tx, &identity.0.tokens.successors(&body.refresh_token)).await?;
            let Some(given) = given.filter(|_| now < at.0 + GRACE) else {
                events::record(&mut tx, "refresh-token-reused", Some(used.user_id), Some(used.id)).await?;
                sqlx::query!(
                    "update sessions set revoked_at = $2 where id = $1",
                    used.id,
                    Timestamp(now) as _
                )
                .execute(&mut *tx)
                .await?;
                tx.commit().await?;
                identity.0.changes.changed(used.user_id).await;
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
    identity.0.changes.changed(caller.user_id).await;
    Ok(NoContent)
}
