//! A real mail server in a process of its own: aiosmtpd.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use ::mail::{MailConfig, Mailer};
use clap::Parser;
use serde_json::Value;
use tempfile::TempDir;
use testkit::TestApp;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

const SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/api/mail/smtp_server.py");
/// Made by `script/test`.
const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/venv/bin/python");
const LIMIT: Duration = Duration::from_secs(20);

/// How the server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    None,
    /// Plain, then upgraded by STARTTLS.
    Upgraded,
    Implicit,
}

/// The server; it ends with this value.
pub struct MailServer {
    pub port: u16,
    tls: Tls,
    certificate: TempDir,
    lines: Lines<BufReader<ChildStdout>>,
    _process: Child,
}

impl MailServer {
    /// Listens on this port, or on a free one.
    pub async fn start(tls: Tls, port: u16) -> MailServer {
        let certificate = self_signed().await;
        assert!(
            Path::new(PYTHON).exists(),
            "the tests need a mail server: source script/lib.sh && need_venv aiosmtpd==1.4.6"
        );
        let mut process = Command::new(PYTHON)
            .args([SERVER, &format!("{tls:?}").to_lowercase(), &port.to_string()])
            .args([
                certificate.path().join("cert.pem"),
                certificate.path().join("key.pem"),
            ])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("python");
        let output = process.stdout.take().expect("its output");
        let mut server = MailServer {
            port,
            tls,
            certificate,
            lines: BufReader::new(output).lines(),
            _process: process,
        };
        let listening = server.next().await;
        server.port = listening["port"]
            .as_u64()
            .and_then(|port| port.try_into().ok())
            .expect("a port");
        server
    }

    /// What happened next.
    pub async fn next(&mut self) -> Value {
        let line = timeout(LIMIT, self.lines.next_line()).await.expect("in time");
        serde_json::from_str(&line.expect("a line").expect("the server runs")).expect("JSON")
    }

    /// The next mail.
    pub async fn mail(&mut self) -> Value {
        loop {
            let event = self.next().await;
            if event["event"] == "mail" {
                return event;
            }
        }
    }

    /// What happened and was not asked for yet.
    pub async fn rest(&mut self) -> Vec<Value> {
        let mut events = Vec::new();
        while let Ok(line) = timeout(Duration::from_millis(300), self.lines.next_line()).await {
            let Some(line) = line.expect("a line") else { break };
            events.push(serde_json::from_str(&line).expect("JSON"));
        }
        events
    }

    /// Settings under which mails go here.
    pub fn settings(&self) -> MailConfig {
        let mut settings = settings(self.port);
        settings.email_use_tls = self.tls != Tls::None;
        if settings.email_use_tls {
            settings.mail_ca_file = Some(self.ca());
        }
        settings
    }

    /// The certificate to trust.
    pub fn ca(&self) -> PathBuf {
        self.certificate.path().join("cert.pem")
    }
}

/// Settings of an unencrypted server at this port.
pub fn settings(port: u16) -> MailConfig {
    #[derive(Parser)]
    struct Settings {
        #[command(flatten)]
        mail: MailConfig,
    }
    let port = format!("--email-smtp-port={port}");
    Settings::parse_from([
        "test",
        "--email-smtp-server=localhost",
        &port,
        "--email-use-tls=false",
        "--email-from=hola@ally360.test",
        "--frontend-url=https://app.ally360.test",
    ])
    .mail
}

/// The API, its mails sent by these settings.
pub async fn app(settings: &MailConfig) -> TestApp {
    let mut t = super::support::app().await;
    let mailer = Mailer::new(settings, "http://ally360.test").expect("a mailer");
    t.app = t.app.clone().with_part(mailer);
    t
}

/// A certificate of `localhost`, and its key.
async fn self_signed() -> TempDir {
    let dir = TempDir::with_prefix("ally360-test-mail-").expect("a directory");
    let output = Command::new("openssl")
        .args(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
                .split(' '),
        )
        .args([
            "-addext",
            "subjectAltName=DNS:localhost",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        ])
        .args(["-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(dir.path())
        .output()
        .await
        .expect("openssl");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    dir
}
