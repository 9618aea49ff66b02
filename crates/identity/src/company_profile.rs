//! The profile of the selected company: what its documents say of it.

use axum::Extension;
use axum::extract::State;
use company_settings::{DEFAULT_TIME_ZONE, is_time_zone, time_zone_name};
use garde::Validate;
use kernel::app::App;
use kernel::changes::Changed;
use kernel::prelude::*;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use sqlx::types::Json;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::NIT_CHECK_DIGIT_WRONG;
use crate::contact::{self, Nit};
use crate::logo::Logo;

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
    Constraint::invalid("companies_tax_regime_known", "/tax_regime"),
    Constraint::invalid(
        "companies_fiscal_responsibilities_known",
        "/fiscal_responsibilities",
    ),
    Constraint::invalid("companies_ciiu_code_format", "/ciiu_code"),
    Constraint::invalid("companies_municipality_code_known", "/municipality_code"),
    Constraint::invalid("companies_email_length", "/email"),
    Constraint::invalid("companies_website_length", "/website"),
];

pub fn module() -> Module {
    Module::new("company")
        .routes(routes!(find, update))
        .permissions(PERMISSIONS)
        .constraints(CONSTRAINTS)
        .problems(&[&NIT_CHECK_DIGIT_WRONG])
}

/// A company's profile.
#[derive(Serialize, ToSchema)]
pub struct Company {
    id: Uuid,
    /// Legal name (razón social).
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
    tax_regime: Option<String>,
    /// Codes of the DIAN.
    #[schema(example = json!(["O-13", "O-15"]))]
    fiscal_responsibilities: Vec<String>,
    #[schema(required = true)]
    economic_activity: Option<String>,
    #[schema(required = true, example = "4711")]
    ciiu_code: Option<String>,
    #[schema(required = true)]
    address: Option<String>,
    #[schema(required = true, example = "11001")]
    municipality_code: Option<String>,
    /// E.164.
    #[schema(example = "+573001234567")]
    phone_number: String,
    #[schema(required = true, example = "contacto@laesquina.co")]
    email: Option<String>,
    #[schema(required = true, example = "https://laesquina.co")]
    website: Option<String>,
    #[schema(required = true)]
    description: Option<String>,
    /// ISO 4217.
    #[schema(example = "COP")]
    currency: String,
    /// IANA; the same as in the company's settings.
    #[schema(example = "America/Bogota")]
    time_zone: String,
    /// `active`, or `suspended`: it reads, and does not write.
    #[schema(example = "active")]
    state: String,
    #[schema(value_type = Option<Logo>, required = true)]
    logo: Option<Json<Logo>>,
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
    fn is_fleeting(&self) -> bool {
        self.logo.is_some()
    }
}

/// The company's profile, read by either role.
pub async fn read(conn: &mut PgConnection, app: &App, company: Uuid) -> Result<Company> {
    let company = sqlx::query_as!(
        Company,
        r#"select tenant_id as id, name, trade_name, nit, nit_check_digit, tax_regime, fiscal_responsibilities,
                economic_activity, ciiu_code, address, municipality_code, phone_number, email, website, description,
                currency, coalesce(time_zone, $2) as "time_zone!", state, created_at, updated_at, version,
                case when logo_file_id is not null then json_build_object('file_id', logo_file_id, 'urls', logo_key)
                 end as "logo: Json<Logo>"
           from companies where tenant_id = $1"#,
        company,
        DEFAULT_TIME_ZONE
    );
    let mut company = company.fetch_one(conn).await?;
    company.logo.iter_mut().try_for_each(|logo| logo.sign(app))?;
    Ok(company)
}

/// How the company stands towards VAT.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum TaxRegime {
    /// Responsable de IVA.
    VatResponsible,
    /// No responsable de IVA.
    NotVatResponsible,
}

impl TaxRegime {
    fn name(self) -> &'static str {
        match self {
            TaxRegime::VatResponsible => "vat_responsible",
            TaxRegime::NotVatResponsible => "not_vat_responsible",
        }
    }
}

