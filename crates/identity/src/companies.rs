//! Companies: founding one, listing mine, and the profile of the selected one.

use axum::Extension;
use axum::extract::State;
use garde::Validate;
use kernel::app::App;
use kernel::caller::UserCaller;
use kernel::prelude::*;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::contact::{self, Nit};
use crate::{Identity, NIT_CHECK_DIGIT_WRONG};

permissions! {
    /// See the company's profile.
    CompanyRead = "company.read", read_only;
    /// Change the company's profile.
    CompanyWrite = "company.write";
}

const CONSTRAINTS: &[Constraint] = &[
    Constraint::invalid("companies_name_length", "/name"),
    Constraint::invalid("companies_trade_name_length", "/trade_name"),
    Constraint::invalid("companies_nit_format", "/nit"),
    Constraint {
        name: "companies_nit_check_digit",
        code: &NIT_CHECK_DIGIT_WRONG,
        pointer: Some("/nit"),
    },
    Constraint::invalid("companies_address_length", "/address"),
    Constraint::invalid("companies_phone_format", "/phone_number"),
    Constraint::invalid("companies_description_length", "/description"),
    Constraint::invalid("companies_economic_activity_length", "/economic_activity"),
    Constraint::invalid("companies_currency_format", "/currency"),
    Constraint::invalid("companies_time_zone_length", "/time_zone"),
];

pub fn module() -> Module {
    Module::new("company")
        .routes(routes!(create))
        .routes(routes!(mine))
        .routes(routes!(find, update))
        .permissions(PERMISSIONS)
        .constraints(CONSTRAINTS)
        .problems(&[&NIT_CHECK_DIGIT_WRONG])
}

/// A company's profile.
#[derive(Serialize, ToSchema, sqlx::FromRow)]
pub struct Company {
    id: Uuid,
    #[schema(example = "Supermercado La Esquina S.A.S.")]
    name: String,
    #[schema(required = true, example = "La Esquina")]
    trade_name: Option<String>,
    /// Without its check digit.
    #[schema(example = "900123456")]
    nit: String,
    #[schema(example = "8")]
    nit_check_digit: String,
    #[schema(required = true)]
    address: Option<String>,
    /// E.164.
    #[schema(example = "+573001234567")]
    phone_number: String,
    #[schema(required = true)]
    description: Option<String>,
    #[schema(required = true)]
    economic_activity: Option<String>,
    /// ISO 4217.
    #[schema(example = "COP")]
    currency: String,
    /// IANA.
    #[schema(example = "America/Bogota")]
    time_zone: String,
    created_at: Timestamp,
    updated_at: Timestamp,
    #[serde(skip)]
    version: i64,
}

impl Versioned for Company {
    fn version(&self) -> i64 {
        self.version
    }
    fn location(&self) -> String {
        "/company/me".to_owned()
    }
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
    #[garde(inner(custom(|v: &String, c: &()| contact::time_zone(v, c))))]
    #[schema(example = "America/Bogota")]
    time_zone: Option<String>,
}

#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
struct CompanyPatch {
    #[serde(default)]
    #[garde(inner(length(chars, min = 1, max = 150), custom(plain_text)))]
    #[schema(value_type = PlainText<150>, required = false)]
    name: Patch<String>,
    #[serde(default)]
    #[garde(inner(inner(length(chars, min = 1, max = 150), custom(plain_text))))]
    #[schema(value_type = Option<PlainText<150>>)]
    trade_name: Patch<Option<String>>,
    #[serde(default)]
    #[garde(inner(custom(|v: &String, c: &()| contact::nit_form(v, c))))]
    #[schema(value_type = String, required = false, pattern = "^[1-9][0-9]{5,14}(-[0-9])?$")]
    nit: Patch<String>,
    #[serde(default)]
    #[garde(inner(custom(|v: &String, c: &()| contact::phone(v, c))))]
    #[schema(value_type = String, required = false, example = "+573001234567")]
    phone_number: Patch<String>,
    #[serde(default)]
    #[garde(inner(inner(length(chars, min = 1, max = 255), custom(plain_text))))]
    #[schema(value_type = Option<PlainText<255>>)]
    address: Patch<Option<String>>,
    #[serde(default)]
    #[garde(inner(inner(length(chars, min = 1, max = 500), custom(plain_text))))]
    #[schema(value_type = Option<PlainText<500>>)]
    description: Patch<Option<String>>,
    #[serde(default)]
    #[garde(inner(inner(length(chars, min = 1, max = 150), custom(plain_text))))]
    #[schema(value_type = Option<PlainText<150>>)]
    economic_activity: Patch<Option<String>>,
    #[serde(default)]
    #[garde(inner(custom(|v: &String, c: &()| contact::time_zone(v, c))))]
    #[schema(value_type = String, required = false, example = "America/Bogota")]
    time_zone: Patch<String>,
}

