//! The settings of the object store and the addresses they stand for.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;

use clap::Args;
use url::Url;

use crate::embedded::Options;

/// Object storage. MINIO_HOST not set: the files are kept below the data directory by this process.
#[derive(Args, Clone, Debug)]
pub struct StorageConfig {
    /// Host name of MinIO or another S3 server; `http://` or `https://` before it decides over MINIO_USE_SSL
    #[arg(long, env = "MINIO_HOST")]
    pub minio_host: Option<String>,
    #[arg(long, env = "MINIO_PORT", default_value_t = 9000)]
    pub minio_port: u16,
    #[arg(long, env = "MINIO_ACCESS_KEY", default_value = "", hide_env_values = true)]
    pub minio_access_key: String,
    #[arg(long, env = "MINIO_SECRET_KEY", default_value = "", hide_env_values = true)]
    pub minio_secret_key: String,
    /// Bucket of the scanned files; uploads wait in the one with `-quarantine` appended
    #[arg(long, env = "MINIO_BUCKET_NAME", default_value = "ally360")]
    pub minio_bucket_name: String,
    /// Whether the server is reached over TLS
    #[arg(long, env = "MINIO_USE_SSL", value_parser = kernel::config::parse_bool, default_value = "false", num_args = 0..=1, default_missing_value = "true")]
    pub minio_use_ssl: bool,
    /// Host name in the URLs that clients get, `https://` before it if need be [default: as this process sees it]
    #[arg(long, env = "MINIO_PUBLIC_HOST")]
    pub minio_public_host: Option<String>,
    /// Port in the URLs that clients get [default: as this process sees it]
    #[arg(long, env = "MINIO_PUBLIC_PORT")]
    pub minio_public_port: Option<u16>,
    #[arg(long, env = "MINIO_REGION", default_value = "us-east-1")]
    pub minio_region: String,
    /// Address of the embedded store, as browsers reach it; port 0 takes a free one
    #[arg(long, env = "ALLY360_STORE_LISTEN", default_value = "127.0.0.1:0")]
    pub store_listen: SocketAddr,
    /// Largest object that the embedded store takes, in bytes
    #[arg(long, env = "ALLY360_STORE_MAX_OBJECT_BYTES", default_value_t = 1024 * 1024 * 1024)]
    pub store_max_object_bytes: u64,
}

/// The two halves of an S3 key.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub access_key: String,
    pub secret_key: String,
}

/// Without the secret, so that it cannot end in a log.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("access_key", &self.access_key)
            .finish_non_exhaustive()
    }
}

/// A setting that does not fit; the message names the variable.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{variable} {fault}")]
pub struct ConfigError {
    variable: &'static str,
    fault: String,
}

impl ConfigError {
    fn new(variable: &'static str, fault: impl Into<String>) -> Self {
        Self {
            variable,
            fault: fault.into(),
        }
    }
}

/// Where the store is: for this process and for clients.
#[derive(Debug)]
pub(crate) struct Endpoints {
    pub internal: Url,
    pub public: Url,
}

impl StorageConfig {
    /// Whether the files are kept by this process.
    pub fn is_embedded(&self) -> bool {
        self.host().is_none()
    }

    /// How the embedded store runs with these settings, where no upload may be larger than that.
    pub fn embedded_options(&self, data_dir: &Path, max_upload_bytes: u64) -> Options {
        Options {
            data_dir: data_dir.to_owned(),
            listen: self.store_listen,
            own_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            max_object_bytes: self.store_max_object_bytes,
            quarantine_bucket: self.quarantine_bucket(),
            max_upload_bytes,
        }
    }

    /// Checks the settings as a whole; every fault names the variable.
    ///
    /// # Errors
    /// The first fault found.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let quarantine = self.quarantine_bucket();
        if !s3s::path::check_bucket_name(&self.minio_bucket_name) || quarantine.len() > 63 {
            let rule = "must be an S3 bucket name of 3 to 52 lower-case letters, digits, dots and hyphens";
            return Err(ConfigError::new("MINIO_BUCKET_NAME", rule));
        }
        if self.minio_region.is_empty() {
            return Err(ConfigError::new("MINIO_REGION", "must not be empty"));
        }
        match self.host() {
            Some(host) => {
                if self.minio_access_key.is_empty() || self.minio_secret_key.is_empty() {
                    let needed = "and MINIO_SECRET_KEY are required with MINIO_HOST";
                    return Err(ConfigError::new("MINIO_ACCESS_KEY", needed));
                }
                self.endpoints(&self.internal_url(host)?).map(drop)
            }
            None => self.endpoints(&listen_url(self.store_listen)).map(drop),
        }
    }

    pub(crate) fn quarantine_bucket(&self) -> String {
        format!("{}-quarantine", self.minio_bucket_name)
    }

    /// The remote server's addresses and its credentials.
    pub(crate) fn external(&self) -> Result<(Endpoints, Credentials), ConfigError> {
        self.validate()?;
        let host = self
            .host()
            .ok_or_else(|| ConfigError::new("MINIO_HOST", "is not set"))?;
        let credentials = Credentials {
            access_key: self.minio_access_key.clone(),
            secret_key: self.minio_secret_key.clone(),
        };
        Ok((self.endpoints(&self.internal_url(host)?)?, credentials))
    }

    /// The addresses of an embedded store that listens on `addr` for clients and on `own` for this process.
    pub(crate) fn embedded(&self, addr: SocketAddr, own: SocketAddr) -> Result<Endpoints, ConfigError> {
        self.validate()?;
        Ok(Endpoints {
            internal: listen_url(own),
            ..self.endpoints(&listen_url(addr))?
        })
    }

    /// Compose files hand over an empty string for a variable that is not set.
    fn host(&self) -> Option<&str> {
        self.minio_host.as_deref().filter(|host| !host.is_empty())
    }

    fn internal_url(&self, host: &str) -> Result<Url, ConfigError> {
        let scheme = if self.minio_use_ssl { "https" } else { "http" };
        endpoint(host, scheme, Some(self.minio_port), "MINIO_HOST")
    }

    fn endpoints(&self, internal: &Url) -> Result<Endpoints, ConfigError> {
        let mut public = match self.minio_public_host.as_deref().filter(|host| !host.is_empty()) {
            Some(host) => endpoint(host, internal.scheme(), internal.port(), "MINIO_PUBLIC_HOST")?,
            None => internal.clone(),
        };
        if let Some(port) = self.minio_public_port {
            public
                .set_port(Some(port))
                .map_err(|()| ConfigError::new("MINIO_PUBLIC_PORT", "does not fit the host"))?;
        }
        Ok(Endpoints {
            internal: internal.clone(),
            public,
        })
    }
}

