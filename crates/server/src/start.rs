//! What a start waits for, and how it tells.

use std::future::pending;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use kernel::app::App;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection};
use tokio::time::{Instant, sleep, timeout};
use tracing::warn;

use crate::cli::say;
use crate::settings::Settings;
use crate::{demo, health, services};

/// Longest time that it waits for what it can do without.
const SERVICES: Duration = Duration::from_secs(10);
/// Longest time of one attempt to log in to the database.
const CONNECT: Duration = Duration::from_secs(5);
/// Between two looks at what it waits for.
const PAUSE: Duration = Duration::from_millis(100);

/// Waits until the server lets the login in, which a server that starts does not yet.
///
/// # Errors
/// That of the last attempt, when so many seconds have passed, or of any one that is not about reaching it.
pub(crate) async fn wait(login: &PgConnectOptions, seconds: u64) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let mut told = false;
    loop {
        let attempt = timeout(CONNECT, login.connect()).await;
        let error = match attempt.unwrap_or_else(|late| Err(sqlx::Error::Io(late.into()))) {
            Ok(conn) => return Ok(conn.close().await?),
            Err(error) => error,
        };
        if !is_passing(&error) || Instant::now() > deadline {
            return Err(error).context("the database cannot be reached");
        }
        if !told {
            warn!(%error, seconds, "waiting for the database");
            told = true;
        }
        sleep(PAUSE).await;
    }
}

/// Whether a server that is on its way could be the cause: not there yet, starting, recovering.
fn is_passing(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) => true,
        sqlx::Error::Database(db) => matches!(db.code().as_deref(), Some("57P03" | "53300")),
        _ => false,
    }
}

/// Prints `ready http://ADDR`, the one line of standard output, once `/health/ready` answers 200 and the
/// services beside the database are there or were waited for. Resolves only when the process must not go on:
/// the database is unsafe to serve, or did not come in time.
pub(crate) async fn announce(
    app: &App,
    address: Option<SocketAddr>,
    settings: &Settings,
    dev: bool,
) -> anyhow::Error {
    let limit = Duration::from_secs(settings.start_seconds);
    let catalogue = health::Catalogue::default();
    let (began, mut told) = (Instant::now(), Vec::new());
    loop {
        let readiness = health::readiness(app, &catalogue).await;
        if let Some(reason) = health::refusal(&catalogue).filter(|_| !readiness.ready) {
            return anyhow::anyhow!("refusing to serve: {reason}");
        }
        let missing = if readiness.ready {
            services::awaited(app)
                .await
                .into_iter()
                .map(str::to_owned)
                .collect()
        } else {
            readiness.reasons
        };
        if missing.is_empty() {
            break;
        }
        if missing != told {
            warn!("waiting: {}", missing.join("; "));
            told.clone_from(&missing);
        }
        if readiness.ready && began.elapsed() > limit.min(SERVICES) {
            warn!("going on without what is missing");
            break;
        }
        if began.elapsed() > limit {
            return anyhow::anyhow!("not ready after {limit:?}: {}", missing.join("; "));
        }
        sleep(PAUSE).await;
    }
    if let Some(address) = address {
        if dev {
            demo::greet(address, &settings.data_dir);
        }
        if say(&format!("ready http://{address}")).is_err() {
            warn!("standard output is closed");
        }
    }
    pending().await
}
