//! Companies: founding one, and listing mine.

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use company_settings::{is_time_zone, time_zone_name};
use garde::Validate;
use kernel::app::App;
use kernel::caller::UserCaller;
use kernel::idempotency::UserKey;
use kernel::prelude::*;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::company_profile::{self, Company, parsed_nit};
use crate::memberships::TOO_MANY_COMPANIES;
use crate::{Identity, NIT_CHECK_DIGIT_WRONG, company_states, contact};

pub fn module() -> Module {
    Module::new("companies")
        .routes(routes!(create))
        .rate_limit("10/hour", per_user)
        .routes(routes!(mine))
        .constraints(&company_states::CONSTRAINTS)
        .problems(&[&NIT_CHECK_DIGIT_WRONG, &TOO_MANY_COMPANIES])
}

#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewCompany {
    #[garde(length(chars, min = 1, max = 150), custom(plain_text))]
    #[schema(value_type = PlainText<150>, example = "Supermercado La Esquina S.A.S.")]
    name: String,
    /// With or without dots; a check digit after a dash is verified, without one it is computed.
    #[garde(custom(|v: &String, c: &()| contact::nit_form(v, c)))]
    #[schema(pattern = "^[1-9][0-9]{5,14}(-[0-9])?$", example = "900123456-8")]
    nit: String,
    /// E.164; ten digits are taken as a Colombian number.
    #[garde(custom(|v: &String, c: &()| contact::phone(v, c)))]
    #[schema(example = "+573001234567")]
    phone_number: String,
    #[garde(inner(length(chars, min = 1, max = 150), custom(plain_text)))]
    #[schema(value_type = Option<PlainText<150>>)]
    trade_name: Option<String>,
    #[garde(inner(length(chars, min = 1, max = 255), custom(plain_text)))]
    #[schema(value_type = Option<PlainText<255>>)]
    address: Option<String>,
    #[garde(inner(length(chars, min = 1, max = 500), custom(plain_text)))]
    #[schema(value_type = Option<PlainText<500>>)]
    description: Option<String>,
    #[garde(inner(length(chars, min = 1, max = 150), custom(plain_text)))]
    #[schema(value_type = Option<PlainText<150>>)]
    economic_activity: Option<String>,
    /// IANA; `America/Bogota` when absent.
    #[garde(inner(custom(|v: &String, c: &()| is_time_zone(v, c))))]
    #[schema(example = "America/Bogota")]
    time_zone: Option<String>,
}

/// Found a company; its founder is its owner. A hundred are the most that one user owns.
#[utoipa::path(post, path = "/company", tag = "company", operation_id = "create_company",
    security(("bearer" = [])), request_body = NewCompany, responses((status = 201, body = Company)))]
async fn create(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Extension(user): Extension<UserCaller>,
    key: UserKey,
    Valid(new): Valid<NewCompany>,
) -> Result<Response> {
    let (nit, check_digit) = parsed_nit(&new.nit)?;
    #[expect(clippy::disallowed_methods, reason = "the company does not exist yet")]
    let mut tx = app.db.system().await?;
    if let Some(answer) = key.claim(&mut tx).await? {
        return Ok(answer);
    }
    let id = kernel::ids::new_id();
    sqlx::query!(
        "insert into companies (tenant_id, name, nit, nit_check_digit, phone_number, trade_name, address, description,
                                economic_activity, time_zone)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        id,
        new.name,
        nit,
        check_digit,
        contact::phone_number(&new.phone_number),
        new.trade_name,
        new.address,
        new.description,
        new.economic_activity,
        new.time_zone.as_deref().and_then(time_zone_name)
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "insert into memberships (tenant_id, user_id, role) values ($1, $2, 'owner')",
        id,
        user.user_id
    )
    .execute(&mut *tx)
    .await?;
    let company = company_profile::read(&mut tx, &app, id).await?;
    let response = key.keep(&mut tx, Created(company).into_response()).await?;
    tx.commit().await?;
    identity.0.changes.changed(user.user_id).await;
    Ok(response)
}

/// One of my companies.
#[derive(Serialize, ToSchema, sqlx::FromRow)]
struct MyCompany {
    id: Uuid,
    name: String,
    #[schema(required = true)]
    trade_name: Option<String>,
    nit: String,
    #[schema(example = "owner")]
    role: String,
    /// False while my membership is suspended, or the company suspended or closed.
    is_active: bool,
    joined_at: Timestamp,
}

impl Listed for MyCompany {
    const TABLE: &'static str = "(select c.tenant_id as id, c.name, c.trade_name, c.nit, m.user_id, m.role, \
        m.state = 'active' and c.state = 'active' as is_active, m.created_at as joined_at \
        from memberships m join companies c using (tenant_id)) as mine";
    const COLUMNS: &'static str = "id, name, trade_name, nit, role, is_active, joined_at";
    fn id(&self) -> Uuid {
        self.id
    }
    fn key(&self, _: &'static str) -> Key {
        Key::Text(self.name.clone())
    }
}

/// No filter: all of mine.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct Mine {}

/// List my companies by name.
#[utoipa::path(get, path = "/company/my_companies", tag = "company", operation_id = "list_my_companies",
    security(("bearer" = [])), params(PageParams), responses((status = 200, body = Page<MyCompany>)))]
async fn mine(
    State(app): State<App>,
    Extension(user): Extension<UserCaller>,
    list: List<Mine>,
) -> Result<Page<MyCompany>> {
    #[expect(clippy::disallowed_methods, reason = "companies of a user are global")]
    let mut tx = app.db.system().await?;
    list.fetch(&mut tx, Sort::ascending("name"), |query, _| {
        query.push(" and user_id = ").push_bind(user.user_id);
    })
    .await
}
