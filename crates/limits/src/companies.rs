//! What operators allow a company more or less of than others. Callers carry it, so that a request looks
//! nothing up, and a change reaches every process as other changes of callers do.

use kernel::app::App;
use kernel::error::{Error, NOT_FOUND, OnConstraint, Result};
use kernel::limit::Rate;
use uuid::Uuid;

/// The rates that a company has in place of the defaults, by policy.
///
/// # Errors
/// `not-found` for an unknown company, or those of the database.
pub async fn company_limits(app: &App, company: Uuid) -> Result<Vec<(String, String)>> {
    #[expect(clippy::disallowed_methods, reason = "an operator looks at any company")]
    let mut tx = app.db.system().await?;
    let known = sqlx::query_scalar!("select tenant_id from companies where tenant_id = $1", company);
    known.fetch_one(&mut *tx).await?;
    let limits = sqlx::query!(
        "select policy, rate from company_limits where company_id = $1 order by policy",
        company
    );
    let limits = limits.fetch_all(&mut *tx).await?;
    Ok(limits
        .into_iter()
        .map(|limit| (limit.policy, limit.rate))
        .collect())
}

/// Gives a company this rate, or with none the default again.
///
/// # Errors
/// `not-found` for an unknown company, or those of the database.
pub async fn set_company_limit(app: &App, company: Uuid, policy: &str, rate: Option<Rate>) -> Result<()> {
    #[expect(clippy::disallowed_methods, reason = "an operator acts on any company")]
    let mut tx = app.db.system().await?;
    match rate {
        Some(rate) => {
            sqlx::query!(
                "insert into company_limits (company_id, policy, rate) values ($1, $2, $3)
                     on conflict (company_id, policy) do update set rate = $3, changed_at = now()",
                company,
                policy,
                rate.to_string()
            )
            .execute(&mut *tx)
            .await
            .on_constraint("company_limits_company", || Error::new(&NOT_FOUND))?;
        }
        None => {
            sqlx::query!(
                "delete from company_limits where company_id = $1 and policy = $2",
                company,
                policy
            )
            .execute(&mut *tx)
            .await?;
        }
    }
    tx.commit().await
}
