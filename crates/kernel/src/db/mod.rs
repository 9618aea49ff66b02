//! Database access. Two login roles with disjoint grants, one pool each; neither pool is reachable
//! from outside: tenant data goes through [`TenantTx`], global data through [`SystemTx`].

mod bell;
mod connect;
pub mod migrate;
mod pool;
mod scope;
mod system_tx;
mod tenant_tx;

pub use bell::Bell;
pub use connect::{connect_options, ssl_free};
pub use pool::PoolState;
pub use scope::{received, scope};
pub use system_tx::SystemTx;
pub use tenant_tx::TenantTx;

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::{AssertSqlSafe, SqlSafeStr};

use self::pool::{Pool, Tx};
use crate::actor::Origin;
use crate::config::Pooler;
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
    app: Pool,
    system: Pool,
    /// How to reach the server itself.
    listener: PgConnectOptions,
    bell: Bell,
}

impl Db {
    /// Opens both pools lazily: nothing is connected until the first use.
    ///
    /// `server` names host and database; user and password are replaced by those of the roles.
    pub fn connect_lazy(server: &PgConnectOptions, roles: &RolePasswords, size: &PoolSize) -> Db {
        Db::connect_lazy_through(None, server, roles, size)
    }

    /// The same, with all transactions going through the pooler, if there is one. Notifications are heard
    /// from the server itself, because a pooler would lend the connection that listens to others.
    pub fn connect_lazy_through(
        pooler: Option<&Pooler>,
        server: &PgConnectOptions,
        roles: &RolePasswords,
        size: &PoolSize,
    ) -> Db {
        let open = |name, role: &str, password: &str, max| {
            let server = pooler.map_or_else(|| server.clone(), |pooler| connect::behind(pooler, server));
            let options = server.username(role).password(password);
            Pool::new(name, options, pooler.is_some(), max, size.acquire_timeout)
        };
        Db {
            app: open("app", APP_ROLE, &roles.app, size.app),
            system: open("system", SYSTEM_ROLE, &roles.system, size.system),
            listener: server.clone().username(SYSTEM_ROLE).password(&roles.system),
            bell: Bell::default(),
        }
    }

    /// Starts a transaction on global tables. Identity and operations only; a tenant's data is not
    /// reachable with it.
    ///
    /// # Errors
    /// `busy` when no connection came free in time, `unavailable` when the database is not reachable.
    #[expect(
        clippy::disallowed_methods,
        reason = "the origin is made of harmless characters; SET takes no parameters"
    )]
    pub async fn system(&self) -> Result<SystemTx> {
        let origin = Origin::current().setting();
        let statement = format!("BEGIN; SET LOCAL app.origin = '{origin}'");
        let tx = self.system.begin(AssertSqlSafe(statement).into_sql_str()).await?;
        Ok(SystemTx::new(tx))
    }

    /// Listens on a notification channel; the connection is outside the pools' limits.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn listen(&self, channel: &str) -> sqlx::Result<PgListener> {
        // A pool of its own: a listener keeps its connection, and one fewer could be none.
        let options = self.listener.clone();
        let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(options);
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.listen(channel).await?;
        Ok(listener)
    }

    /// The bell that commits of enqueued jobs ring.
    pub fn bell(&self) -> &Bell {
        &self.bell
    }

    /// The pools of the application and of the system.
    pub fn pools(&self) -> [PoolState; 2] {
        [self.app.state(), self.system.state()]
    }

    /// Lends no more connections and closes those that are idle.
    pub fn close(&self) {
        self.app.close();
        self.system.close();
    }
}

/// Passwords of the runtime roles.
#[derive(Clone)]
pub struct RolePasswords {
    pub app: String,
    pub system: String,
}
