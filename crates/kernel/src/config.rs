//! Settings: flags and environment variables, the guide's names as written there.

use std::net::IpAddr;

use clap::builder::RangedU64ValueParser;
use clap::{Args, ValueEnum};
use ipnet::IpNet;

/// Where the installation runs; production refuses unsafe settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Environment {
    Development,
    Test,
    Production,
}

/// The secret that the guide prints; fine on a laptop, refused in production.
pub const SAMPLE_SECRET: &str = "your-super-secret-key-change-in-production";

/// PostgreSQL. Neither DATABASE_URL nor POSTGRES_HOST set: an embedded server is started.
#[derive(Args, Clone, Debug)]
pub struct DatabaseConfig {
    /// Host name or socket directory of an external server
    #[arg(long, env = "POSTGRES_HOST")]
    pub postgres_host: Option<String>,
    #[arg(long, env = "POSTGRES_PORT", default_value_t = 5432)]
    pub postgres_port: u16,
    /// Login that migrates; requests use ally_app and ally_system
    #[arg(long, env = "POSTGRES_USER", default_value = "ally_user")]
    pub postgres_user: String,
    #[arg(
        long,
        env = "POSTGRES_PASSWORD",
        default_value = "ally_pass",
        hide_env_values = true
    )]
    pub postgres_password: String,
    #[arg(long, env = "POSTGRES_DB", default_value = "ally_db")]
    pub postgres_db: String,
    /// One URL instead of the five above
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// PgBouncer in transaction mode through which requests go, HOST:PORT or SOCKET_DIR:PORT; the settings
    /// above stay those of the server itself, for migrations and notifications
    #[arg(long, env = "ALLY360_DB_POOLER", value_parser = parse_pooler)]
    pub db_pooler: Option<Pooler>,
    /// Password of the role ally_app [default: derived from APP_SECRET_STRING]
    #[arg(long, env = "ALLY360_DB_APP_PASSWORD", hide_env_values = true)]
    pub db_app_password: Option<String>,
    /// Password of the role ally_system [default: derived from APP_SECRET_STRING]
    #[arg(long, env = "ALLY360_DB_SYSTEM_PASSWORD", hide_env_values = true)]
    pub db_system_password: Option<String>,
    /// Connections for tenant requests, per process
    #[arg(long, env = "ALLY360_DB_APP_CONNECTIONS", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub db_app_connections: u32,
    /// Connections for identity and operations, per process
    #[arg(long, env = "ALLY360_DB_SYSTEM_CONNECTIONS", default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub db_system_connections: u32,
    /// Seconds to wait for a free connection before answering 503
    #[arg(long, env = "ALLY360_DB_ACQUIRE_SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub db_acquire_seconds: u64,
    /// Milliseconds from which on a statement is logged as slow, without its values
    #[arg(long, env = "ALLY360_DB_SLOW_MS", default_value_t = 500, value_parser = clap::value_parser!(u64).range(..=600_000))]
    pub db_slow_ms: u64,
}

/// Where a PgBouncer listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pooler {
    /// Host name, or directory of its socket.
    pub host: String,
    pub port: u16,
}

/// Tokens and passwords.
#[derive(Args, Clone, Debug)]
pub struct AuthConfig {
    /// Secret of all tokens and derived keys, at least 32 bytes [default: generated in dev]
    #[arg(long, env = "APP_SECRET_STRING", hide_env_values = true)]
    pub app_secret_string: Option<String>,
    /// Earlier values of APP_SECRET_STRING, comma separated: what they signed stays valid until it expires
    #[arg(
        long,
        env = "ALLY360_PREVIOUS_SECRETS",
        hide_env_values = true,
        value_delimiter = ','
    )]
    pub previous_secrets: Vec<String>,
    /// Signature of access tokens; HS256 is the only one
    #[arg(long, env = "ALGORITHM", default_value = "HS256")]
    pub algorithm: String,
    #[arg(long, env = "ACCESS_TOKEN_EXPIRE_MINUTES", default_value_t = 30, value_parser = clap::value_parser!(i64).range(1..=1440))]
    pub access_token_expire_minutes: i64,
    #[arg(long, env = "REFRESH_TOKEN_EXPIRE_DAYS", default_value_t = 7, value_parser = clap::value_parser!(i64).range(1..=90))]
    pub refresh_token_expire_days: i64,
    /// Memory that hashing one password takes, in KiB; a changed value is applied at each next sign-in
    #[arg(long, env = "ALLY360_PASSWORD_MEMORY_KIB", default_value_t = 47104, value_parser = clap::value_parser!(u32).range(19456..=1_048_576))]
    pub password_memory_kib: u32,
    /// Passwords hashed or verified at once [default: the number of cores]
    #[arg(long, env = "ALLY360_PASSWORD_CONCURRENCY", value_parser = at_least_one())]
    pub password_concurrency: Option<usize>,
    /// Token that opens /operator to operators, at least 32 bytes [default: there is no /operator]
    #[arg(long, env = "ALLY360_OPERATOR_TOKEN", hide_env_values = true, value_parser = parse_token)]
    pub operator_token: Option<String>,
}

