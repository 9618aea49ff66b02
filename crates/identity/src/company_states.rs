//! The states of a company: active, suspended (it reads, and does not write) and closed (neither).
//!
//! Operators change them, each time with a reason that is kept. Requests are refused where their
//! transaction begins; work that was accepted before is finished.

use kernel::app::App;
use kernel::error::{COMPANY_CLOSED, COMPANY_SUSPENDED};
use kernel::prelude::*;
use uuid::Uuid;

/// What the database raises at the begin of a transaction that may not be.
pub(crate) const CONSTRAINTS: [Constraint; 2] = [
    Constraint {
        name: "company_suspended",
        code: &COMPANY_SUSPENDED,
        pointer: None,
    },
    Constraint {
        name: "company_closed",
        code: &COMPANY_CLOSED,
        pointer: None,
    },
];

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompanyState {
    Active,
    Suspended,
    Closed,
}

impl CompanyState {
    /// As the database has it.
    pub fn name(self) -> &'static str {
        match self {
            CompanyState::Active => "active",
            CompanyState::Suspended => "suspended",
            CompanyState::Closed => "closed",
        }
    }
}

/// A change that was made.
#[derive(Debug)]
pub struct CompanyStateChange {
    pub state: String,
    pub reason: String,
    pub changed_at: Timestamp,
}

/// Puts a company into a state, for this reason (1 to 500 characters). Returns false, and records
/// nothing, when it is in that state already. Every process hears of it at once; what it writes is
/// refused from the commit on.
///
/// # Errors
/// `not-found`, or those of the database.
pub async fn set_company_state(app: &App, company: Uuid, state: CompanyState, reason: &str) -> Result<bool> {
    #[expect(clippy::disallowed_methods, reason = "an operator acts on any company")]
    let mut tx = app.db.system().await?;
    let current = sqlx::query_scalar!(
        "select state from companies where tenant_id = $1 for no key update",
        company
    )
    .fetch_one(&mut *tx)
    .await?;
    if current == state.name() {
        return Ok(false);
    }
    sqlx::query!(
        "update companies set state = $2 where tenant_id = $1",
        company,
        state.name()
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "insert into company_states (id, company_id, state, reason, changed_at) values ($1, $2, $3, $4, $5)",
        kernel::ids::new_id(),
        company,
        state.name(),
        reason,
        Timestamp(app.clock.now()) as _
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    app.changes.changed(company).await;
    Ok(true)
}

/// The changes of a company's state, oldest first.
///
/// # Errors
/// `not-found` for an unknown company, or those of the database.
pub async fn company_states(app: &App, company: Uuid) -> Result<Vec<CompanyStateChange>> {
    #[expect(clippy::disallowed_methods, reason = "an operator looks at any company")]
    let mut tx = app.db.system().await?;
    let known = sqlx::query_scalar!("select tenant_id from companies where tenant_id = $1", company);
    known.fetch_one(&mut *tx).await?;
    let changes = sqlx::query_as!(
        CompanyStateChange,
        "select state, reason, changed_at from company_states where company_id = $1 order by changed_at, id",
        company
    );
    Ok(changes.fetch_all(&mut *tx).await?)
}