/// `host`, `host:port` or a URL. A bare host gets `scheme` and `port`; a URL keeps its own port or its scheme's.
fn endpoint(host: &str, scheme: &str, port: Option<u16>, variable: &'static str) -> Result<Url, ConfigError> {
    let fault = || ConfigError::new(variable, "must be a host name, host:port or an http(s) URL");
    if host.contains("://") {
        let url: Url = host.parse().map_err(|_| fault())?;
        let plain = matches!(url.scheme(), "http" | "https") && url.has_host() && url.path() == "/";
        return if plain { Ok(url) } else { Err(fault()) };
    }
    let mut url: Url = format!("{scheme}://{host}").parse().map_err(|_| fault())?;
    if url.path() != "/" || url.query().is_some() || !url.username().is_empty() {
        return Err(fault());
    }
    let names_port = host
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if !names_port {
        url.set_port(port).map_err(|()| fault())?;
    }
    Ok(url)
}

/// The URL of an address to listen on; one that means every interface is reached on this machine.
fn listen_url(addr: SocketAddr) -> Url {
    let addr = match addr {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => SocketAddr::from(([127, 0, 0, 1], v4.port())),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => {
            SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], v6.port()))
        }
        addr => addr,
    };
    #[expect(clippy::expect_used, reason = "an address is a valid authority")]
    format!("http://{addr}")
        .parse()
        .expect("an address is a valid authority")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        storage: StorageConfig,
    }

    fn parse(args: &[&str]) -> StorageConfig {
        Cli::try_parse_from(std::iter::once(&"ally360").chain(args))
            .expect("flags")
            .storage
    }

    fn urls(args: &[&str]) -> (String, String) {
        let mut all = vec!["--minio-access-key", "a", "--minio-secret-key", "s"];
        all.extend(args);
        let (endpoints, _) = parse(&all).external().expect("settings");
        (endpoints.internal.to_string(), endpoints.public.to_string())
    }

    #[test]
    fn the_guides_variables_are_one_address() {
        let here = "http://minio:9000/".to_owned();
        assert_eq!(urls(&["--minio-host", "minio"]), (here.clone(), here.clone()));
        assert_eq!(
            urls(&["--minio-host", "minio:9000", "--minio-port", "1"]),
            (here.clone(), here)
        );
    }

    #[test]
    fn the_public_address_may_differ() {
        let port = urls(&[
            "--minio-host",
            "minio",
            "--minio-public-host",
            "localhost",
            "--minio-public-port",
            "19000",
        ]);
        assert_eq!(port.1, "http://localhost:19000/");
        let tls = urls(&[
            "--minio-host",
            "minio",
            "--minio-public-host",
            "https://files.example.com",
        ]);
        assert_eq!(
            tls,
            (
                "http://minio:9000/".to_owned(),
                "https://files.example.com/".to_owned()
            )
        );
        let ssl = urls(&[
            "--minio-host",
            "s3.example.com",
            "--minio-port",
            "443",
            "--minio-use-ssl",
            "yes",
        ]);
        assert_eq!(ssl.0, "https://s3.example.com/");
    }

    #[test]
    fn faults_name_the_variable() {
        let fault = |args: &[&str]| parse(args).validate().expect_err("a fault").to_string();
        assert!(fault(&["--minio-host", "minio"]).starts_with("MINIO_ACCESS_KEY"));
        assert!(fault(&["--minio-bucket-name", "Big_Bucket"]).starts_with("MINIO_BUCKET_NAME"));
        let path = [
            "--minio-host",
            "http://minio/path",
            "--minio-access-key",
            "a",
            "--minio-secret-key",
            "s",
        ];
        assert!(fault(&path).starts_with("MINIO_HOST"));
    }

    #[test]
    fn an_empty_host_means_embedded() {
        let config = parse(&["--minio-host", "", "--store-listen", "0.0.0.0:9100"]);
        assert!(config.is_embedded());
        let endpoints = config
            .embedded(config.store_listen, ([127, 0, 0, 1], 9).into())
            .expect("settings");
        assert_eq!(endpoints.public.as_str(), "http://127.0.0.1:9100/");
    }
}
