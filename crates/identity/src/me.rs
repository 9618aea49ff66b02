//! The signed-in user, and what he may do where.

use axum::Extension;
use axum::extract::State;
use axum::response::IntoResponse;
use files::Avatar;
use garde::Validate;
use kernel::app::App;
use kernel::caller::{Caller, UserCaller};
use kernel::db::SystemTx;
use kernel::input::object;
use kernel::language::Language;
use kernel::output::json;
use kernel::prelude::*;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::contact;
use crate::memberships::{self, Membership};

const CONSTRAINTS: &[Constraint] = &[
    Constraint::invalid("users_first_name_length", "/profile/first_name"),
    Constraint::invalid("users_last_name_length", "/profile/last_name"),
    Constraint::invalid("users_phone_format", "/profile/phone_number"),
    Constraint::invalid("users_dni_format", "/profile/dni"),
];

pub fn module() -> Module {
    Module::new("me")
        .routes(routes!(me, update))
        .routes(routes!(context))
        .constraints(CONSTRAINTS)
}

/// The person.
#[derive(Clone, Deserialize, Serialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    #[garde(length(chars, min = 1, max = 50), custom(plain_text))]
    #[schema(value_type = PlainText<50>, example = "Ana")]
    pub first_name: String,
    #[garde(length(chars, min = 1, max = 50), custom(plain_text))]
    #[schema(value_type = PlainText<50>, example = "Gómez")]
    pub last_name: String,
    /// E.164; ten digits are taken as a Colombian number.
    #[garde(inner(custom(|v: &String, c: &()| contact::phone(v, c))))]
    #[schema(example = "+573001234567")]
    pub phone_number: Option<String>,
    /// Number of the identity document, letters in upper case, without dots.
    #[garde(inner(custom(|v: &String, c: &()| contact::dni(v, c))))]
    #[schema(example = "1032456789")]
    pub dni: Option<String>,
}

/// A user, as he sees himself.
#[derive(Serialize, ToSchema)]
pub struct User {
    pub id: Uuid,
    #[schema(example = "user@example.com")]
    pub email: String,
    pub is_active: bool,
    pub email_verified: bool,
    /// True until the client has shown its introduction and says so.
    pub first_login: bool,
    /// Of mails.
    pub language: Language,
    pub profile: Profile,
    pub created_at: Timestamp,
}

impl User {
    /// The user of this id.
    ///
    /// # Errors
    /// `not-found`.
    pub async fn find(tx: &mut SystemTx, id: Uuid) -> Result<User> {
        let row = sqlx::query!(
            r#"select id, email, is_active, email_verified_at is not null as "email_verified!", first_login, language,
                      first_name, last_name, phone_number, dni, created_at
                 from users where id = $1"#,
            id
        )
        .fetch_one(&mut **tx)
        .await?;
        Ok(User {
            id: row.id,
            email: row.email,
            is_active: row.is_active,
            email_verified: row.email_verified,
            first_login: row.first_login,
            language: Language::of_tag(&row.language).unwrap_or_default(),
            profile: Profile {
                first_name: row.first_name,
                last_name: row.last_name,
                phone_number: row.phone_number,
                dni: row.dni,
            },
            created_at: row.created_at,
        })
    }
}

#[derive(Serialize, ToSchema)]
struct Me {
    #[serde(flatten)]
    user: User,
    /// My picture; null when I have none.
    #[schema(required = true)]
    avatar: Option<Avatar>,
}

impl Me {
    async fn find(tx: &mut SystemTx, app: &App, id: Uuid) -> Result<Me> {
        Ok(Me {
            user: User::find(tx, id).await?,
            avatar: Avatar::find(tx, app, id).await?,
        })
    }
}

/// The signed-in user.
#[utoipa::path(get, path = "/auth/me", tag = "auth", operation_id = "me",
    security(("bearer" = [])), responses((status = 200, body = Me)))]
async fn me(State(app): State<App>, Extension(caller): Extension<UserCaller>) -> Result<impl IntoResponse> {
    #[expect(clippy::disallowed_methods, reason = "users are global")]
    let mut tx = app.db.system().await?;
    Ok(json(Me::find(&mut tx, &app, caller.user_id).await?))
}

