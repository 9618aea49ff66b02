//! The client of a mail server.
//!
//! Connections are kept for the next mail only after a mail went through: one that was cut in the middle
//! of a dialogue would read the answers of the last mail as those of the next.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use lettre::address::Envelope;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailParameter};
use lettre::transport::smtp::response::Response;
use tokio::time::timeout;

use crate::MailConfig;

/// From the first byte to the server's last word. Below the time that a job has.
const DIALOGUE: Duration = Duration::from_secs(45);
const CONNECT: Duration = Duration::from_secs(10);
/// Servers close idle connections after some minutes.
const IDLE: Duration = Duration::from_secs(30);
const IDLE_CONNECTIONS: usize = 4;
/// Ports that speak TLS from the start: that of RFC 8314, and where networks block it.
const TLS_PORTS: [u16; 2] = [465, 2465];

/// A mail server.
#[derive(Clone)]
pub(crate) struct Smtp(Arc<Server>);

struct Server {
    host: String,
    port: u16,
    tls: Option<TlsParameters>,
    credentials: Option<Credentials>,
    idle: Mutex<Vec<(AsyncSmtpConnection, Instant)>>,
}

/// Why a mail did not go, as far as it matters.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The server is away or busy, or does not let us in: tried again.
    #[error("{0:#}")]
    Passing(anyhow::Error),
    /// Nobody has this address; the server's answer.
    #[error("{0}")]
    NoSuchAddress(String),
    /// The server takes this mail never.
    #[error("{0:#}")]
    Refused(anyhow::Error),
}

impl Smtp {
    /// The configured server. Connects only when a mail goes.
    ///
    /// # Errors
    /// When the settings contradict each other, or the certificates cannot be read.
    pub(crate) fn new(host: &str, config: &MailConfig) -> anyhow::Result<Smtp> {
        let credentials = match (&config.email_username, &config.email_password) {
            (Some(user), Some(password)) => Some(Credentials::new(user.clone(), password.clone())),
            (None, Some(_)) => anyhow::bail!("EMAIL_PASSWORD is set, but not EMAIL_USERNAME"),
            (_, None) => None,
        };
        ensure!(
            credentials.is_none() || config.email_use_tls,
            "EMAIL_USE_TLS=false would send EMAIL_PASSWORD for everybody to read"
        );
        let server = Server {
            host: host.to_owned(),
            port: config.email_smtp_port,
            tls: if config.email_use_tls {
                Some(tls(host, config)?)
            } else {
                None
            },
            credentials,
            idle: Mutex::default(),
        };
        Ok(Smtp(Arc::new(server)))
    }

    /// Host and port.
    pub(crate) fn address(&self) -> (&str, u16) {
        (&self.0.host, self.0.port)
    }

    /// Has the server take a mail; returns its answer.
    pub(crate) async fn send(&self, envelope: &Envelope, message: &[u8]) -> Result<String, Fault> {
        let dialogue = async {
            let mut connection = self.connection().await.map_err(Fault::Passing)?;
            let answer = hand_over(&mut connection, envelope, message).await?;
            self.keep(connection);
            Ok(answer)
        };
        let late = |_| Fault::Passing(anyhow::anyhow!("the mail server took longer than {DIALOGUE:?}"));
        timeout(DIALOGUE, dialogue).await.map_err(late)?
    }

    /// Connects and signs in.
    ///
    /// # Errors
    /// What the server did not like.
    pub(crate) async fn check(&self) -> anyhow::Result<()> {
        let mut connection = timeout(DIALOGUE, self.connect()).await??;
        connection.abort().await;
        Ok(())
    }

    async fn connection(&self) -> anyhow::Result<AsyncSmtpConnection> {
        while let Some(mut connection) = self.kept() {
            if connection.test_connected().await {
                return Ok(connection);
            }
        }
        self.connect().await
    }

    async fn connect(&self) -> anyhow::Result<AsyncSmtpConnection> {
        let server = &*self.0;
        let (at_once, upgrade) = if TLS_PORTS.contains(&server.port) {
            (server.tls.clone(), None)
        } else {
            (None, server.tls.clone())
        };
        let us = ClientId::default();
        let address = (server.host.as_str(), server.port);
        let mut connection = AsyncSmtpConnection::connect_tokio1(address, Some(CONNECT), &us, at_once, None)
            .await
            .with_context(|| {
                format!(
                    "the mail server {}:{} cannot be reached",
                    server.host, server.port
                )
            })?;
        if let Some(tls) = upgrade {
            ensure!(
                connection.can_starttls(),
                "the mail server does not offer STARTTLS: set EMAIL_SMTP_PORT=465 or EMAIL_USE_TLS=false"
            );
            connection.starttls(tls, &us).await.context("STARTTLS failed")?;
        }
        if let Some(credentials) = &server.credentials {
            connection
                .auth(DEFAULT_MECHANISMS, credentials)
                .await
                .context("the mail server does not accept EMAIL_USERNAME and EMAIL_PASSWORD")?;
        }
        Ok(connection)
    }

    fn kept(&self) -> Option<AsyncSmtpConnection> {
        let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(_, since)| since.elapsed() < IDLE);
        idle.pop().map(|(connection, _)| connection)
    }

    fn keep(&self, connection: AsyncSmtpConnection) {
        let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_CONNECTIONS {
            idle.push((connection, Instant::now()));
        }
    }
}

