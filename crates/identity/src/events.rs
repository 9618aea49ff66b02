//! What befell an account: recorded by triggers, here what no row tells; and read by its owner.

use axum::extract::State;
use kernel::app::App;
use kernel::caller::UserCaller;
use kernel::db::SystemTx;
use kernel::prelude::*;
use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

pub fn module() -> Module {
    Module::new("security-events").routes(routes!(list))
}

/// Records an event of a user, known or not, in this transaction: `sign-in-failed`.
///
/// # Errors
/// Those of the database.
pub(crate) async fn record(
    tx: &mut SystemTx,
    event: &str,
    user: Option<Uuid>,
    session: Option<Uuid>,
) -> Result<()> {
    sqlx::query!("select security_event($1, $2, $3)", event, user, session)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Something that befell the account.
#[derive(Serialize, ToSchema, FromRow)]
struct SecurityEvent {
    id: Uuid,
    occurred_at: Timestamp,
    #[schema(example = "signed-in")]
    event: String,
    /// The session that it is about, if it is about one.
    #[schema(required = true)]
    session_id: Option<Uuid>,
    /// Address that the request came from.
    #[schema(required = true, example = "203.0.113.7")]
    address: Option<String>,
    /// The request, as in the `X-Request-ID` of its answer.
    #[schema(required = true)]
    request_id: Option<String>,
}

impl Listed for SecurityEvent {
    const TABLE: &'static str = "security_events";
    const COLUMNS: &'static str = "id, occurred_at, event, session_id, address, request_id";
    fn id(&self) -> Uuid {
        self.id
    }
    fn key(&self, _: &'static str) -> Key {
        Key::Time(self.occurred_at)
    }
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct EventFilter {
    /// From this time on.
    #[param(inline)]
    from: Option<Timestamp>,
    /// Before this time.
    #[param(inline)]
    to: Option<Timestamp>,
}

/// List what befell my account, newest first.
///
/// Sign-ins, ended sessions, changes of password, e-mail and profile.
#[utoipa::path(get, path = "/auth/events", tag = "auth", operation_id = "list_security_events",
    security(("bearer" = [])), params(EventFilter, PageParams), responses((status = 200, body = Page<SecurityEvent>)))]
async fn list(
    State(app): State<App>,
    axum::Extension(user): axum::Extension<UserCaller>,
    list: List<EventFilter>,
) -> Result<Page<SecurityEvent>> {
    #[expect(
        clippy::disallowed_methods,
        reason = "security events are global; only the caller's are read"
    )]
    let mut tx = app.db.system().await?;
    list.fetch(&mut tx, Sort::descending("occurred_at"), |query, filter| {
        query.push(" and user_id = ").push_bind(user.user_id);
        if let Some(from) = filter.from {
            query.push(" and occurred_at >= ").push_bind(from);
        }
        if let Some(to) = filter.to {
            query.push(" and occurred_at < ").push_bind(to);
        }
    })
    .await
}
