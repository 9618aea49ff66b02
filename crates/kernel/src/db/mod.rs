//! Database access. Two login roles with disjoint grants, one pool each; neither pool is reachable
//! from outside: tenant data goes through [`TenantTx`], global data through [`SystemTx`].

mod connect;
pub mod migrate;
mod scope;
mod system_tx;
mod tenant_tx;

pub use connect::{connect_options, ssl_free};
pub use scope::scope;
pub use system_tx::SystemTx;
pub use tenant_tx::TenantTx;

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgListener, PgPool, PgPoolOptions};
use sqlx::{Postgres, SqlSafeStr, SqlStr, Transaction};

use crate::error::Result;

/// Role of tenant-scoped requests: tenant tables only, under row-level security.
pub const APP_ROLE: &str = "ally_app";
/// Role of identity and operations: global tables, no grant on tenant tables.
pub const SYSTEM_ROLE: &str = "ally_system";
/// Schema of all our tables and functions.
pub const SCHEMA: &str = "ally";

/// How many connections and how long to wait for one.
#[derive(Clone, Debug)]
pub struct PoolSize {
    pub app: u32,
    pub system: u32,
    pub acquire_timeout: Duration,
}

/// The two pools of one process.
#[derive(Clone, Debug)]
pub struct Db {
    app: PgPool,
    system: PgPool,
}

impl Db {
    /// Opens both pools lazily: nothing is connected until the first use.
    ///
    /// `server` names host and database; user and password are replaced by those of the roles.
    pub fn connect_lazy(server: &PgConnectOptions, roles: &RolePasswords, size: &PoolSize) -> Db {
        let open = |role: &str, password: &str, max| {
            PgPoolOptions::new()
                .max_connections(max)
                .acquire_timeout(size.acquire_timeout)
                // BEGIN is the liveness test: see `begin`.
                .test_before_acquire(false)
                .idle_timeout(Duration::from_secs(300))
                .connect_lazy_with(server.clone().username(role).password(password))
        };
        Db {
            app: open(APP_ROLE, &roles.app, size.app),
            system: open(SYSTEM_ROLE, &roles.system, size.system),
        }
    }

    /// Starts a transaction on global tables. Identity and operations only; a tenant's data is not
    /// reachable with it.
    ///
    /// # Errors
    /// `busy` when no connection came free in time, `unavailable` when the database is not reachable.
    pub async fn system(&self) -> Result<SystemTx> {
        Ok(SystemTx::new(begin(&self.system, "BEGIN".into_sql_str()).await?))
    }

    /// Listens on a notification channel; the connection is outside the pools' limits.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn listen(&self, channel: &str) -> sqlx::Result<PgListener> {
        // A pool of its own: a listener keeps its connection, and one fewer could be none.
        let options = (*self.system.connect_options()).clone();
        let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(options);
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.listen(channel).await?;
        Ok(listener)
    }

    /// Connections now open and idle, (application, system); for health and tests.
    pub fn pool_state(&self) -> [(u32, usize); 2] {
        [
            (self.app.size(), self.app.num_idle()),
            (self.system.size(), self.system.num_idle()),
        ]
    }

    /// Closes all connections after what is running.
    pub async fn close(&self) {
        self.app.close().await;
        self.system.close().await;
    }
}

/// Passwords of the runtime roles.
#[derive(Clone)]
pub struct RolePasswords {
    pub app: String,
    pub system: String,
}

/// Begins a transaction, to the end even when the request is dropped meanwhile: sqlx would else
/// hand on a connection between BEGIN and its bookkeeping, inside an open transaction.
///
/// Connections that died while idle show here, at BEGIN, before anything was done: they are
/// discarded and the next one is tried, at most as many times as the pool has connections.
async fn begin(pool: &PgPool, statement: SqlStr) -> Result<Transaction<'static, Postgres>> {
    let pool = pool.clone();
    let begun = async move {
        let mut stale = pool.options().get_max_connections();
        loop {
            match pool.begin_with(statement.clone()).await {
                Err(error) if stale > 0 && is_stale(&error) => stale -= 1,
                result => return result,
            }
        }
    };
    Ok(ToTheEnd(Some(Box::pin(begun))).await?)
}

/// A future that is finished in a task of its own when it is dropped before its end. Its result is
/// dropped there: a complete transaction, which rolls back.
struct ToTheEnd<F: Future<Output: Send> + Send + 'static>(Option<Pin<Box<F>>>);

impl<F: Future<Output: Send> + Send + 'static> Future for ToTheEnd<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Some(future) = self.0.as_mut() else {
            return Poll::Pending;
        };
        let output = std::task::ready!(future.as_mut().poll(cx));
        self.0 = None;
        Poll::Ready(output)
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for ToTheEnd<F> {
    fn drop(&mut self) {
        if let (Some(future), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(future);
        }
    }
}

fn is_stale(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(io) => {
            io.kind() != std::io::ErrorKind::ConnectionRefused && io.kind() != std::io::ErrorKind::NotFound
        }
        sqlx::Error::Database(db) => matches!(db.code().as_deref(), Some("57P01" | "57P05" | "25P03")),
        _ => false,
    }
}