/// A fiscal responsibility, by its code on invoices (DIAN, Anexo técnico de factura electrónica).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
enum FiscalResponsibility {
    /// Gran contribuyente.
    #[serde(rename = "O-13")]
    LargeTaxpayer,
    /// Autorretenedor.
    #[serde(rename = "O-15")]
    SelfWithholder,
    /// Agente de retención IVA.
    #[serde(rename = "O-23")]
    VatWithholder,
    /// Régimen simple de tributación.
    #[serde(rename = "O-47")]
    SimpleRegime,
    /// No aplica, otros.
    #[serde(rename = "R-99-PN")]
    None,
}

impl FiscalResponsibility {
    fn code(self) -> &'static str {
        match self {
            FiscalResponsibility::LargeTaxpayer => "O-13",
            FiscalResponsibility::SelfWithholder => "O-15",
            FiscalResponsibility::VatWithholder => "O-23",
            FiscalResponsibility::SimpleRegime => "O-47",
            FiscalResponsibility::None => "R-99-PN",
        }
    }
}

#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
struct CompanyPatch {
    /// Legal name (razón social).
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
    #[garde(skip)]
    #[schema(value_type = Option<TaxRegime>)]
    tax_regime: Patch<Option<TaxRegime>>,
    /// Each once.
    #[serde(default)]
    #[garde(inner(custom(each_once)))]
    #[schema(value_type = Vec<FiscalResponsibility>, required = false, max_items = 5)]
    fiscal_responsibilities: Patch<Vec<FiscalResponsibility>>,
    #[serde(default)]
    #[garde(inner(inner(length(chars, min = 1, max = 150), custom(plain_text))))]
    #[schema(value_type = Option<PlainText<150>>)]
    economic_activity: Patch<Option<String>>,
    /// Four digits of the CIIU, fourth revision.
    #[serde(default)]
    #[garde(inner(inner(custom(|v: &String, _: &()| digits(v, 4)))))]
    #[schema(value_type = Option<String>, pattern = "^[0-9]{4}$", example = "4711")]
    ciiu_code: Patch<Option<String>>,
    #[serde(default)]
    #[garde(inner(inner(length(chars, min = 1, max = 255), custom(plain_text))))]
    #[schema(value_type = Option<PlainText<255>>)]
    address: Patch<Option<String>>,
    /// DIVIPOLA: two digits of the department, three of the municipality.
    #[serde(default)]
    #[garde(inner(inner(custom(|v: &String, _: &()| digits(v, 5)))))]
    #[schema(value_type = Option<String>, pattern = "^[0-9]{5}$", example = "11001")]
    municipality_code: Patch<Option<String>>,
    #[serde(default)]
    #[garde(inner(custom(|v: &String, c: &()| contact::phone(v, c))))]
    #[schema(value_type = String, required = false, example = "+573001234567")]
    phone_number: Patch<String>,
    #[serde(default)]
    #[garde(inner(inner(custom(|v: &String, c: &()| contact::email(v, c)))))]
    #[schema(value_type = Option<String>, format = Email, max_length = 254)]
    email: Patch<Option<String>>,
    /// With its scheme, http or https.
    #[serde(default)]
    #[garde(inner(inner(custom(web_address))))]
    #[schema(value_type = Option<String>, format = "uri", max_length = 255, example = "https://laesquina.co")]
    website: Patch<Option<String>>,
    #[serde(default)]
    #[garde(inner(inner(length(chars, min = 1, max = 500), custom(plain_text))))]
    #[schema(value_type = Option<PlainText<500>>)]
    description: Patch<Option<String>>,
    #[serde(default)]
    #[garde(inner(custom(|v: &String, c: &()| is_time_zone(v, c))))]
    #[schema(value_type = String, required = false, example = "America/Bogota")]
    time_zone: Patch<String>,
}

fn digits(value: &str, count: usize) -> garde::Result {
    if value.len() == count && value.bytes().all(|b| b.is_ascii_digit()) {
        Ok(())
    } else {
        Err(garde::Error::new(format!("digits: must be {count} digits")))
    }
}

