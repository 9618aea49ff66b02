//! Keeps the server running, on a thread of its own.

use std::path::Path;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep};

use crate::cluster::Cluster;
use crate::server::Server;
use crate::{Address, Options, StartError};

/// The pause before the first restart; it doubles from one to the next.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A server that ran this long was healthy: its next restart comes after the first pause again.
const HEALTHY_AFTER: Duration = Duration::from_secs(60);

/// Failed starts in a row after which the supervisor gives up.
const MAX_FAILURES: u32 = 10;

/// Bytes free with which a start after a crash works: two segments of the log of changes.
const STARTS_WITH: u64 = 32 << 20;

/// Runs the server until `stop` is used or dropped, or until it cannot be kept running, which `failure` tells.
/// `ready` gets the outcome of the first start. Blocks the thread, which must start the server itself.
pub(crate) fn run(
    options: Options,
    ready: oneshot::Sender<Result<Address, StartError>>,
    mut stop: oneshot::Receiver<()>,
    failure: &watch::Sender<Option<StartError>>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = ready.send(Err(StartError::Supervisor {
                reason: error.to_string(),
            }));
            return;
        }
    };
    runtime.block_on(async {
        let started = tokio::select! {
            biased;
            _ = &mut stop => return,
            started = first_start(options) => started,
        };
        let (cluster, mut server) = match started {
            Ok(started) => started,
            Err(error) => {
                let _ = ready.send(Err(error));
                return;
            }
        };
        let _ = ready.send(Ok(cluster.address()));
        tokio::select! {
            biased;
            _ = &mut stop => {}
            error = keep_running(&cluster, &mut server) => {
                tracing::error!(%error, "PostgreSQL cannot be kept running");
                failure.send_replace(Some(error));
            }
        }
        server.shut_down(&cluster.pgdata).await;
    });
}

async fn first_start(options: Options) -> Result<(Cluster, Server), StartError> {
    let cluster = Cluster::open(options).await?;
    let server = Server::start(&cluster).await?;
    tracing::info!(dir = %cluster.pgdata.display(), log = %cluster.log_path.display(), "PostgreSQL accepts connections");
    Ok((cluster, server))
}

/// Starts the server again whenever it ends; returns the last error when that fails too often in a row.
async fn keep_running(cluster: &Cluster, server: &mut Server) -> StartError {
    let mut pause = FIRST_PAUSE;
    let mut failures = 0;
    loop {
        let started_at = Instant::now();
        let status = server.wait().await;
        let died_at = Instant::now();
        tracing::error!(?status, log = %cluster.log_path.display(), "PostgreSQL died and is started again");
        if died_at - started_at > HEALTHY_AFTER {
            pause = FIRST_PAUSE;
        }
        loop {
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            match Server::start(cluster).await {
                Ok(restarted) => {
                    *server = restarted;
                    failures = 0;
                    tracing::info!(
                        down_ms = died_at.elapsed().as_millis(),
                        "PostgreSQL accepts connections again"
                    );
                    break;
                }
                // Only space helps, and then it starts: to give up would need a hand more.
                Err(error) if is_full(&cluster.pgdata) => {
                    tracing::warn!(%error, "no space for PostgreSQL to start; trying again");
                }
                Err(error) => {
                    failures += 1;
                    tracing::warn!(%error, failures, "PostgreSQL did not start again");
                    if failures >= MAX_FAILURES {
                        return error;
                    }
                }
            }
        }
    }
}

/// Whether the disk has no place for what a start writes. The server's log, which would tell, may lie on the same one.
fn is_full(path: &Path) -> bool {
    rustix::fs::statvfs(path).is_ok_and(|disk| disk.f_bavail * disk.f_frsize < STARTS_WITH)
}
