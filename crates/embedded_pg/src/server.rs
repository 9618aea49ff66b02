//! One run of the server.

use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;
use tokio::time::{Instant, timeout};

use crate::cluster::Cluster;
use crate::server_log::{ServerLog, telling_line};
use crate::{StartError, leftovers};

/// How long a starting server may neither accept connections nor write to its log. Recovery after a crash takes
/// as long as it takes, and reports every ten seconds.
const SILENCE_LIMIT: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 60 });

/// How long a shutdown may take before the server is killed.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(20);

/// A server process that has accepted connections. Dropping it kills the process.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
}

impl Server {
    /// Starts the server and waits until it accepts connections.
    pub(crate) async fn start(cluster: &Cluster) -> Result<Self, StartError> {
        leftovers::end(&cluster.pgdata).await?;
        let log = ServerLog::open(cluster.log_path.clone())?;
        let mut command = cluster.server_command();
        command.stdout(log.writer()?).stderr(log.writer()?);
        let child = tokio::process::Command::from(command).kill_on_drop(true).spawn();
        let mut server = Self {
            child: child.map_err(StartError::at(&cluster.pgdata))?,
        };
        server.wait_until_ready(&cluster.pgdata, &log).await?;
        Ok(server)
    }

    async fn wait_until_ready(&mut self, pgdata: &Path, log: &ServerLog) -> Result<(), StartError> {
        let (mut log_size, mut last_sign_of_life) = (log.len(), Instant::now());
        while !self.is_ready(pgdata) {
            if let Ok(exited) = timeout(Duration::from_millis(10), self.child.wait()).await {
                let said = log.text();
                tracing::debug!(?exited, "PostgreSQL ended while starting");
                return Err(
                    StartError::from_output(&said, pgdata).unwrap_or_else(|| StartError::Exited {
                        last_line: telling_line(&said),
                        log: log.path(),
                    }),
                );
            }
            if log.len() != log_size {
                (log_size, last_sign_of_life) = (log.len(), Instant::now());
            }
            if last_sign_of_life.elapsed() > SILENCE_LIMIT {
                let last_line = telling_line(&log.text());
                return Err(StartError::Timeout {
                    seconds: SILENCE_LIMIT.as_secs(),
                    last_line,
                    log: log.path(),
                });
            }
        }
        Ok(())
    }

    /// Whether the pid file is this server's and says so, which is also what `pg_ctl` waits for.
    fn is_ready(&self, pgdata: &Path) -> bool {
        let content = std::fs::read_to_string(pgdata.join("postmaster.pid")).unwrap_or_default();
        let mut lines = content.lines().map(str::trim_end);
        let pid = lines.next().and_then(|pid| pid.parse().ok());
        pid.is_some() && pid == self.child.id() && lines.nth(6) == Some("ready")
    }

    /// Waits for the server to end.
    pub(crate) async fn wait(&mut self) -> std::io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Shuts the server down fast: transactions are rolled back, sessions closed, and the next start needs no recovery.
    pub(crate) async fn shut_down(mut self, pgdata: &Path) {
        let pid = self
            .child
            .id()
            .and_then(|pid| Pid::from_raw(pid.try_into().ok()?));
        if let Some(pid) = pid {
            let _ = kill_process(pid, Signal::INT);
        }
        if timeout(SHUTDOWN_LIMIT, self.child.wait()).await.is_err() {
            tracing::warn!("PostgreSQL did not shut down in time and is killed");
            let _ = self.child.kill().await;
        }
        // Left only by a killed postmaster.
        if let Err(error) = leftovers::end(pgdata).await {
            tracing::warn!(%error, "server processes remain");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use crate::{EmbeddedPg, Options, StartError, binaries};

    #[tokio::test]
    async fn a_server_that_hangs_is_given_up() {
        let dir = tempfile::TempDir::new().expect("a directory");
        let real = binaries::find(None, None).expect("PostgreSQL is installed");
        let bin_dir = dir.path().join("bin");
        fs::create_dir(&bin_dir).expect("a directory");
        symlink(real.program("initdb"), bin_dir.join("initdb")).expect("a link");
        let script = format!(
            "#!/bin/sh\n[ \"$1\" = --version ] && exec {} --version\necho 'LOG:  pondering'; exec sleep 30\n",
            real.program("postgres").display()
        );
        fs::write(bin_dir.join("postgres"), script).expect("a program");
        fs::set_permissions(bin_dir.join("postgres"), PermissionsExt::from_mode(0o755)).expect("executable");

        let options = Options {
            durable: false,
            bin_dir: Some(bin_dir),
            ..Options::new(dir.path().join("data"))
        };
        let error = EmbeddedPg::start(options).await.expect_err("it never gets ready");
        assert!(matches!(error, StartError::Timeout { seconds: 1, .. }), "{error}");
        assert!(error.to_string().contains("\"LOG:  pondering\""), "{error}");
        assert!(error.to_string().contains("postgres.log"), "{error}");
    }
}
