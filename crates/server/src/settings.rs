//! Settings of the program around the API's own: where it listens, where its data lies.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use files::FilesConfig;
use inspect::InspectConfig;
use kernel::config::Config;
use kernel::db::{PoolSize, RolePasswords};
use kernel::keys::Keys;
use mail::MailConfig;
use redis_link::RedisConfig;
use std::time::Duration;
use storage::StorageConfig;

use crate::listen::Limits;

/// Settings of every command.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// Address to listen on; port 0 picks one
    #[arg(long, env = "ALLY360_LISTEN", default_value = "127.0.0.1:8000", global = true)]
    pub listen: SocketAddr,
    /// Address that answers Prometheus' requests for /metrics; port 0 picks one [default: no metrics]
    #[arg(long, env = "ALLY360_METRICS_LISTEN", global = true)]
    pub metrics_listen: Option<SocketAddr>,
    /// Seconds that a start waits for the database, then it ends; for object store and Redis 10 at most, then it
    /// goes on without
    #[arg(long, env = "ALLY360_START_SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(..=3600), global = true)]
    pub start_seconds: u64,
    /// Seconds that a process which got SIGTERM serves on while /health/ready says 503, for balancers to notice
    #[arg(long, env = "ALLY360_STOP_NOTICE_SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(..=300), global = true)]
    pub stop_notice_seconds: u64,
    /// Where the embedded database and generated secrets lie
    #[arg(long, env = "ALLY360_DATA_DIR", default_value = "./data", global = true)]
    pub data_dir: PathBuf,
    #[command(flatten)]
    pub config: Config,
    #[command(flatten)]
    pub storage: StorageConfig,
    #[command(flatten)]
    pub files: FilesConfig,
    #[command(flatten)]
    pub inspect: InspectConfig,
    #[command(flatten)]
    pub mail: MailConfig,
    #[command(flatten)]
    pub redis: RedisConfig,
}

impl Settings {
    /// Checks the settings as a whole; every fault is one line that names the variable.
    ///
    /// # Errors
    /// All faults found.
    pub fn validate(&self) -> Result<(), Vec<String>> {
        let mut faults = self.config.validate().err().unwrap_or_default();
        let known = crate::queues();
        let served = &self.config.jobs.queue;
        if let Some(wrong) = served.iter().find(|name| !known.contains(&name.as_str())) {
            let known = known.join(", ");
            faults.push(format!(
                "ALLY360_QUEUES has {wrong:?}, in which there are no jobs: the queues are {known}"
            ));
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    /// The installation's keys. Without APP_SECRET_STRING a secret is made once per data directory,
    /// which only an embedded database may use: separate processes must share one.
    ///
    /// # Errors
    /// When a secret is needed and not given, or its file cannot be read or written.
    pub fn keys(&self, embedded: bool) -> anyhow::Result<Keys> {
        // An empty one anybody could sign with.
        if let Some(secret) = self
            .config
            .auth
            .app_secret_string
            .as_deref()
            .filter(|secret| !secret.is_empty())
        {
            return Ok(Keys::rotated(secret, &self.config.auth.previous_secrets));
        }
        anyhow::ensure!(
            embedded,
            "APP_SECRET_STRING is required with an external database (openssl rand -hex 32)"
        );
        let path = self.data_dir.join("secret");
        let secret =
            generated_secret(&path).with_context(|| format!("cannot keep a secret in {}", path.display()))?;
        Ok(Keys::rotated(&secret, &self.config.auth.previous_secrets))
    }

    /// Passwords of the runtime roles.
    pub fn role_passwords(&self, keys: &Keys) -> RolePasswords {
        let database = &self.config.database;
        let of =
            |given: &Option<String>, role| given.iter().cloned().chain(keys.role_passwords(role)).collect();
        RolePasswords {
            app: of(&database.db_app_password, kernel::db::APP_ROLE),
            system: of(&database.db_system_password, kernel::db::SYSTEM_ROLE),
        }
    }

    /// Sizes of the connection pools.
    pub fn pool_size(&self) -> PoolSize {
        let database = &self.config.database;
        PoolSize {
            app: database.db_app_connections,
            system: database.db_system_connections,
            acquire_timeout: Duration::from_secs(database.db_acquire_seconds),
        }
    }

    /// Settings of the worker.
    pub fn worker(&self) -> worker::Options {
        let jobs = &self.config.jobs;
        worker::Options {
            queues: jobs.queue.clone(),
            concurrency: jobs.worker_concurrency,
            per_tenant: jobs.jobs_per_company,
            lease: Duration::from_secs(jobs.job_lease_seconds),
            drain: Duration::from_secs(self.config.http.drain_seconds),
            days_kept: jobs.job_history_days,
        }
    }

    /// Limits of the listener.
    pub(crate) fn limits(&self) -> Limits {
        let http = &self.config.http;
        Limits {
            max_connections: http.max_connections,
            max_connections_per_ip: http.max_connections_per_ip,
            drain_timeout: Duration::from_secs(http.drain_seconds),
            ..Limits::default()
        }
    }
}

fn generated_secret(path: &std::path::Path) -> std::io::Result<String> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    if let Ok(secret) = std::fs::read_to_string(path) {
        return Ok(secret);
    }
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let secret = format!(
        "{}{}",
        uuid::Uuid::new_v4().simple(),
        uuid::Uuid::new_v4().simple()
    );
    // Written aside and linked: two starts at once agree on one, a crash leaves none or a whole one.
    let aside = path.with_extension(format!("new-{}", std::process::id()));
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&aside)?;
    file.write_all(secret.as_bytes())?;
    file.sync_all()?;
    let linked = std::fs::hard_link(&aside, path);
    std::fs::remove_file(&aside)?;
    match linked {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        _ => std::fs::read_to_string(path),
    }
}
