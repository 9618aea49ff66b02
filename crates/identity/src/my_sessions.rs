//! Where I am signed in, and ending that.

use axum::Extension;
use axum::extract::State;
use kernel::app::App;
use kernel::caller::UserCaller;
use kernel::error::NOT_FOUND;
use kernel::prelude::*;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::client::device;
use crate::{Identity, sessions};

pub fn module() -> Module {
    Module::new("my_sessions")
        .routes(routes!(list, end_all))
        .routes(routes!(end))
}

/// One of my sessions.
#[derive(Serialize, ToSchema, sqlx::FromRow)]
struct MySession {
    id: Uuid,
    /// Browser and system, as far as the browser tells.
    #[sqlx(skip)]
    #[schema(required = true, example = "Chrome, Android")]
    device: Option<String>,
    #[schema(required = true)]
    user_agent: Option<String>,
    /// Where it was used last from.
    #[schema(required = true, example = "203.0.113.9")]
    address: Option<String>,
    /// Whether this request is made with it.
    #[sqlx(skip)]
    current: bool,
    created_at: Timestamp,
    /// When it was used last, to the time that an access token lives.
    last_used_at: Timestamp,
    expires_at: Timestamp,
}

impl Listed for MySession {
    const TABLE: &'static str = "sessions";
    const COLUMNS: &'static str = "id, user_agent, address, created_at, last_used_at, expires_at";
    fn id(&self) -> Uuid {
        self.id
    }
    fn key(&self, _: &'static str) -> Key {
        Key::Time(self.last_used_at)
    }
}

/// No filter: all of mine.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct Mine {}

/// List my sessions, the last used first.
#[utoipa::path(get, path = "/auth/sessions", tag = "auth", operation_id = "list_my_sessions",
    security(("bearer" = [])), params(PageParams), responses((status = 200, body = Page<MySession>)))]
async fn list(
    State(app): State<App>,
    Extension(caller): Extension<UserCaller>,
    list: List<Mine>,
) -> Result<Page<MySession>> {
    let now = Timestamp(app.clock.now());
    #[expect(clippy::disallowed_methods, reason = "sessions are global")]
    let mut tx = app.db.system().await?;
    let mut page: Page<MySession> = list
        .fetch(&mut tx, Sort::descending("last_used_at"), |query, _| {
            query.push(" and user_id = ").push_bind(caller.user_id);
            query
                .push(" and revoked_at is null and expires_at > ")
                .push_bind(now);
        })
        .await?;
    for session in &mut page.items {
        session.device = device(session.user_agent.as_deref());
        session.current = session.id == caller.session_id;
    }
    Ok(page)
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Which {
    /// Also the session that this request is made with.
    #[serde(default)]
    #[param(default = false)]
    include_current: bool,
}

/// End my other sessions, or all.
#[utoipa::path(delete, path = "/auth/sessions", tag = "auth", operation_id = "end_my_sessions",
    security(("bearer" = [])), params(Which), responses((status = 204)))]
async fn end_all(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Extension(caller): Extension<UserCaller>,
    Query(which): Query<Which>,
) -> Result<NoContent> {
    let but = (!which.include_current).then_some(caller.session_id);
    #[expect(clippy::disallowed_methods, reason = "sessions are global")]
    let mut tx = app.db.system().await?;
    sessions::end_all(&mut tx, &app, caller.user_id, but).await?;
    tx.commit().await?;
    identity.0.changes.changed(caller.user_id).await;
    Ok(NoContent)
}

/// End one of my sessions, on every process at once.
#[utoipa::path(delete, path = "/auth/sessions/{session_id}", tag = "auth", operation_id = "end_my_session",
    security(("bearer" = [])), params(("session_id" = Uuid, Path)), responses((status = 204)))]
async fn end(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Extension(caller): Extension<UserCaller>,
    Path(session): Path<Uuid>,
) -> Result<NoContent> {
    #[expect(clippy::disallowed_methods, reason = "sessions are global")]
    let mut tx = app.db.system().await?;
    let ended = sqlx::query!(
        "update sessions set revoked_at = $3 where id = $1 and user_id = $2 and revoked_at is null",
        session,
        caller.user_id,
        Timestamp(app.clock.now()) as _
    );
    if ended.execute(&mut *tx).await?.rows_affected() == 0 {
        return Err(Error::new(&NOT_FOUND));
    }
    tx.commit().await?;
    identity.0.changes.changed(caller.user_id).await;
    Ok(NoContent)
}
