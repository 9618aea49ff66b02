//! One connection, kept up in the background.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use kernel::app::App;
use metrics::{Gauge, gauge};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError, RedisResult};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::RedisConfig;

/// Longest time to connect and log in.
pub(crate) const CONNECT: Duration = Duration::from_secs(1);
/// Longest time that an answer may take, whatever is asked.
pub(crate) const ANSWER: Duration = Duration::from_millis(500);
/// How often an idle connection is tried.
pub(crate) const TRIED_EVERY: Duration = Duration::from_secs(1);
/// Between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(500);
/// Refusals of commands are logged no more often.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// Redis cannot be used now: there is no connection, no answer came in time, or the command was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Redis is away")]
pub struct Away;

/// A connection that every request of the process shares. Cheap to clone.
#[derive(Clone)]
pub struct RedisLink(Arc<Shared>);

struct Shared {
    client: Client,
    /// None while the server is away.
    live: RwLock<Option<Live>>,
    up: Gauge,
    /// When a refused command was logged.
    told: RwLock<Option<Instant>>,
}

#[derive(Clone)]
struct Live {
    connection: MultiplexedConnection,
    /// Told by whoever waited for an answer in vain.
    lost: Arc<Notify>,
}

impl RedisLink {
    /// Connects in the background, and again whenever the connection is lost, until the process stops. None
    /// without REDIS_HOST.
    ///
    /// # Errors
    /// When the settings cannot be those of a server.
    pub fn open(config: &RedisConfig, app: &App) -> RedisResult<Option<RedisLink>> {
        let Some(client) = config.client().transpose()? else {
            return Ok(None);
        };
        let link = RedisLink(Arc::new(Shared {
            client,
            live: RwLock::default(),
            up: gauge!("ally360_redis_up"),
            told: RwLock::default(),
        }));
        link.0.up.set(0);
        let (keeper, stopping) = (link.clone(), app.stopping.clone());
        app.tasks
            .spawn(async move { stopping.run_until_cancelled(keeper.0.keep()).await });
        Ok(Some(link))
    }

    /// Whether there is a connection that takes what it is told.
    pub fn is_up(&self) -> bool {
        self.0.live().is_some()
    }

    /// What `call` asks, answered within this time. An answer that does not come breaks the connection, so
    /// that nobody else waits for the same server: until another one answers, all are told at once.
    ///
    /// # Errors
    /// [`Away`].
    pub async fn ask<T, F>(
        &self,
        within: Duration,
        call: impl FnOnce(MultiplexedConnection) -> F,
    ) -> Result<T, Away>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let live = self.0.live().ok_or(Away)?;
        match timeout(within, call(live.connection)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) if is_refusal(&error) => {
                self.0.refused(&error);
                Err(Away)
            }
            Ok(Err(_)) | Err(_) => {
                self.0.lose(&live.lost);
                Err(Away)
            }
        }
    }

    /// Sends a message to whoever is [subscribed](RedisLink::subscribe) to the channel now.
    ///
    /// # Errors
    /// [`Away`]: then nobody may have heard of it.
    pub async fn publish(&self, channel: &str, message: &str) -> Result<(), Away> {
        let mut command = redis::cmd("PUBLISH");
        command.arg(channel).arg(message);
        self.ask(ANSWER, async |mut connection| {
            command.query_async(&mut connection).await
        })
        .await
    }

    pub(crate) fn client(&self) -> &Client {
        &self.0.client
    }
}

/// Connects once, without a link, and tells the version of the server; none without REDIS_HOST.
///
/// # Errors
/// Why it cannot be used.
pub async fn probe(config: &RedisConfig) -> Option<RedisResult<String>> {
    let version = async |client: Client| {
        let mut connection = connect(&client).await?;
        let told: String = redis::cmd("INFO")
            .arg("server")
            .query_async(&mut connection)
            .await?;
        let version = told.lines().find_map(|line| line.strip_prefix("redis_version:"));
        Ok(version.unwrap_or("of unknown version").trim().to_owned())
    };
    Some(match config.client()? {
        Ok(client) => version(client).await,
        Err(error) => Err(error),
    })
}

impl Shared {
    fn live(&self) -> Option<Live> {
        self.live.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, live: Option<Live>) {
        self.up.set(if live.is_some() { 1 } else { 0 });
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = live;
    }

    /// The connection that belongs to `lost` is not used any more.
    fn lose(&self, lost: &Arc<Notify>) {
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        if live.as_ref().is_some_and(|live| Arc::ptr_eq(&live.lost, lost)) {
            *live = None;
            self.up.set(0);
        }
        lost.notify_one();
    }

    fn refused(&self, error: &RedisError) {
        let mut told = self.told.write().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|told| told.elapsed() > TOLD_EVERY) {
            *told = Some(Instant::now());
            warn!(cause = %error, "Redis refuses commands: limits and caches do without it");
        }
    }

    async fn keep(&self) {
        let mut told = false;
        loop {
            match connect(&self.client).await {
                Ok(connection) => {
                    told = false;
                    let lost = Arc::new(Notify::new());
                    self.set(Some(Live {
                        connection: connection.clone(),
                        lost: lost.clone(),
                    }));
                    info!("connected to Redis");
                    until_lost(connection, &lost).await;
                    self.set(None);
                    warn!("Redis is away: limits and caches are this process's own until it is back");
                }
                Err(error) if !told => {
                    told = true;
                    warn!(cause = %error, "Redis cannot be used: limits and caches are this process's own");
                }
                Err(_) => {}
            }
            sleep(PAUSE).await;
        }
    }
}

/// Asks for a sign of life now and then; returns when there is none.
async fn until_lost(mut connection: MultiplexedConnection, lost: &Notify) {
    let is_lost = async {
        loop {
            sleep(TRIED_EVERY).await;
            if try_it(&mut connection).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = lost.notified() => {}
        () = is_lost => {}
    }
}

async fn connect(client: &Client) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT))
        .set_response_timeout(Some(ANSWER));
    // The first answer takes logging in with it.
    let mut connection = timeout(
        CONNECT,
        client.get_multiplexed_async_connection_with_config(&config),
    )
    .await
    .unwrap_or_else(|_| Err(no_answer()))?;
    try_it(&mut connection).await?;
    Ok(connection)
}

/// By a write: one that became a replica or has no memory left answers as well, and is of no use.
async fn try_it(connection: &mut MultiplexedConnection) -> RedisResult<()> {
    let mut set = redis::cmd("SET");
    set.arg("ally360:tried").arg(1).arg("PX").arg(1000);
    set.query_async(connection).await
}

pub(crate) fn no_answer() -> RedisError {
    std::io::Error::from(std::io::ErrorKind::TimedOut).into()
}

/// The server answered, with an error: a role, a right, memory.
fn is_refusal(error: &RedisError) -> bool {
    matches!(
        error.kind(),
        redis::ErrorKind::Server(_) | redis::ErrorKind::Extension
    )
}