fn tls(host: &str, config: &MailConfig) -> anyhow::Result<TlsParameters> {
    let mut tls = TlsParameters::builder(host.to_owned());
    if let Some(file) = &config.mail_ca_file {
        let unreadable = || format!("ALLY360_MAIL_CA_FILE: {} cannot be read", file.display());
        let pem = std::fs::read(file).with_context(unreadable)?;
        tls = tls.add_root_certificate(Certificate::from_pem(&pem).with_context(unreadable)?);
    }
    Ok(tls.build_rustls()?)
}

async fn hand_over(
    connection: &mut AsyncSmtpConnection,
    envelope: &Envelope,
    message: &[u8],
) -> Result<String, Fault> {
    let mut options = Vec::new();
    if envelope
        .to()
        .iter()
        .any(|address| !AsRef::<str>::as_ref(address).is_ascii())
    {
        if !connection.server_info().supports_feature(Extension::SmtpUtfEight) {
            return Err(Fault::Refused(anyhow::anyhow!(
                "the mail server takes no addresses outside ASCII"
            )));
        }
        options.push(MailParameter::SmtpUtfEight);
    }
    // What is refused before the recipient was named is about us, never about him.
    let from = Mail::new(envelope.from().cloned(), options);
    connection
        .command(from)
        .await
        .map_err(|error| Fault::Passing(error.into()))?;
    for address in envelope.to() {
        let to = Rcpt::new(address.clone(), Vec::new());
        connection
            .command(to)
            .await
            .map_err(|error| judge(error, Stage::Recipient))?;
    }
    connection
        .command(Data)
        .await
        .map_err(|error| judge(error, Stage::Content))?;
    let answer = connection
        .message(message)
        .await
        .map_err(|error| judge(error, Stage::Content))?;
    Ok(words(&answer))
}

fn words(answer: &Response) -> String {
    format!(
        "{} {}",
        answer.code(),
        answer.message().collect::<Vec<_>>().join(" ")
    )
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Recipient,
    Content,
}

fn judge(error: lettre::transport::smtp::Error, stage: Stage) -> Fault {
    let Some(code) = error.status().filter(|_| error.is_permanent()) else {
        return Fault::Passing(error.into());
    };
    let text = std::error::Error::source(&error)
        .map(ToString::to_string)
        .unwrap_or_default();
    if is_unknown_address(code.into(), &text, stage) {
        Fault::NoSuchAddress(format!("{code} {text}"))
    } else {
        Fault::Refused(error.into())
    }
}

/// How servers without enhanced status codes say that they do not know a mailbox.
const UNKNOWN: [&str; 6] = [
    "no such user",
    "user unknown",
    "unknown user",
    "no such recipient",
    "recipient unknown",
    "no mailbox here by that name",
];

/// Whether a permanent refusal says that there is no such mailbox, by the enhanced status code (RFC 3463)
/// if there is one. A full mailbox, a policy or a sender that is not liked says nothing about the address; and without
/// such a code 550 says nothing at all: servers refuse so whom they do not let in, too (RFC 5321, 4.2.3).
fn is_unknown_address(code: u16, text: &str, stage: Stage) -> bool {
    match enhanced(text) {
        Some((1, detail)) => matches!(detail, 1 | 2 | 3 | 6 | 10),
        Some((2, detail)) => detail == 1,
        Some(_) => false,
        None if stage == Stage::Content => false,
        // RFC 7504: the domain takes no mail.
        None if code == 556 => true,
        None => {
            let text = text.to_lowercase();
            // Exim tells in the same words that it does not know who sends.
            let is_of_sender = text.contains("sender") || text.contains("verif");
            !is_of_sender && UNKNOWN.iter().any(|unknown| text.contains(unknown))
        }
    }
}

/// Subject and detail of a permanent `5.subject.detail` at the beginning.
fn enhanced(text: &str) -> Option<(u16, u16)> {
    let mut numbers = text.split_whitespace().next()?.strip_prefix("5.")?.split('.');
    let subject = numbers.next()?.parse().ok()?;
    let detail = numbers.next()?.parse().ok()?;
    numbers.next().is_none().then_some((subject, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unknown_mailboxes_count_as_such() {
        let unknown = |code, text| is_unknown_address(code, text, Stage::Recipient);
        assert!(unknown(550, "5.1.1 No such user"));
        assert!(unknown(554, "5.1.10 Null MX"));
        assert!(unknown(550, "5.2.1 Mailbox disabled"));
        assert!(unknown(550, "No such user here"));
        assert!(unknown(556, "takes no mail"));
        for passing in [
            "relay not permitted",
            "Sender verify failed",
            "listed at dnsbl.example",
            "Verification failed for <us@example.com>\nUser unknown\nSender verify failed",
            "",
        ] {
            assert!(!unknown(550, passing), "{passing}");
        }
        assert!(!unknown(550, "5.7.1 Relaying denied"));
        assert!(!unknown(550, "5.1.8 Sender's domain has no address"));
        assert!(!unknown(552, "5.2.2 Mailbox full"));
        assert!(!unknown(554, "rejected as spam"));
        assert!(!is_unknown_address(550, "rejected as spam", Stage::Content));
        assert!(is_unknown_address(550, "5.1.1 No such user", Stage::Content));
    }
}
