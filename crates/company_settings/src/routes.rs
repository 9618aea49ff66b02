//! `/company/settings`.
//!
//! Settings lie in the company's row, which is their lock and whose version is theirs: a changed profile
//! changes their `ETag` too.

use axum::Extension;
use axum::extract::State;
use kernel::app::App;
use kernel::caller::Caller;
use kernel::changes::Changed;
use kernel::perm::Permission;
use kernel::prelude::*;
use serde_json::Value;
use sqlx::PgConnection;
use sqlx::types::Json;

use crate::cache::{Row, SettingsCache};
use crate::document::CompanySettings;
use crate::patch::{Chosen, SettingsPatch};
use crate::time_zones::time_zone_name;

permissions! {
    /// See the company's settings.
    CompanySettingsRead = "company_settings.read", read_only;
    /// Change the company's settings.
    CompanySettingsWrite = "company_settings.write";
}

const CONSTRAINTS: &[Constraint] = &[Constraint::invalid("companies_settings_form", "")];

pub(crate) fn module() -> Module {
    Module::new("company-settings")
        .routes(routes!(find, update))
        .permissions(PERMISSIONS)
        .constraints(CONSTRAINTS)
}

/// The selected company's settings, defaults where it has chosen nothing.
#[utoipa::path(get, path = "/company/settings", tag = "company", operation_id = "find_company_settings",
    security(("bearer" = ["company_settings.read"])), responses((status = 200, body = CompanySettings)))]
async fn find(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
) -> Result<Tagged<CompanySettings>> {
    if !caller.may(CompanySettingsRead::NAME) {
        return Err(Error::forbidden(CompanySettingsRead::NAME));
    }
    let settings = app.part::<SettingsCache>()?.of(caller.tenant_id).await?;
    Ok(Tagged(CompanySettings::clone(&settings)))
}

/// Change the selected company's settings.
///
/// An absent setting stays as it is; null takes the default again, of one setting or of a whole section.
#[utoipa::path(patch, path = "/company/settings", tag = "company", operation_id = "update_company_settings",
    security(("bearer" = ["company_settings.write"])), request_body = SettingsPatch,
    responses((status = 200, body = CompanySettings)))]
async fn update(
    mut tx: TenantTx<CompanySettingsWrite>,
    State(app): State<App>,
    if_match: IfMatch,
    Valid(patch): Valid<SettingsPatch>,
) -> Result<(Extension<Changed>, Tagged<CompanySettings>)> {
    let defaults = app.part::<SettingsCache>()?.defaults();
    let row = sqlx::query_as!(
        Row,
        r#"select settings as "settings: _", time_zone, version from companies for no key update"#
    );
    let row = row.fetch_one(&mut *tx).await?;
    if_match.check(row.version)?;
    let before = row.chosen();
    let after = before.patched(&patch, defaults)?;
    // Where nothing changes, what others have read still fits.
    let row = if after == before {
        row
    } else {
        keep(&mut tx, after, defaults).await?
    };
    let changed = Changed(tx.caller().tenant_id);
    Ok((Extension(changed), Tagged(row.over(defaults)?)))
}

async fn keep(
    conn: &mut PgConnection,
    Chosen(mut chosen): Chosen,
    defaults: &CompanySettings,
) -> Result<Row> {
    let zone = match chosen.remove("time_zone") {
        Some(Value::String(zone)) => time_zone_name(&zone).filter(|zone| *zone != defaults.time_zone),
        _ => None,
    };
    let row = sqlx::query_as!(
        Row,
        r#"update companies set settings = $1, time_zone = $2
           returning settings as "settings: _", time_zone, version"#,
        Json(chosen) as _,
        zone
    );
    Ok(row.fetch_one(conn).await?)
}
