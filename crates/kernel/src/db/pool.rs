//! Connections of one role, lent for one transaction each.
//!
//! A connection comes back only when its transaction has ended. What is cut in between (a request
//! dropped during BEGIN, a server that went away) costs the connection, never the isolation of who
//! is lent it next.

use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

use deadpool::Runtime;
use deadpool::managed::{self, Metrics, Object, PoolError, RecycleError, RecycleResult, TimeoutType};
use metrics::{Counter, Histogram, counter, histogram};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection, SqlSafeStr, SqlStr};
use sqlx_core::transaction::TransactionManager;
use tokio::time::timeout;

use super::connect::first_accepted;
use crate::error::{BUSY, Error, Result, UNAVAILABLE};
use crate::trace;

type Manager = <sqlx::Postgres as sqlx::Database>::TransactionManager;

/// Longest time to connect and log in.
const CONNECT: Duration = Duration::from_secs(5);
/// Connections are renewed after this time, so that they spread over servers again.
const MAX_AGE: Duration = Duration::from_secs(30 * 60);
/// Longest time for the answer to BEGIN: of a server that is frozen, or of a pooler that waits for one.
const BEGIN: Duration = Duration::from_secs(10);
/// Longest time for a ROLLBACK that nobody waits for.
const ROLLBACK: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Connector(Vec<PgConnectOptions>);

impl managed::Manager for Connector {
    type Type = PgConnection;
    type Error = sqlx::Error;

    async fn create(&self) -> sqlx::Result<PgConnection> {
        // Boxed, because a TLS handshake is large and every request would carry room for one.
        Box::pin(first_accepted(&self.0, async |login| login.connect().await)).await
    }

    async fn recycle(&self, _: &mut PgConnection, metrics: &Metrics) -> RecycleResult<sqlx::Error> {
        // Whether it is alive shows at BEGIN.
        if metrics.age() > MAX_AGE {
            Err(RecycleError::message("old"))
        } else {
            Ok(())
        }
    }
}

/// The connections of one role.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    lent: managed::Pool<Connector>,
    /// Other clients have the server's connections between our transactions.
    shared: bool,
    name: &'static str,
    waited: Histogram,
    exhausted: Counter,
}

/// How a pool stands.
#[derive(Clone, Copy, Debug)]
pub struct PoolState {
    /// `app` or `system`.
    pub name: &'static str,
    /// Connections at most.
    pub max: usize,
    /// Connections now open, idle ones among them.
    pub open: usize,
    pub idle: usize,
    /// Who waits for one.
    pub waiting: usize,
}

impl Pool {
    /// Nothing is connected until the first use. `wait` is for a free connection.
    pub fn new(
        name: &'static str,
        logins: Vec<PgConnectOptions>,
        shared: bool,
        max: u32,
        wait: Duration,
    ) -> Pool {
        let pool = managed::Pool::builder(Connector(logins))
            .max_size(max as usize)
            .wait_timeout(Some(wait))
            .create_timeout(Some(CONNECT))
            .runtime(Runtime::Tokio1)
            .build();
        Pool {
            lent: pool.unwrap_or_else(|_| unreachable!("a runtime is given for the timeouts")),
            shared,
            name,
            waited: histogram!("ally360_db_wait_seconds", "pool" => name),
            exhausted: counter!("ally360_limits_hit_total", "limit" => format!("db_pool_{name}")),
        }
    }

    /// Begins a transaction with this statement. Connections that died while idle show here, before
    /// anything was done: they are discarded and the next one is tried.
    pub async fn begin(&self, statement: SqlStr) -> Result<Tx> {
        let started = Instant::now();
        let mut stale = self.lent.status().max_size;
        let statement = self.tidied(statement);
        loop {
            let mut tx = Tx {
                conn: Some(self.lend().await?),
                begun: false,
            };
            match timeout(BEGIN, Manager::begin(&mut tx, Some(statement.clone()))).await {
                Ok(Ok(())) => {
                    tx.begun = true;
                    trace::statement("BEGIN", started);
                    return Ok(tx);
                }
                Ok(Err(error)) if stale > 0 && is_stale(&error) => stale -= 1,
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => return Err(Error::new(&UNAVAILABLE)),
            }
        }
    }

    /// sqlx names its prepared statements by a counter of the client's connection, also those that it does not
    /// keep. On a server's connection that others had before, their names would be taken: so each transaction
    /// begins, in the same message, by dropping what is there. In a transaction of its own: the drop takes a
    /// snapshot, after which no isolation level can be chosen any more.
    #[expect(
        clippy::disallowed_methods,
        reason = "a constant before what was safe already"
    )]
    fn tidied(&self, statement: SqlStr) -> SqlStr {
        if !self.shared {
            return statement;
        }
        AssertSqlSafe(format!("BEGIN; DEALLOCATE ALL; COMMIT; {}", statement.as_str())).into_sql_str()
    }

    async fn lend(&self) -> Result<Object<Connector>> {
        let asked = Instant::now();
        let lent = self.lent.get().await;
        self.waited.record(asked.elapsed());
        if matches!(lent, Err(PoolError::Timeout(TimeoutType::Wait))) {
            self.exhausted.increment(1);
        }
        lent.map_err(not_lent)
    }

    pub fn state(&self) -> PoolState {
        let status = self.lent.status();
        PoolState {
            name: self.name,
            max: status.max_size,
            open: status.size,
            idle: status.available,
            waiting: status.waiting,
        }
    }

    /// Lends no more; closes what comes back.
    pub fn close(&self) {
        self.lent.close();
    }
}

fn not_lent(error: PoolError<sqlx::Error>) -> Error {
    match error {
        PoolError::Timeout(TimeoutType::Wait) => Error::new(&BUSY),
        PoolError::Backend(error) => error.into(),
        _ => Error::new(&UNAVAILABLE),
    }
}

fn is_stale(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) => true,
        sqlx::Error::Database(db) => matches!(db.code().as_deref(), Some("57P01" | "57P05" | "25P03")),
        _ => false,
    }
}

/// A connection inside a transaction. Dropped, it rolls back in the background.
pub(super) struct Tx {
    /// Taken only by the end of the transaction.
    conn: Option<Object<Connector>>,
    begun: bool,
}

impl Tx {
    /// Makes the changes durable.
    pub async fn commit(mut self) -> sqlx::Result<()> {
        let started = Instant::now();
        Manager::commit(&mut self).await?;
        trace::statement("COMMIT", started);
        self.conn = None;
        Ok(())
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        let Some(mut conn) = self.conn.take() else { return };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) if self.begun => drop(runtime.spawn(async move {
                let rolled_back = timeout(ROLLBACK, Manager::rollback(&mut conn)).await;
                if !matches!(rolled_back, Ok(Ok(()))) {
                    drop(Object::take(conn));
                }
            })),
            // Somewhere between BEGIN and its answer.
            _ => drop(Object::take(conn)),
        }
    }
}

const HELD: &str = "held until the end";

impl Deref for Tx {
    type Target = PgConnection;
    fn deref(&self) -> &PgConnection {
        self.conn.as_ref().expect(HELD)
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.conn.as_mut().expect(HELD)
    }
}
