//! API keys: how a machine calls in a company's name, with permissions of its own.

mod callers;
mod token;

use axum::Extension;
use axum::extract::State;
use axum::response::IntoResponse;
use garde::Validate;
use jiff::SignedDuration;
use kernel::app::App;
use kernel::changes::Changed;
use kernel::error::FieldError;
use kernel::idempotency::ShownOnce;
use kernel::prelude::*;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::members::take_turn;
use crate::roles::{self, Grants};

pub use callers::ApiKeys;
pub use token::PREFIX;

typed_id!(ApiKeyId);

permissions! {
    /// See the company's API keys.
    ApiKeysRead = "api_keys.read", read_only;
    /// Make, rename and revoke API keys.
    ApiKeysWrite = "api_keys.write";
}

/// Whether no key holds the permission. One that leaked must not be able to make others; who belongs to
/// a company people decide, and only they can leave it or own it.
fn is_for_people(permission: &str) -> bool {
    ["api_keys.write", "company.leave", "company.transfer"].contains(&permission)
        || permission.starts_with("members.") && permission != "members.read"
}

/// No key lives longer; it is also what one gets that names no end.
const MAX_LIFE: SignedDuration = SignedDuration::from_hours(24 * 366);

const TOO_MANY_API_KEYS: Code = Code::new(
    409,
    "too-many-api-keys",
    "The company has a hundred API keys in force: revoke one",
);

const CONSTRAINTS: &[Constraint] = &[
    Constraint::invalid("api_keys_name_length", "/name"),
    Constraint {
        name: "api_keys_too_many",
        code: &TOO_MANY_API_KEYS,
        pointer: None,
    },
];

pub fn module() -> Module {
    Module::new("api-keys")
        .routes(routes!(list, create))
        .routes(routes!(find, update, revoke))
        .permissions(PERMISSIONS)
        .constraints(CONSTRAINTS)
}

/// An API key; its token is shown once, when it is made.
#[derive(Serialize, ToSchema, sqlx::FromRow)]
struct ApiKey {
    id: ApiKeyId,
    #[schema(example = "Tienda en línea")]
    name: String,
    /// How its token begins.
    #[schema(example = "ak_live_01KTB3M8Q2Zx")]
    prefix: String,
    /// What it may do.
    #[schema(value_type = Vec<PermissionName>)]
    permissions: Vec<String>,
    /// The user who made it.
    created_by: Uuid,
    /// To the minute; null when it was never used.
    #[schema(required = true)]
    last_used_at: Option<Timestamp>,
    expires_at: Timestamp,
    #[schema(required = true)]
    revoked_at: Option<Timestamp>,
    created_at: Timestamp,
    updated_at: Timestamp,
    #[serde(skip)]
    version: i64,
}

/// A new API key with its token, which is not shown again.
#[derive(Serialize, ToSchema)]
struct NewApiKeyWithToken {
    #[serde(flatten)]
    key: ApiKey,
    /// Send it as bearer.
    #[schema(example = "ak_live_01KTB3M8Q2Zx…")]
    token: String,
}

impl Versioned for ApiKey {
    fn version(&self) -> i64 {
        self.version
    }
    fn location(&self) -> String {
        format!("/company/api-keys/{}", self.id)
    }
}

impl Versioned for NewApiKeyWithToken {
    fn version(&self) -> i64 {
        self.key.version()
    }
    fn location(&self) -> String {
        self.key.location()
    }
}

impl Listed for ApiKey {
    const TABLE: &'static str = "(select k.*, u.last_used_at from api_keys as k \
        left join api_key_uses as u on u.tenant_id = k.tenant_id and u.key_id = k.id) as keys";
    const COLUMNS: &'static str = "id, name, prefix, permissions, created_by, last_used_at, expires_at, revoked_at, \
        created_at, updated_at, version";
    fn id(&self) -> Uuid {
        self.id.0
    }
    fn key(&self, _: &'static str) -> Key {
        Key::Time(self.created_at)
    }
}

/// A permission, `noun.verb`.
#[derive(Deserialize, ToSchema)]
#[schema(example = "products.read")]
struct PermissionName(String);