/// The digits and the check digit.
fn parsed_nit(text: &str) -> Result<(String, String)> {
    match contact::nit(text) {
        Some(Nit::Valid { digits, check_digit }) => Ok((digits, check_digit)),
        _ => Err(Error::new(&NIT_CHECK_DIGIT_WRONG).at("/nit")),
    }
}

/// Found a company; its founder is its owner.
#[utoipa::path(post, path = "/company", tag = "company", operation_id = "create_company",
    security(("bearer" = [])), request_body = NewCompany, responses((status = 201, body = Company)))]
async fn create(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Extension(user): Extension<UserCaller>,
    Valid(new): Valid<NewCompany>,
) -> Result<Created<Company>> {
    let (nit, check_digit) = parsed_nit(&new.nit)?;
    #[expect(clippy::disallowed_methods, reason = "the company does not exist yet")]
    let mut tx = app.db.system().await?;
    let company = sqlx::query_as!(
        Company,
        "insert into companies (tenant_id, name, nit, nit_check_digit, phone_number, trade_name, address, description,
                                economic_activity, time_zone)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, coalesce($10, 'America/Bogota'))
         returning tenant_id as id, name, trade_name, nit, nit_check_digit, address, phone_number, description,
                   economic_activity, currency, time_zone, created_at, updated_at, version",
        kernel::ids::new_id(),
        new.name,
        nit,
        check_digit,
        contact::phone_number(&new.phone_number),
        new.trade_name,
        new.address,
        new.description,
        new.economic_activity,
        new.time_zone.as_deref().and_then(contact::time_zone_name)
    )
    .fetch_one(&mut *tx)
    .await?;
    sqlx::query!(
        "insert into memberships (tenant_id, user_id, role) values ($1, $2, 'owner')",
        company.id,
        user.user_id
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    identity.0.callers.changed(user.user_id).await;
    Ok(Created(company))
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
    /// False while my membership or the company is suspended.
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

/// The selected company.
#[utoipa::path(get, path = "/company/me", tag = "company", operation_id = "find_company",
    security(("bearer" = ["company.read"])), responses((status = 200, body = Company)))]
async fn find(mut tx: TenantTx<CompanyRead>) -> Result<Tagged<Company>> {
    let company = sqlx::query_as!(
        Company,
        "select tenant_id as id, name, trade_name, nit, nit_check_digit, address, phone_number, description,
                economic_activity, currency, time_zone, created_at, updated_at, version
           from companies"
    )
    .fetch_one(&mut *tx)
    .await?;
    Ok(Tagged(company))
}

/// Change the selected company's profile.
#[utoipa::path(patch, path = "/company/me", tag = "company", operation_id = "update_company",
    security(("bearer" = ["company.write"])), request_body = CompanyPatch, responses((status = 200, body = Company)))]
async fn update(
    mut tx: TenantTx<CompanyWrite>,
    if_match: IfMatch,
    Valid(patch): Valid<CompanyPatch>,
) -> Result<Tagged<Company>> {
    let nit = patch.nit.value().map(|nit| parsed_nit(nit)).transpose()?;
    let version = sqlx::query_scalar!("select version from companies for update")
        .fetch_one(&mut *tx)
        .await?;
    if_match.check(version)?;
    let company = sqlx::query_as!(
        Company,
        "update companies set
                name = coalesce($1, name), trade_name = case when $2 then $3 else trade_name end,
                nit = coalesce($4, nit), nit_check_digit = coalesce($5, nit_check_digit),
                phone_number = coalesce($6, phone_number), address = case when $7 then $8 else address end,
                description = case when $9 then $10 else description end,
                economic_activity = case when $11 then $12 else economic_activity end,
                time_zone = coalesce($13, time_zone)
         returning tenant_id as id, name, trade_name, nit, nit_check_digit, address, phone_number, description,
                   economic_activity, currency, time_zone, created_at, updated_at, version",
        patch.name.value(),
        patch.trade_name.is_set(),
        patch.trade_name.flat(),
        nit.as_ref().map(|(digits, _)| digits),
        nit.as_ref().map(|(_, check_digit)| check_digit),
        patch.phone_number.value().and_then(|p| contact::phone_number(p)),
        patch.address.is_set(),
        patch.address.flat(),
        patch.description.is_set(),
        patch.description.flat(),
        patch.economic_activity.is_set(),
        patch.economic_activity.flat(),
        patch.time_zone.value().and_then(|z| contact::time_zone_name(z))
    )
    .fetch_one(&mut *tx)
    .await?;
    Ok(Tagged(company))
}
