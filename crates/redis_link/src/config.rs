//! The settings of Redis.

use clap::Args;
use redis::{Client, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo, RedisResult};

/// Redis. REDIS_HOST not set: limits and caches live in each process.
#[derive(Args, Clone, Debug)]
pub struct RedisConfig {
    /// Host name or socket of a Redis server that the processes share
    #[arg(long, env = "REDIS_HOST")]
    pub redis_host: Option<String>,
    #[arg(long, env = "REDIS_PORT", default_value_t = 6379)]
    pub redis_port: u16,
    /// Number of the database on the server
    #[arg(long, env = "REDIS_DB", default_value_t = 0, value_parser = clap::value_parser!(i64).range(0..=1_000_000))]
    pub redis_db: i64,
    #[arg(long, env = "REDIS_PASSWORD", hide_env_values = true)]
    pub redis_password: Option<String>,
    /// Whether the server is reached over TLS
    #[arg(long, env = "REDIS_USE_SSL", value_parser = kernel::config::parse_bool, default_value = "false", num_args = 0..=1, default_missing_value = "true")]
    pub redis_use_ssl: bool,
}

impl RedisConfig {
    /// Whether a server is set.
    pub fn is_set(&self) -> bool {
        self.redis_host.is_some()
    }

    /// How to connect; none without REDIS_HOST. Nothing is connected yet.
    pub(crate) fn client(&self) -> Option<RedisResult<Client>> {
        let host = self.redis_host.clone()?;
        let address = if host.starts_with('/') {
            ConnectionAddr::Unix(host.into())
        } else if self.redis_use_ssl {
            ConnectionAddr::TcpTls {
                host,
                port: self.redis_port,
                insecure: false,
                tls_params: None,
            }
        } else {
            ConnectionAddr::Tcp(host, self.redis_port)
        };
        let mut login = RedisConnectionInfo::default().set_db(self.redis_db);
        if let Some(password) = &self.redis_password {
            login = login.set_password(password);
        }
        let info = address.into_connection_info();
        Some(info.and_then(|info| Client::open(info.set_redis_settings(login))))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use tokio::io::AsyncReadExt;

    use super::*;

    #[derive(Parser)]
    struct Settings {
        #[command(flatten)]
        redis: RedisConfig,
    }

    fn settings(arguments: &[&str]) -> RedisConfig {
        Settings::parse_from([&["test"], arguments].concat()).redis
    }

    #[test]
    fn the_address_is_a_host_or_a_socket_and_none_without_a_host() {
        assert!(settings(&[]).client().is_none());
        let of = |arguments: &[&str]| {
            let client = settings(arguments).client().expect("a server").expect("a client");
            let info = client.get_connection_info();
            (info.addr().to_string(), info.redis_settings().db())
        };
        assert_eq!(of(&["--redis-host=redis"]), ("redis:6379".to_owned(), 0));
        let elsewhere = ["--redis-host=::1", "--redis-port=7000", "--redis-db=3"];
        assert_eq!(of(&elsewhere).1, 3);
        assert_eq!(of(&["--redis-host=/run/redis.sock"]).0, "/run/redis.sock");
    }

    /// Managed servers want nothing else.
    #[tokio::test]
    async fn a_server_is_spoken_to_in_tls_when_the_settings_say_so() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let port = listener.local_addr().expect("an address").port().to_string();
        let server = async {
            let (mut stream, _) = listener.accept().await.expect("a client");
            let mut hello = [0; 2];
            stream.read_exact(&mut hello).await.expect("a handshake");
            hello
        };
        let settings = settings(&["--redis-host=localhost", "--redis-port", &port, "--redis-use-ssl"]);
        let (hello, version) = tokio::join!(server, crate::probe(&settings));
        assert_eq!(hello, [0x16, 0x03], "a TLS handshake record");
        assert!(version.expect("a server").is_err());
    }
}