#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewApiKey {
    /// What it is for.
    #[garde(length(chars, min = 1, max = 100), custom(plain_text))]
    #[schema(value_type = PlainText<100>)]
    name: String,
    /// Out of those that you hold yourself; not those by which people manage keys and members.
    #[garde(length(min = 1, max = 100))]
    #[schema(min_items = 1, max_items = 100)]
    permissions: Vec<PermissionName>,
    /// At most 366 days from now, which is also what is taken when it is absent.
    #[garde(skip)]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
}

#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
struct ApiKeyPatch {
    #[serde(default)]
    #[garde(inner(length(chars, min = 1, max = 100), custom(plain_text)))]
    #[schema(value_type = PlainText<100>, required = false)]
    name: Patch<String>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ApiKeyFilter {
    /// The revoked ones instead of those in force.
    #[serde(default)]
    #[param(default = false)]
    revoked: bool,
}

/// List API keys, the newest first.
#[utoipa::path(get, path = "/company/api-keys", tag = "api-keys", operation_id = "list_api_keys",
    security(("bearer" = ["api_keys.read"])), params(ApiKeyFilter, PageParams),
    responses((status = 200, body = Page<ApiKey>)))]
async fn list(mut tx: TenantTx<ApiKeysRead>, list: List<ApiKeyFilter>) -> Result<Page<ApiKey>> {
    list.fetch(&mut tx, Sort::descending("created_at"), |query, filter| {
        query.push(if filter.revoked {
            " and revoked_at is not null"
        } else {
            " and revoked_at is null"
        });
    })
    .await
}

/// Make an API key.
///
/// The answer holds the token, once: it is not kept, not for an idempotency key either.
#[utoipa::path(post, path = "/company/api-keys", tag = "api-keys", operation_id = "create_api_key",
    security(("bearer" = ["api_keys.write"])), request_body = NewApiKey,
    responses((status = 201, body = NewApiKeyWithToken)))]
async fn create(
    State(app): State<App>,
    mut tx: TenantTx<ApiKeysWrite>,
    Valid(new): Valid<NewApiKey>,
) -> Result<impl IntoResponse> {
    let grants = take_turn(&mut tx).await?;
    let permissions = chosen(&grants, new.permissions)?;
    let expires_at = end(&app, new.expires_at)?;
    let id = ApiKeyId::new();
    let (token, hash) = token::fresh(id.0);
    let created_by = tx.caller().id();
    let key = sqlx::query_as!(
        ApiKey,
        r#"insert into api_keys (id, name, token_hash, prefix, permissions, created_by, expires_at)
           values ($1, $2, $3, $4, $5, $6, $7)
           returning id as "id: ApiKeyId", name, prefix, permissions, created_by, null::timestamptz as last_used_at,
                     expires_at, revoked_at, created_at, updated_at, version"#,
        id as _,
        new.name,
        &hash[..],
        token::prefix(&token),
        &permissions,
        created_by,
        expires_at as _
    )
    .fetch_one(&mut *tx)
    .await?;
    let created = Created(NewApiKeyWithToken { key, token });
    Ok((Extension(ShownOnce), created))
}

/// The permissions asked for, each once, if they are for keys and the caller has them.
fn chosen(grants: &Grants, asked: Vec<PermissionName>) -> Result<Vec<String>> {
    let known = |name: &str| roles::permissions().any(|known| known == name) && !is_for_people(name);
    let faults: Vec<_> = (0..)
        .zip(&asked)
        .filter(|(_, PermissionName(name))| !known(name))
        .map(|(at, _): (u32, _)| {
            FieldError::body(
                format!("/permissions/{at}"),
                "unknown-permission",
                "no API key can have such a permission",
            )
        })
        .collect();
    if !faults.is_empty() {
        return Err(Error::invalid(faults));
    }
    let mut names: Vec<String> = asked.into_iter().map(|PermissionName(name)| name).collect();
    names.sort_unstable();
    names.dedup();
    must_hold(grants, &names)?;
    Ok(names)
}

/// Nobody makes or edits a key that may do more than he.
fn must_hold(grants: &Grants, permissions: &[String]) -> Result<()> {
    match permissions.iter().find(|name| !grants.contains(name.as_str())) {
        Some(lacking) => Err(Error::forbidden(lacking)),
        None => Ok(()),
    }
}

