//! The extension point: a permission and a tenant-scoped transaction in one handler argument.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use axum::extract::FromRequestParts;
use http::request::Parts;
use sqlx::{AssertSqlSafe, PgConnection, SqlSafeStr};

use super::scope::{Left, Slot};
use super::{Bell, Db, Tx};
use crate::actor::Origin;
use crate::app::App;
use crate::caller::{Caller, Cause};
use crate::error::{COMPANY_SUSPENDED, Error, IDEMPOTENCY_KEY_IN_USE, Result, UNAUTHENTICATED};
use crate::idempotency::Attempt;
use crate::job::Background;
use crate::perm::Permission;

/// A transaction in which only the caller's company exists, held by a caller with permission `P`.
///
/// The rule to remember: **a successful response commits, anything else does not.**
/// The transaction is read-only when the permission is. It dereferences to [`PgConnection`].
///
/// The pool itself cannot be reached:
/// ```compile_fail,E0616
/// fn pool(app: &kernel::app::App) {
///     let _ = &app.db.app;
/// }
/// ```
/// and SQL put together at run time does not compile:
/// ```compile_fail,E0277
/// async fn dynamic(mut tx: kernel::db::TenantTx<kernel::perm::Nothing>, table: &str) {
///     let _ = sqlx::query(&format!("select * from {table}")).execute(&mut *tx).await;
/// }
/// ```
pub struct TenantTx<P> {
    tx: Option<Tx>,
    /// Where the transaction goes to be ended by the response; none outside a request.
    slot: Option<Slot>,
    caller: Caller,
    cause: Cause,
    /// The request's idempotency key, claimed by this transaction.
    attempt: Option<Attempt>,
    /// The bell to ring after the commit, when a job was enqueued.
    bell: Bell,
    enqueued: bool,
    permission: PhantomData<P>,
}

impl<P> TenantTx<P> {
    /// Who is calling, and for which company.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Wakes workers as soon as the transaction has committed.
    pub(crate) fn ring_after_commit(&mut self) {
        self.enqueued = true;
    }

    /// The same transaction, on behalf of this request.
    pub(crate) fn caused_by(mut self, cause: Cause) -> Self {
        self.cause = cause;
        self
    }

    /// The request that it is about.
    pub(crate) fn cause(&self) -> &Cause {
        &self.cause
    }
}

impl<P: Permission> TenantTx<P> {
    /// Outside the scope of a response (background work, seeding, several transactions in a request): commits only by
    /// [`commit`](Self::commit).
    ///
    /// # Errors
    /// `permission-missing`, or those of the database.
    pub async fn begin(db: &Db, caller: Caller) -> Result<Self> {
        TenantTx::open(db, caller, Origin::current().cause(), None).await
    }

    /// Makes the changes durable now.
    ///
    /// # Errors
    /// A violated deferred constraint, or a lost connection: then the outcome is unknown.
    pub async fn commit(mut self) -> Result<()> {
        if let Some(tx) = self.tx.take() {
            tx.commit().await?;
        }
        if self.enqueued {
            self.bell.ring();
        }
        Ok(())
    }

    async fn open(db: &Db, caller: Caller, cause: Cause, slot: Option<Slot>) -> Result<Self> {
        if !caller.may(P::NAME) {
            return Err(Error::forbidden(P::NAME));
        }
        let mode = if P::READ_ONLY {
            Mode::Read
        } else if P::NAME == Background::NAME {
            Mode::Background
        } else if caller.suspended {
            return Err(Error::new(&COMPANY_SUSPENDED));
        } else {
            Mode::Write
        };
        let tx = db.tenant(&caller, mode).await?;
        Ok(TenantTx {
            tx: Some(tx),
            slot,
            caller,
            cause,
            attempt: None,
            bell: db.bell.clone(),
            enqueued: false,
            permission: PhantomData,
        })
    }
}

/// What a transaction is for.
#[derive(Clone, Copy)]
enum Mode {
    Read,
    /// Refused by the database itself unless the company is active.
    Write,
    /// Work accepted before, which is finished whatever the company's state is now.
    Background,
}

impl Mode {
    fn begin(self) -> &'static str {
        match self {
            Mode::Read => "BEGIN READ ONLY",
            Mode::Write | Mode::Background => "BEGIN",
        }
    }

    fn check(self) -> &'static str {
        match self {
            Mode::Write => "; SELECT app_must_write()",
            Mode::Read | Mode::Background => "",
        }
    }
}

impl Db {
    /// Opens the scope in one round trip: BEGIN, the settings and the check of the company's state
    /// travel in one simple-protocol message. The settings end with the transaction, so a pooled
    /// connection carries nothing over. Who may write says who it is, for the audit trail.
    #[expect(
        clippy::disallowed_methods,
        reason = "the values are UUIDs and harmless characters, formatted here; SET takes no parameters"
    )]
    async fn tenant(&self, caller: &Caller, mode: Mode) -> Result<Tx> {
        let (begin, tenant, user) = (mode.begin(), caller.tenant_id, caller.user.user_id);
        let scope =
            format!("{begin}; SET LOCAL app.tenant_id = '{tenant}'; SET LOCAL app.user_id = '{user}'");
        let statement = match mode {
            Mode::Read => scope,
            Mode::Write | Mode::Background => {
                let (origin, check) = (Origin::current().or_by(caller).setting(), mode.check());
                format!("{scope}; SET LOCAL app.origin = '{origin}'{check}")
            }
        };
        self.app.begin(AssertSqlSafe(statement).into_sql_str()).await
    }
}

impl<P: Permission> FromRequestParts<App> for TenantTx<P> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self> {
        let caller = parts.extensions.get::<Caller>().ok_or(&UNAUTHENTICATED)?.clone();
        let slot = parts
            .extensions
            .get::<Slot>()
            .ok_or_else(|| anyhow::anyhow!("route outside the tenant scope"))?
            .clone();
        let cause = parts.extensions.get::<Cause>().cloned().unwrap_or_default();
        let mut tx = TenantTx::open(&app.db, caller, cause, Some(slot.clone())).await?;
        if let Some(attempt) = parts.extensions.get::<Attempt>().filter(|_| !P::READ_ONLY) {
            if let Some(answer) = attempt.claim(&mut tx).await? {
                drop(tx);
                slot.put(Left::Answered(answer));
                // Never sent: the answer takes its place.
                return Err(Error::new(&IDEMPOTENCY_KEY_IN_USE));
            }
            tx.attempt = Some(attempt.clone());
        }
        Ok(tx)
    }
}

const HELD: &str = "held until drop";

impl<P> Deref for TenantTx<P> {
    type Target = PgConnection;
    fn deref(&self) -> &PgConnection {
        self.tx.as_ref().expect(HELD)
    }
}

impl<P> DerefMut for TenantTx<P> {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.tx.as_mut().expect(HELD)
    }
}

impl<P> Drop for TenantTx<P> {
    fn drop(&mut self) {
        if let (Some(tx), Some(slot)) = (self.tx.take(), &self.slot) {
            slot.put(Left::Open {
                tx,
                bell: self.enqueued.then(|| self.bell.clone()),
                attempt: self.attempt.take(),
            });
        }
    }
}
