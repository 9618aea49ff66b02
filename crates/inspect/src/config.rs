//! The settings of the inspection.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;

/// Inspection of uploads. CLAMD_ADDRESS not set: only the built-in content check runs, which is no antivirus.
#[derive(Args, Clone, Debug)]
pub struct InspectConfig {
    /// ClamAV daemon that scans every upload: `tcp://host:port` or `unix:/path`
    #[arg(long, env = "CLAMD_ADDRESS")]
    pub clamd_address: Option<String>,
    /// How long one scan may take, waiting for a connection included; later the file is tried again
    #[arg(long, env = "CLAMD_TIMEOUT_SECONDS", default_value_t = 60)]
    pub clamd_timeout_seconds: u64,
    /// Largest file that clamd looks at, in bytes; larger ones are refused. Raise it only together with
    /// clamd's StreamMaxLength, MaxFileSize and MaxScanSize (four times as much), with AlertExceedsMax yes
    #[arg(long, env = "CLAMD_MAX_BYTES", default_value_t = 25 * 1024 * 1024)]
    pub clamd_max_bytes: u64,
    /// Connections to clamd at a time; its MaxThreads is 10 by default
    #[arg(long, env = "CLAMD_MAX_CONNECTIONS", default_value_t = 4)]
    pub clamd_max_connections: u16,
}

impl Default for InspectConfig {
    fn default() -> Self {
        Self {
            clamd_address: None,
            clamd_timeout_seconds: 60,
            clamd_max_bytes: 25 * 1024 * 1024,
            clamd_max_connections: 4,
        }
    }
}

/// A setting that does not fit; the message names the variable.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{variable} {fault}")]
pub struct ConfigError {
    variable: &'static str,
    fault: &'static str,
}

/// How clamd is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// `host:port`
    Tcp(String),
    Unix(PathBuf),
}

impl FromStr for Address {
    type Err = ConfigError;

    fn from_str(address: &str) -> Result<Self, ConfigError> {
        if let Some(path) = address.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.starts_with('/') {
                return Ok(Self::Unix(path.into()));
            }
        }
        if let Some(authority) = address.strip_prefix("tcp://") {
            let authority = authority.trim_end_matches('/');
            if let Some((host, port)) = authority.rsplit_once(':')
                && !host.is_empty()
                && port.parse::<u16>().is_ok_and(|port| port > 0)
            {
                return Ok(Self::Tcp(authority.to_owned()));
            }
        }
        Err(ConfigError {
            variable: "CLAMD_ADDRESS",
            fault: "must be tcp://host:port or unix:/path",
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(authority) => write!(f, "tcp://{authority}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The checked settings of clamd.
#[derive(Clone, Debug)]
pub(crate) struct ClamdSettings {
    pub address: Address,
    pub timeout: Duration,
    pub max_bytes: u64,
    pub max_connections: u16,
}

impl InspectConfig {
    /// What is set for clamd, `None` without an address.
    pub(crate) fn clamd(&self) -> Result<Option<ClamdSettings>, ConfigError> {
        let Some(address) = self
            .clamd_address
            .as_deref()
            .filter(|address| !address.is_empty())
        else {
            return Ok(None);
        };
        for (variable, value) in [
            ("CLAMD_TIMEOUT_SECONDS", self.clamd_timeout_seconds),
            ("CLAMD_MAX_BYTES", self.clamd_max_bytes),
            ("CLAMD_MAX_CONNECTIONS", self.clamd_max_connections.into()),
        ] {
            if value == 0 {
                return Err(ConfigError {
                    variable,
                    fault: "must be at least 1",
                });
            }
        }
        Ok(Some(ClamdSettings {
            address: address.parse()?,
            timeout: Duration::from_secs(self.clamd_timeout_seconds),
            max_bytes: self.clamd_max_bytes,
            max_connections: self.clamd_max_connections,
        }))
    }

    /// Checks the settings as a whole.
    ///
    /// # Errors
    /// The first fault found.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.clamd().map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_tcp_or_unix() {
        for (text, shown) in [
            ("tcp://clamd:3310", "tcp://clamd:3310"),
            ("tcp://[::1]:3310/", "tcp://[::1]:3310"),
            ("unix:/run/clamd.ctl", "unix:/run/clamd.ctl"),
            ("unix:///run/clamd.ctl", "unix:/run/clamd.ctl"),
        ] {
            assert_eq!(text.parse::<Address>().expect(text).to_string(), shown);
        }
        for text in [
            "clamd:3310",
            "tcp://clamd",
            "tcp://:3310",
            "tcp://clamd:0",
            "unix:clamd.ctl",
            "http://x:1",
        ] {
            let error = text.parse::<Address>().expect_err(text);
            assert_eq!(
                error.to_string(),
                "CLAMD_ADDRESS must be tcp://host:port or unix:/path"
            );
        }
    }

    #[test]
    fn zeroes_are_refused_only_where_clamd_is_used() {
        let mut config = InspectConfig {
            clamd_max_bytes: 0,
            ..InspectConfig::default()
        };
        config.validate().expect("no clamd");
        config.clamd_address = Some("unix:/x".into());
        assert_eq!(
            config.validate().expect_err("zero").to_string(),
            "CLAMD_MAX_BYTES must be at least 1"
        );
    }
}