/// When the key ends.
fn end(app: &App, asked: Option<Timestamp>) -> Result<Timestamp> {
    let now = app.clock.now();
    let latest = Timestamp(now + MAX_LIFE);
    match asked {
        None => Ok(latest),
        Some(at) if now < at.0 && at <= latest => Ok(at),
        Some(_) => Err(Error::invalid(vec![FieldError::body(
            "/expires_at",
            "range",
            "in the future, and at most 366 days from now",
        )])),
    }
}

async fn found(conn: &mut PgConnection, id: ApiKeyId) -> Result<ApiKey> {
    let key = sqlx::query_as!(
        ApiKey,
        r#"select k.id as "id: ApiKeyId", k.name, k.prefix, k.permissions, k.created_by,
                  u.last_used_at as "last_used_at?", k.expires_at, k.revoked_at, k.created_at, k.updated_at, k.version
             from api_keys as k left join api_key_uses as u on u.tenant_id = k.tenant_id and u.key_id = k.id
            where k.id = $1 and k.revoked_at is null"#,
        id as _
    );
    Ok(key.fetch_one(conn).await?)
}

/// Find an API key.
#[utoipa::path(get, path = "/company/api-keys/{api_key_id}", tag = "api-keys", operation_id = "find_api_key",
    security(("bearer" = ["api_keys.read"])), params(("api_key_id" = ApiKeyId, Path)),
    responses((status = 200, body = ApiKey)))]
async fn find(mut tx: TenantTx<ApiKeysRead>, Path(id): Path<ApiKeyId>) -> Result<Tagged<ApiKey>> {
    Ok(Tagged(found(&mut tx, id).await?))
}

/// Locks the key that the client saw, or fails. Returns what the caller may, and what the key may.
async fn lock(
    tx: &mut TenantTx<ApiKeysWrite>,
    id: ApiKeyId,
    if_match: &IfMatch,
) -> Result<(Grants, Vec<String>)> {
    let grants = take_turn(tx).await?;
    let key = sqlx::query!(
        "select version, permissions from api_keys where id = $1 and revoked_at is null for update",
        id as _
    )
    .fetch_one(&mut **tx)
    .await?;
    if_match.check(key.version)?;
    Ok((grants, key.permissions))
}

/// Rename an API key. Who lacks one of its permissions may not.
#[utoipa::path(patch, path = "/company/api-keys/{api_key_id}", tag = "api-keys", operation_id = "update_api_key",
    security(("bearer" = ["api_keys.write"])), params(("api_key_id" = ApiKeyId, Path)),
    request_body = ApiKeyPatch, responses((status = 200, body = ApiKey)))]
async fn update(
    mut tx: TenantTx<ApiKeysWrite>,
    Path(id): Path<ApiKeyId>,
    if_match: IfMatch,
    Valid(patch): Valid<ApiKeyPatch>,
) -> Result<Tagged<ApiKey>> {
    let (grants, permissions) = lock(&mut tx, id, &if_match).await?;
    must_hold(&grants, &permissions)?;
    sqlx::query!(
        "update api_keys set name = coalesce($2, name) where id = $1",
        id as _,
        patch.name.value()
    )
    .execute(&mut *tx)
    .await?;
    Ok(Tagged(found(&mut tx, id).await?))
}

/// Revoke an API key: the next request with it is refused, for good.
#[utoipa::path(delete, path = "/company/api-keys/{api_key_id}", tag = "api-keys", operation_id = "revoke_api_key",
    security(("bearer" = ["api_keys.write"])), params(("api_key_id" = ApiKeyId, Path)), responses((status = 204)))]
async fn revoke(
    mut tx: TenantTx<ApiKeysWrite>,
    Path(id): Path<ApiKeyId>,
    if_match: IfMatch,
) -> Result<(Extension<Changed>, NoContent)> {
    lock(&mut tx, id, &if_match).await?;
    sqlx::query!("update api_keys set revoked_at = now() where id = $1", id as _)
        .execute(&mut *tx)
        .await?;
    Ok((Extension(Changed(id.0)), NoContent))
}
