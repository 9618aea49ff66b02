//! The company's logo: one of its files that is a picture.

use axum::Extension;
use axum::extract::State;
use files::{FILE_IN_USE, FILE_NOT_FOUND, FileId, NOT_A_PICTURE, Picture, PictureUrls, expect_picture};
use garde::Validate;
use kernel::app::App;
use kernel::changes::Changed;
use kernel::prelude::*;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::ToSchema;

use crate::company_profile::{self, Company, CompanyWrite};

pub fn module() -> Module {
    Module::new("company-logo")
        .routes(routes!(set, unset))
        .problems(&[&FILE_NOT_FOUND, &NOT_A_PICTURE])
        .constraints(&[Constraint {
            name: "companies_logo_in_use",
            code: &FILE_IN_USE,
            pointer: None,
        }])
}

/// A company's logo.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Logo {
    file_id: FileId,
    /// Null where the process has no object store.
    #[schema(value_type = Option<PictureUrls>, required = true)]
    urls: Picture,
}

impl Logo {
    /// Makes the URLs.
    ///
    /// # Errors
    /// Those of [`Picture::sign`].
    pub fn sign(&mut self, app: &App) -> Result<()> {
        self.urls.sign(app)
    }
}

#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewLogo {
    /// A picture that is ready.
    #[garde(skip)]
    file_id: FileId,
}

/// Locks the company that the client saw, or fails.
async fn lock(conn: &mut PgConnection, if_match: &IfMatch) -> Result<()> {
    let version = sqlx::query_scalar!("select version from companies for no key update");
    if_match.check(version.fetch_one(conn).await?)
}

/// Show a file as the selected company's logo.
///
/// The file cannot be deleted as long as it is shown.
#[utoipa::path(put, path = "/company/me/logo", tag = "company", operation_id = "set_company_logo",
    security(("bearer" = ["company.write"])), request_body = NewLogo, responses((status = 200, body = Company)))]
async fn set(
    mut tx: TenantTx<CompanyWrite>,
    State(app): State<App>,
    if_match: IfMatch,
    Valid(new): Valid<NewLogo>,
) -> Result<(Extension<Changed>, Tagged<Company>)> {
    lock(&mut tx, &if_match).await?;
    expect_picture(&mut tx, new.file_id).await?;
    sqlx::query!(
        "update companies set logo_file_id = $1, logo_key = (select key from files where id = $1)",
        new.file_id as _
    )
    .execute(&mut *tx)
    .await
    .on_constraint("companies_logo_in_use", || {
        Error::new(&FILE_NOT_FOUND).at("/file_id")
    })?;
    let company = tx.caller().tenant_id;
    let read = company_profile::read(&mut tx, &app, company).await?;
    Ok((Extension(Changed(company)), Tagged(read)))
}

/// Take the selected company's logo away.
///
/// The file stays.
#[utoipa::path(delete, path = "/company/me/logo", tag = "company", operation_id = "unset_company_logo",
    security(("bearer" = ["company.write"])), responses((status = 204)))]
async fn unset(mut tx: TenantTx<CompanyWrite>, if_match: IfMatch) -> Result<(Extension<Changed>, NoContent)> {
    lock(&mut tx, &if_match).await?;
    sqlx::query!("update companies set logo_file_id = null, logo_key = null")
        .execute(&mut *tx)
        .await?;
    Ok((Extension(Changed(tx.caller().tenant_id)), NoContent))
}
