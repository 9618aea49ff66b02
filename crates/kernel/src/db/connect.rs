//! Connection settings.

use std::str::FromStr;

use sqlx::postgres::{PgConnectOptions, PgSslMode};

use crate::config::DatabaseConfig;

/// Options for the configured external server as its own login (the migrating one), or `None` when
/// neither `DATABASE_URL` nor `POSTGRES_HOST` is set and the server is embedded.
///
/// # Errors
/// When `DATABASE_URL` is not a PostgreSQL URL.
pub fn connect_options(config: &DatabaseConfig) -> anyhow::Result<Option<PgConnectOptions>> {
    let options = match (&config.database_url, &config.postgres_host) {
        (Some(url), _) => {
            let ours = url.starts_with("postgres://") || url.starts_with("postgresql://");
            let parsed = PgConnectOptions::from_str(url).ok().filter(|_| ours);
            parsed.ok_or_else(|| anyhow::anyhow!("DATABASE_URL is not a PostgreSQL URL (postgres://…)"))?
        }
        (None, Some(host)) => PgConnectOptions::new_without_pgpass()
            .host(host)
            .port(config.postgres_port)
            .username(&config.postgres_user)
            .password(&config.postgres_password)
            .database(&config.postgres_db),
        (None, None) => return Ok(None),
    };
    Ok(Some(ours(options)))
}

/// Options of a server reached without TLS, such as the embedded one on its Unix socket.
pub fn ssl_free(options: PgConnectOptions) -> PgConnectOptions {
    ours(options.ssl_mode(PgSslMode::Disable))
}

fn ours(options: PgConnectOptions) -> PgConnectOptions {
    options.application_name("ally360").statement_cache_capacity(256)
}
