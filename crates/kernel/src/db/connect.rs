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

    /// What a server says to a password that is not the role's.
    #[derive(Debug, thiserror::Error)]
    #[error("no")]
    struct Wrong(&'static str);

    impl sqlx::error::DatabaseError for Wrong {
        fn message(&self) -> &'static str {
            "no"
        }
        fn code(&self) -> Option<std::borrow::Cow<'_, str>> {
            Some(self.0.into())
        }
        fn kind(&self) -> sqlx::error::ErrorKind {
            sqlx::error::ErrorKind::Other
        }
        fn as_error(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
            self
        }
        fn as_error_mut(&mut self) -> &mut (dyn std::error::Error + Send + Sync + 'static) {
            self
        }
        fn into_error(self: Box<Self>) -> Box<dyn std::error::Error + Send + Sync + 'static> {
            self
        }
    }

    #[tokio::test]
    async fn an_earlier_password_is_tried_when_the_present_one_is_refused() {
        let login = |port| PgConnectOptions::new_without_pgpass().port(port);
        let logins = [login(1), login(2), login(3)];
        let answers = async |code: &'static str, accepted: u16| {
            first_accepted(&logins, async |login| {
                if login.get_port() == accepted {
                    Ok(accepted)
                } else {
                    Err(sqlx::Error::Database(Box::new(Wrong(code))))
                }
            })
            .await
        };
        assert_eq!(answers("28P01", 1).await.expect("the present one"), 1);
        assert_eq!(answers("28P01", 3).await.expect("an earlier one"), 3);
        for (code, accepted) in [("28P01", 9), ("53300", 3)] {
            let refused = answers(code, accepted).await.expect_err("refused");
            let told = refused
                .as_database_error()
                .and_then(sqlx::error::DatabaseError::code);
            assert_eq!(told.as_deref(), Some(code));
        }
    }
}