/// The HTTP side.
#[derive(Args, Clone, Debug)]
pub struct HttpConfig {
    /// Origins that browsers may call from, comma separated; * for any (refused in production)
    #[arg(long, env = "CORS_ORIGINS", value_delimiter = ',')]
    pub cors_origins: Vec<String>,
    /// Largest request body in bytes; files never pass through the API
    #[arg(long, env = "ALLY360_MAX_BODY_BYTES", default_value_t = 1024 * 1024, value_parser = at_least_one())]
    pub max_body_bytes: usize,
    /// Seconds for a request body to arrive
    #[arg(long, env = "ALLY360_BODY_TIMEOUT_SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub body_timeout_seconds: u64,
    /// Seconds for a whole request
    #[arg(long, env = "ALLY360_REQUEST_TIMEOUT_SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub request_timeout_seconds: u64,
    /// Connections at once, per process
    #[arg(long, env = "ALLY360_MAX_CONNECTIONS", default_value_t = 2000, value_parser = at_least_one())]
    pub max_connections: usize,
    /// Connections at once from one address; 0 for no limit (behind a proxy all have one address)
    #[arg(long, env = "ALLY360_MAX_CONNECTIONS_PER_IP", default_value_t = 0)]
    pub max_connections_per_ip: usize,
    /// Proxies whose X-Forwarded-For tells the client's address: addresses and networks, comma separated
    #[arg(long, env = "ALLY360_TRUSTED_PROXIES", value_delimiter = ',', value_parser = parse_network)]
    pub trusted_proxies: Vec<IpNet>,
    /// Seconds for open requests and jobs to finish when the process stops
    #[arg(long, env = "ALLY360_DRAIN_SECONDS", default_value_t = 25)]
    pub drain_seconds: u64,
}

/// Background jobs.
#[derive(Args, Clone, Debug)]
pub struct JobsConfig {
    /// Queues that a worker serves, comma separated [default: all]
    #[arg(long, env = "ALLY360_QUEUES", value_delimiter = ',')]
    pub queue: Vec<String>,
    /// Jobs at once, per worker
    #[arg(long, env = "ALLY360_WORKER_CONCURRENCY", default_value_t = 8)]
    pub worker_concurrency: usize,
    /// Jobs of one company at once in a queue, over all workers
    #[arg(long, env = "ALLY360_JOBS_PER_COMPANY", default_value_t = 4, value_parser = clap::value_parser!(i64).range(1..))]
    pub jobs_per_company: i64,
    /// Seconds after which a job of a silent worker is given to another
    #[arg(long, env = "ALLY360_JOB_LEASE_SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(2..=3600))]
    pub job_lease_seconds: u64,
    /// Days that the history of jobs is kept
    #[arg(long, env = "ALLY360_JOB_HISTORY_DAYS", default_value_t = 14, value_parser = clap::value_parser!(i32).range(1..=3650))]
    pub job_history_days: i32,
}

/// The audit trail.
#[derive(Args, Clone, Debug)]
pub struct AuditConfig {
    /// Months that the audit trail and the security events are kept; older ones are dropped
    #[arg(long, env = "ALLY360_AUDIT_MONTHS", default_value_t = 120, value_parser = clap::value_parser!(i32).range(12..=1200))]
    pub audit_months: i32,
}

/// How much anybody may ask for.
#[derive(Args, Clone, Debug)]
pub struct LimitsConfig {
    /// Rates of requests, in percent of the documented ones; 0 for none
    #[arg(long, env = "ALLY360_RATE_LIMIT_PERCENT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(..=100_000))]
    pub rate_limit_percent: u32,
    /// Requests of companies worked on at once, per process [default: ALLY360_DB_APP_CONNECTIONS]
    #[arg(long, env = "ALLY360_REQUESTS_AT_ONCE", value_parser = at_least_one())]
    pub requests_at_once: Option<usize>,
    /// Of these, requests of one company [default: half]
    #[arg(long, env = "ALLY360_REQUESTS_PER_COMPANY", value_parser = at_least_one())]
    pub requests_per_company: Option<usize>,
}