fn each_once(values: &[FiscalResponsibility], _: &()) -> garde::Result {
    let repeated = |(i, value)| values[..i].contains(value);
    if values.iter().enumerate().any(repeated) {
        Err(garde::Error::new("unique: must name each once"))
    } else {
        Ok(())
    }
}

fn web_address(value: &str, _: &()) -> garde::Result {
    let plausible = || {
        let uri: http::Uri = value.parse().ok()?;
        let named = uri.host()?.contains('.') && !uri.authority()?.as_str().contains('@');
        (value.len() <= 255 && named && matches!(uri.scheme_str(), Some("http" | "https"))).then_some(())
    };
    plausible().ok_or_else(|| garde::Error::new("url: must be an address such as https://laesquina.co"))
}

/// The digits and the check digit.
pub fn parsed_nit(text: &str) -> Result<(String, String)> {
    match contact::nit(text) {
        Some(Nit::Valid { digits, check_digit }) => Ok((digits, check_digit)),
        _ => Err(Error::new(&NIT_CHECK_DIGIT_WRONG).at("/nit")),
    }
}

/// The selected company.
#[utoipa::path(get, path = "/company/me", tag = "company", operation_id = "find_company",
    security(("bearer" = ["company.read"])), responses((status = 200, body = Company)))]
async fn find(mut tx: TenantTx<CompanyRead>, State(app): State<App>) -> Result<Tagged<Company>> {
    let company = tx.caller().tenant_id;
    Ok(Tagged(read(&mut tx, &app, company).await?))
}

/// Change the selected company's profile.
#[utoipa::path(patch, path = "/company/me", tag = "company", operation_id = "update_company",
    security(("bearer" = ["company.write"])), request_body = CompanyPatch, responses((status = 200, body = Company)))]
async fn update(
    mut tx: TenantTx<CompanyWrite>,
    State(app): State<App>,
    if_match: IfMatch,
    Valid(patch): Valid<CompanyPatch>,
) -> Result<(Extension<Changed>, Tagged<Company>)> {
    let company = tx.caller().tenant_id;
    let nit = patch.nit.value().map(|nit| parsed_nit(nit)).transpose()?;
    let responsibilities: Option<Vec<String>> = patch
        .fiscal_responsibilities
        .value()
        .map(|all| all.iter().map(|one| one.code().to_owned()).collect());
    let version = sqlx::query_scalar!("select version from companies for no key update")
        .fetch_one(&mut *tx)
        .await?;
    if_match.check(version)?;
    sqlx::query!(
        "update companies set
                name = coalesce($1, name), trade_name = case when $2 then $3 else trade_name end,
                nit = coalesce($4, nit), nit_check_digit = coalesce($5, nit_check_digit),
                phone_number = coalesce($6, phone_number), address = case when $7 then $8 else address end,
                description = case when $9 then $10 else description end,
                economic_activity = case when $11 then $12 else economic_activity end,
                time_zone = coalesce($13, time_zone), tax_regime = case when $14 then $15 else tax_regime end,
                fiscal_responsibilities = coalesce($16, fiscal_responsibilities),
                ciiu_code = case when $17 then $18 else ciiu_code end,
                municipality_code = case when $19 then $20 else municipality_code end,
                email = case when $21 then $22 else email end, website = case when $23 then $24 else website end",
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
        patch.time_zone.value().and_then(|z| time_zone_name(z)),
        patch.tax_regime.is_set(),
        patch.tax_regime.flat().map(|regime| regime.name()),
        responsibilities.as_deref(),
        patch.ciiu_code.is_set(),
        patch.ciiu_code.flat(),
        patch.municipality_code.is_set(),
        patch.municipality_code.flat(),
        patch.email.is_set(),
        patch.email.flat(),
        patch.website.is_set(),
        patch.website.flat()
    )
    .execute(&mut *tx)
    .await?;
    let changed = read(&mut tx, &app, company).await?;
    Ok((Extension(Changed(company)), Tagged(changed)))
}
