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
pub use connect::{behind, connect_options, ssl_free};
pub use pool::PoolState;
pub use scope::{received, scope};
pub use system_tx::SystemTx;
pub use tenant_tx::TenantTx;

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgListener, PgNotification, PgPoolOptions};
use sqlx::{AssertSqlSafe, Executor, SqlSafeStr};
use tokio::time::timeout;

use self::pool::{Pool, Tx};
use crate::actor::Origin;
use crate::config::Pooler;
use crate::error::{Error, Result, UNAVAILABLE};

/// Role of tenant-scoped requests: tenant tables only, under row-level security.
pub const APP_ROLE: &str = "ally_app";
/// Role of identity and operations: global tables, no grant on tenant tables.
pub const SYSTEM_ROLE: &str = "ally_system";
/// Schema of all our tables and functions.
pub const SCHEMA: &str = "ally";

/// Longest time for a short piece of work that no request waits for. Its statements have limits at the server; a
/// connection that was cut in silence has none.
const PATIENCE: Duration = Duration::from_secs(15);
/// So long a connection that listens may be silent before it is asked whether it is there.
const SILENCE: Duration = Duration::from_secs(5);

/// Does a short piece of work with the database that no request waits for.
///
/// # Errors
/// Those of the work; `unavailable` when it takes longer than 15 s: its connection is given up, and whether it has
/// committed is unknown.
pub async fn in_time<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    match timeout(PATIENCE, work).await {
        Ok(done) => done,
        Err(_) => Err(Error::new(&UNAVAILABLE)),
    }
}

/// The next notification; `None` when the connection was lost. One that is silent is asked for a sign of life every
/// five seconds.
///
/// # Errors
/// Those of the connection, and when there is no sign.
pub async fn heard(listener: &mut PgListener) -> sqlx::Result<Option<PgNotification>> {
    loop {
        if let Ok(heard) = timeout(SILENCE, listener.try_recv()).await {
            return heard;
        }
        let alive = timeout(SILENCE, listener.execute("select 1")).await;
        alive.map_err(|_| sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()))??;
    }
}

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
    /// How to reach the server itself, the first that it accepts.
    listener: Vec<PgConnectOptions>,
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
        let logins = |server: &PgConnectOptions, role: &str, passwords: &[String]| -> Vec<PgConnectOptions> {
            let server = server.clone().username(role);
            let logins = passwords.iter().map(|password| server.clone().password(password));
            logins.collect()
        };
        let open = |name, role: &str, passwords: &[String], max| {
            let server = pooler.map_or_else(|| server.clone(), |pooler| connect::behind(pooler, server));
            let logins = logins(&server, role, passwords);
            Pool::new(name, logins, pooler.is_some(), max, size.acquire_timeout)
        };
        Db {
            app: open("app", APP_ROLE, &roles.app, size.app),
            system: open("system", SYSTEM_ROLE, &roles.system, size.system),
            listener: logins(server, SYSTEM_ROLE, &roles.system),
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
        let mut listener = connect::first_accepted(&self.listener, async |login| {
            // A pool of its own: a listener keeps its connection, and one fewer could be none.
            let pool = PgPoolOptions::new()
                .max_connections(1)
                .connect_lazy_with(login.clone());
            PgListener::connect_with(&pool).await
        })
        .await?;
        // Its loss is told, not mended in silence.
        listener.eager_reconnect(false);
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

/// Passwords of the runtime roles: the present one, which migrating sets, and after it those that a server which was
/// not migrated since may still have. Never empty.
#[derive(Clone)]
pub struct RolePasswords {
    pub app: Vec<String>,
    pub system: Vec<String>,
}
