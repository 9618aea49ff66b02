//! The signed-in user, and what he may do where.

use axum::Extension;
use axum::extract::State;
use axum::response::IntoResponse;
use kernel::app::App;
use kernel::caller::{Caller, UserCaller};
use kernel::db::SystemTx;
use kernel::output::json;
use kernel::prelude::*;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::memberships::{self, Membership};
use crate::registration::Profile;

pub fn module() -> Module {
    Module::new("me").routes(routes!(me)).routes(routes!(context))
}

/// A user, as he sees himself.
#[derive(Serialize, ToSchema)]
pub struct User {
    pub id: Uuid,
    #[schema(example = "user@example.com")]
    pub email: String,
    pub is_active: bool,
    pub email_verified: bool,
    /// Before the first sign-in.
    pub first_login: bool,
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
            r#"select id, email, is_active, email_verified_at is not null as "email_verified!",
                      last_login_at is null as "first_login!", first_name, last_name, phone_number, created_at
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
            profile: Profile {
                first_name: row.first_name,
                last_name: row.last_name,
                phone_number: row.phone_number,
            },
            created_at: row.created_at,
        })
    }
}

/// The signed-in user.
#[utoipa::path(get, path = "/auth/me", tag = "auth", operation_id = "me",
    security(("bearer" = [])), responses((status = 200, body = User)))]
async fn me(State(app): State<App>, Extension(caller): Extension<UserCaller>) -> Result<impl IntoResponse> {
    #[expect(clippy::disallowed_methods, reason = "users are global")]
    let mut tx = app.db.system().await?;
    Ok(json(User::find(&mut tx, caller.user_id).await?))
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
