//! Selecting a company: a token that carries it.

use axum::Extension;
use axum::extract::State;
use axum::response::IntoResponse;
use garde::Validate;
use kernel::app::App;
use kernel::caller::UserCaller;
use kernel::error::{COMPANY_CLOSED, NOT_A_MEMBER};
use kernel::output::json;
use kernel::prelude::*;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::Identity;

pub fn module() -> Module {
    Module::new("selection")
        .routes(routes!(select_company))
        .problems(&[&NOT_A_MEMBER, &COMPANY_CLOSED])
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