/// Every setting that request code reads.
#[derive(Args, Clone, Debug)]
pub struct Config {
    #[arg(
        long,
        env = "ENVIRONMENT",
        value_enum,
        ignore_case = true,
        default_value = "development"
    )]
    pub environment: Environment,
    /// Verbose logs; refused in production
    #[arg(long, env = "DEBUG", value_parser = parse_bool, default_value = "false", num_args = 0..=1, default_missing_value = "true")]
    pub debug: bool,
    #[command(flatten)]
    pub database: DatabaseConfig,
    #[command(flatten)]
    pub auth: AuthConfig,
    #[command(flatten)]
    pub http: HttpConfig,
    #[command(flatten)]
    pub jobs: JobsConfig,
    #[command(flatten)]
    pub audit: AuditConfig,
    #[command(flatten)]
    pub limits: LimitsConfig,
}

fn at_least_one() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..)
}

/// true/1/yes/on and false/0/no/off in any case, quoted or not, as `.env` files have them.
///
/// # Errors
/// What was expected.
pub fn parse_bool(value: &str) -> Result<bool, String> {
    match value.trim_matches(['"', '\'', ' ']).to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" | "" => Ok(false),
        _ => Err("expected true or false".to_owned()),
    }
}

/// `10.0.0.0/8`, or one address.
///
/// # Errors
/// What was expected.
pub fn parse_network(value: &str) -> Result<IpNet, String> {
    let value = value.trim();
    value
        .parse()
        .or_else(|_| value.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| "expected an address or a network such as 10.0.0.0/8".to_owned())
}

/// `pgbouncer:6432`.
///
/// # Errors
/// What was expected.
pub fn parse_pooler(value: &str) -> Result<Pooler, String> {
    let parts = value.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    let pooler = parts.and_then(|(host, port)| {
        Some(Pooler {
            host: host.to_owned(),
            port: port.parse().ok()?,
        })
    });
    pooler.ok_or_else(|| "expected HOST:PORT".to_owned())
}

/// A token long enough that nobody guesses it.
///
/// # Errors
/// What was expected.
pub fn parse_token(value: &str) -> Result<String, String> {
    if value.len() < 32 {
        Err("expected at least 32 bytes (openssl rand -hex 32)".to_owned())
    } else {
        Ok(value.to_owned())
    }
}

/// Scheme, host and perhaps a port, as the header has it: in lower case and without a slash at the end.
fn is_origin(value: &str) -> bool {
    let exact = |uri: http::Uri| {
        let origin = format!("{}://{}", uri.scheme_str()?, uri.authority()?);
        (origin == value && !value.contains('@')).then_some(())
    };
    let parsed = value.parse().ok().and_then(exact);
    parsed.is_some() && !value.bytes().any(|b| b.is_ascii_uppercase())
}

impl Config {
    /// Checks the settings as a whole; every fault is one line that names the variable.
    ///
    /// # Errors
    /// All faults found.
    pub fn validate(&self) -> Result<(), Vec<String>> {
        let mut faults = Vec::new();
        if self.auth.algorithm != "HS256" {
            faults.push("ALGORITHM must be HS256: no other signature is accepted".to_owned());
        }
        let database = &self.database;
        if database.db_pooler.is_some() && database.postgres_host.is_none() && database.database_url.is_none()
        {
            faults.push(
                "ALLY360_DB_POOLER stands before a server of yours: set POSTGRES_HOST or DATABASE_URL to that"
                    .to_owned(),
            );
        }
        let origins = &self.http.cors_origins;
        if let Some(wrong) = origins.iter().find(|origin| *origin != "*" && !is_origin(origin)) {
            faults.push(format!(
                "CORS_ORIGINS has {wrong:?}, which no browser sends: an origin is like https://app.example.com"
            ));
        }
        if self.environment == Environment::Production {
            match &self.auth.app_secret_string {
                None => faults.push("APP_SECRET_STRING is required in production".to_owned()),
                Some(s) if s == SAMPLE_SECRET => faults.push(
                    "APP_SECRET_STRING is the guide's sample: choose your own (openssl rand -hex 32)"
                        .to_owned(),
                ),
                Some(s) if s.len() < 32 => faults
                    .push("APP_SECRET_STRING must have at least 32 bytes (openssl rand -hex 32)".to_owned()),
                Some(_) => {}
            }
            if self
                .auth
                .previous_secrets
                .iter()
                .any(|s| s == SAMPLE_SECRET || s.len() < 32)
            {
                faults.push(
                    "ALLY360_PREVIOUS_SECRETS must hold secrets of your own of at least 32 bytes: what they sign is accepted"
                        .to_owned(),
                );
            }
            if self.debug {
                faults.push("DEBUG must be false in production".to_owned());
            }
            if origins.iter().any(|o| o == "*") {
                faults.push("CORS_ORIGINS must list the origins in production, not *".to_owned());
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    /// Whether new users are active at once, without verifying their e-mail.
    pub fn activates_users_at_once(&self) -> bool {
        self.environment == Environment::Development
    }
}