#[derive(Default, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
struct UserPatch {
    #[serde(default, deserialize_with = "object")]
    #[garde(dive)]
    #[schema(required = false)]
    profile: ProfilePatch,
    #[serde(default)]
    #[garde(skip)]
    #[schema(value_type = Language, required = false, example = "es")]
    language: Patch<Language>,
    /// False once the client has shown its introduction.
    #[serde(default)]
    #[garde(skip)]
    #[schema(value_type = bool, required = false)]
    first_login: Patch<bool>,
}

#[derive(Default, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
struct ProfilePatch {
    #[serde(default)]
    #[garde(inner(length(chars, min = 1, max = 50), custom(plain_text)))]
    #[schema(value_type = PlainText<50>, required = false, example = "Ana")]
    first_name: Patch<String>,
    #[serde(default)]
    #[garde(inner(length(chars, min = 1, max = 50), custom(plain_text)))]
    #[schema(value_type = PlainText<50>, required = false, example = "Gómez")]
    last_name: Patch<String>,
    #[serde(default)]
    #[garde(inner(inner(custom(|v: &String, c: &()| contact::phone(v, c)))))]
    #[schema(value_type = Option<String>, example = "+573001234567")]
    phone_number: Patch<Option<String>>,
    #[serde(default)]
    #[garde(inner(inner(custom(|v: &String, c: &()| contact::dni(v, c)))))]
    #[schema(value_type = Option<String>, example = "1032456789")]
    dni: Patch<Option<String>>,
}

/// Change what is known of me. The address is changed by `/auth/change-email`.
#[utoipa::path(patch, path = "/auth/me", tag = "auth", operation_id = "update_me",
    security(("bearer" = [])), request_body = UserPatch, responses((status = 200, body = Me)))]
async fn update(
    State(app): State<App>,
    Extension(caller): Extension<UserCaller>,
    Valid(patch): Valid<UserPatch>,
) -> Result<impl IntoResponse> {
    let profile = &patch.profile;
    #[expect(clippy::disallowed_methods, reason = "users are global")]
    let mut tx = app.db.system().await?;
    sqlx::query!(
        "update users set first_name = coalesce($2, first_name), last_name = coalesce($3, last_name),
                phone_number = case when $4 then $5 else phone_number end, dni = case when $6 then $7 else dni end,
                language = coalesce($8, language), first_login = coalesce($9, first_login), updated_at = now()
          where id = $1",
        caller.user_id,
        profile.first_name.value(),
        profile.last_name.value(),
        profile.phone_number.is_set(),
        profile.phone_number.flat().and_then(|phone| contact::phone_number(phone)),
        profile.dni.is_set(),
        profile.dni.flat().and_then(|dni| contact::dni_number(dni)),
        patch.language.value().map(|language| language.code()),
        patch.first_login.value()
    )
    .execute(&mut *tx)
    .await?;
    let me = Me::find(&mut tx, &app, caller.user_id).await?;
    tx.commit().await?;
    Ok(json(me))
}

#[derive(Serialize, ToSchema)]
struct Context {
    user_id: Uuid,
    /// The selected company, by header or context token.
    #[schema(required = true)]
    tenant_id: Option<Uuid>,
    /// My role in it.
    #[schema(required = true, example = "owner")]
    user_role: Option<&'static str>,
    /// What I may do in it.
    #[schema(example = json!(["brands.read", "brands.write"]))]
    permissions: Vec<&'static str>,
    companies: Vec<Membership>,
}

/// My companies, and my role and permissions in the selected one.
#[utoipa::path(get, path = "/auth/context", tag = "auth", operation_id = "context",
    security(("bearer" = [])), responses((status = 200, body = Context)))]
async fn context(
    State(app): State<App>,
    Extension(user): Extension<UserCaller>,
    caller: Option<Extension<Caller>>,
) -> Result<impl IntoResponse> {
    #[expect(clippy::disallowed_methods, reason = "companies of a user are global")]
    let mut tx = app.db.system().await?;
    let companies = memberships::of_user(&mut tx, user.user_id).await?;
    let caller = caller.map(|Extension(caller)| caller);
    Ok(json(Context {
        user_id: user.user_id,
        tenant_id: caller.as_ref().map(|c| c.tenant_id),
        user_role: caller.as_ref().map(|c| c.role),
        permissions: caller
            .map(|c| c.grants.iter().copied().collect())
            .unwrap_or_default(),
        companies,
    }))
}
