//! Connection settings.

use std::str::FromStr;

use sqlx::postgres::{PgConnectOptions, PgSslMode};

use crate::config::{DatabaseConfig, Pooler};

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

/// The same server behind a pooler that lends its connections for a transaction each: no statement is kept from one
/// to the next, and nothing is set at the start of a session that the pooler does not know.
pub fn behind(pooler: &Pooler, server: &PgConnectOptions) -> PgConnectOptions {
    let base = match (server.get_socket(), server.get_database()) {
        // A socket beats a host and cannot be taken back.
        (Some(_), Some(database)) => ssl_free(PgConnectOptions::new_without_pgpass().database(database)),
        _ => server.clone(),
    };
    let options = if pooler.host.starts_with('/') {
        base.socket(&pooler.host)
    } else {
        base.host(&pooler.host)
    };
    options
        .port(pooler.port)
        .statement_cache_capacity(0)
        .extra_float_digits(None)
}

/// Connects with the first of these logins whose password the server accepts.
pub(super) async fn first_accepted<T>(
    logins: &[PgConnectOptions],
    connect: impl AsyncFn(&PgConnectOptions) -> sqlx::Result<T>,
) -> sqlx::Result<T> {
    let mut refused = sqlx::Error::PoolClosed;
    for login in logins {
        match connect(login).await {
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("28P01") => {
                refused = sqlx::Error::Database(error);
            }
            result => return result,
        }
    }
    Err(refused)
}

fn ours(options: PgConnectOptions) -> PgConnectOptions {
    options.application_name("ally360").statement_cache_capacity(256)
}

#[cfg(test)]
mod tests {
    use sqlx::ConnectOptions;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Managed servers accept nothing else.
    #[tokio::test]
    async fn a_server_that_offers_tls_is_spoken_to_in_tls() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let server = async {
            let (mut stream, _) = listener.accept().await.expect("a client");
            let mut request = [0; 8];
            stream.read_exact(&mut request).await.expect("SSLRequest");
            stream.write_all(b"S").await.expect("an answer");
            let mut hello = [0; 2];
            stream.read_exact(&mut hello).await.expect("a handshake");
            hello
        };
        let options = PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(port)
            .ssl_mode(PgSslMode::Require);
        let (hello, _) = tokio::join!(server, options.connect());
        assert_eq!(hello, [0x16, 0x03], "a TLS handshake record");
    }
}
