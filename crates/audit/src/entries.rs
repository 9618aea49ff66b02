//! The trail as a company reads it.

use axum::extract::State;
use kernel::app::App;
use kernel::prelude::*;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use sqlx::{FromRow, Postgres, QueryBuilder};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::{AuditRead, PERMISSIONS};

pub(crate) fn module() -> Module {
    Module::new("audit")
        .routes(routes!(list))
        .permissions(PERMISSIONS)
}

/// A change of one row.
#[derive(Serialize, ToSchema, FromRow)]
pub(crate) struct AuditEntry {
    pub id: Uuid,
    pub occurred_at: Timestamp,
    #[sqlx(flatten)]
    pub actor: AuditActor,
    /// Address that the request came from; null for what no request did.
    #[schema(required = true, example = "203.0.113.7")]
    pub address: Option<String>,
    /// The request, as in logs and in the `X-Request-ID` of its answer.
    #[schema(required = true)]
    pub request_id: Option<String>,
    pub action: Action,
    /// The kind of thing that changed: the name of its table.
    #[schema(example = "products")]
    pub entity: String,
    /// Its id.
    #[schema(example = "0193a8f2-7d3c-7c51-9c0e-3f6f5d0b1a22")]
    pub entity_id: String,
    /// What it was: null where it was created, only what changed where it was updated.
    #[schema(required = true, value_type = Option<Object>)]
    pub before: Option<Raw>,
    /// What it is since: null where it was deleted, only what changed where it was updated.
    #[schema(required = true, value_type = Option<Object>)]
    pub after: Option<Raw>,
}

/// Who did it.
#[derive(Serialize, ToSchema, FromRow)]
pub(crate) struct AuditActor {
    #[sqlx(rename = "actor_kind")]
    pub kind: ActorKind,
    /// The user or API key; of a job, the user who caused it.
    #[sqlx(rename = "actor_id")]
    #[schema(required = true)]
    pub id: Option<Uuid>,
    /// The user's name; else that of the job, command or database login.
    #[sqlx(rename = "actor_name")]
    #[schema(required = true, example = "Ana Paz")]
    pub name: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub(crate) enum ActorKind {
    User,
    /// A machine, by its API key.
    Key,
    Job,
    /// Somebody at the installation's command line.
    Command,
    /// The program itself.
    System,
    /// Somebody who has not signed in.
    Anonymous,
    /// Somebody who logged in to the database.
    Database,
}

#[derive(Clone, Copy, Deserialize, Serialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub(crate) enum Action {
    Create,
    Update,
    Delete,
}

impl Action {
    pub fn name(self) -> &'static str {
        match self {
            Action::Create => "create",
            Action::Update => "update",
            Action::Delete => "delete",
        }
    }
}

impl ActorKind {
    pub fn name(self) -> &'static str {
        match self {
            ActorKind::User => "user",
            ActorKind::Key => "key",
            ActorKind::Job => "job",
            ActorKind::Command => "command",
            ActorKind::System => "system",
            ActorKind::Anonymous => "anonymous",
            ActorKind::Database => "database",
        }
    }
}

/// JSON that goes out as it is stored: numbers keep their digits.
#[derive(sqlx::Type)]
#[sqlx(transparent)]
pub(crate) struct Raw(pub String);

impl Serialize for Raw {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(&self.0).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl Listed for AuditEntry {
    const TABLE: &'static str = "audit_entries";
    const COLUMNS: &'static str = "id, occurred_at, actor_kind, actor_id, actor_name, address, request_id, action, entity, \
         entity_id, before::text as before, after::text as after";
    fn id(&self) -> Uuid {
        self.id
    }
    fn key(&self, _: &'static str) -> Key {
        Key::Time(self.occurred_at)
    }
}

/// What is asked for; absent is everything.
#[derive(Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AuditFilter {
    /// User or API key.
    actor_id: Option<Uuid>,
    #[param(inline)]
    actor_kind: Option<ActorKind>,
    #[param(inline)]
    action: Option<Action>,
    /// Name of a table.
    #[param(example = "products")]
    entity: Option<String>,
    /// Id of the thing that changed.
    entity_id: Option<String>,
    /// From this time on.
    #[param(inline)]
    from: Option<Timestamp>,
    /// Before this time.
    #[param(inline)]
    to: Option<Timestamp>,
}

impl AuditFilter {
    /// Adds the conditions.
    pub fn push(&self, query: &mut QueryBuilder<Postgres>) {
        if let Some(id) = self.actor_id {
            query.push(" and actor_id = ").push_bind(id);
        }
        if let Some(kind) = self.actor_kind {
            query.push(" and actor_kind = ").push_bind(kind);
        }
        if let Some(action) = self.action {
            query.push(" and action = ").push_bind(action);
        }
        if let Some(entity) = &self.entity {
            query.push(" and entity = ").push_bind(entity.clone());
        }
        if let Some(id) = &self.entity_id {
            query.push(" and entity_id = ").push_bind(id.clone());
        }
        if let Some(from) = self.from {
            query.push(" and occurred_at >= ").push_bind(from);
        }
        if let Some(to) = self.to {
            query.push(" and occurred_at < ").push_bind(to);
        }
    }
}

/// List changes of the company's data, newest first.
///
/// Every change is here: written in its transaction, never changed afterwards. Values of secrets are masked.
#[utoipa::path(get, path = "/audit", tag = "audit", operation_id = "list_audit_entries",
    security(("bearer" = ["audit.read"])), params(AuditFilter, PageParams),
    responses((status = 200, body = Page<AuditEntry>)))]
async fn list(
    State(app): State<App>,
    mut tx: TenantTx<AuditRead>,
    list: List<AuditFilter>,
) -> Result<Page<AuditEntry>> {
    let mut page = list
        .fetch(&mut tx, Sort::descending("occurred_at"), |query, filter| {
            filter.push(query);
        })
        .await?;
    drop(tx);
    name_actors(&app, &mut page.items).await?;
    Ok(page)
}

/// Writes the names of the users and API keys that acted.
pub(crate) async fn name_actors(app: &App, entries: &mut [AuditEntry]) -> Result<()> {
    let is_named = |actor: &AuditActor| matches!(actor.kind, ActorKind::User | ActorKind::Key);
    let named = entries.iter().filter(|entry| is_named(&entry.actor));
    let mut ids: Vec<Uuid> = named.filter_map(|entry| entry.actor.id).collect();
    ids.sort_unstable();
    ids.dedup();
    let names = identity::names(app, &ids).await?;
    for entry in entries.iter_mut().filter(|entry| is_named(&entry.actor)) {
        entry.actor.name = entry.actor.id.and_then(|id| names.get(&id).cloned());
    }
    Ok(())
}
