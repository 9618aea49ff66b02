//! `ally360 mail`, and what the doctor says of mail.

use std::process::Output;

use testkit::TestApp;
use tokio::process::Command;

use super::server::{MailServer, Tls};
use super::support::{SendReset, send};

async fn ally360(t: &TestApp, server: &MailServer, arguments: &[&str]) -> Output {
    let options = t.database().options();
    let socket = options.get_socket().expect("the test cluster's socket").display();
    let (user, port, name) = (options.get_username(), options.get_port(), t.database().name());
    Command::new(env!("CARGO_BIN_EXE_ally360"))
        .args(arguments)
        .env_clear()
        .env("APP_SECRET_STRING", testkit::SECRET)
        .env(
            "DATABASE_URL",
            format!("postgres://{user}@localhost:{port}/{name}?host={socket}"),
        )
        .env("EMAIL_SMTP_SERVER", "localhost")
        .env("EMAIL_SMTP_PORT", server.port.to_string())
        .env("EMAIL_USE_TLS", "true")
        .env("EMAIL_FROM", "hola@ally360.test")
        .env("ALLY360_MAIL_CA_FILE", server.ca())
        .current_dir(std::env::temp_dir())
        .output()
        .await
        .expect("ally360")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

#[tokio::test]
async fn an_operator_tries_the_settings() {
    let mut server = MailServer::start(Tls::Upgraded, 0).await;
    let t = super::support::app().await;
    let sent = ally360(&t, &server, &["mail", "test", "rosa@example.com"]).await;
    assert!(sent.status.success(), "{}", text(&sent.stderr));
    assert_eq!(text(&sent.stdout), "250 OK\n");
    assert_eq!(server.mail().await["recipients"][0], "rosa@example.com");

    let refused = ally360(&t, &server, &["mail", "test", "gone@example.com"]).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        text(&refused.stderr).contains("550 5.1.1 No such user"),
        "{}",
        text(&refused.stderr)
    );

    let examined = ally360(&t, &server, &["doctor"]).await;
    let report = text(&examined.stdout);
    assert!(
        report.contains(&format!("ok    mail        localhost:{} takes mail", server.port)),
        "{report}"
    );
    assert!(
        report.contains("warn  mail        links lead to http://127.0.0.1:8000"),
        "{report}"
    );
    server.port = 1;
    let examined = ally360(&t, &server, &["doctor"]).await;
    assert!(
        text(&examined.stdout).contains("FAIL  mail        the mail server localhost:1 cannot be reached")
    );
}

#[tokio::test]
async fn an_operator_lists_and_frees_addresses() {
    let server = MailServer::start(Tls::Upgraded, 0).await;
    let t = super::server::app(&server.settings()).await;
    let owner = t.tenant("Rosa").await;
    send(&t, &owner, &SendReset::to("Gone@example.com")).await;
    t.run_jobs().await;

    let listed = ally360(&t, &server, &["mail", "suppressed"]).await;
    assert!(
        text(&listed.stdout).ends_with(" gone@example.com 550 5.1.1 No such user\n"),
        "{}{}",
        text(&listed.stdout),
        text(&listed.stderr)
    );
    let freed = ally360(&t, &server, &["mail", "unsuppress", "gone@EXAMPLE.com"]).await;
    assert!(freed.status.success(), "{}", text(&freed.stderr));
    let again = ally360(&t, &server, &["mail", "unsuppress", "gone@example.com"]).await;
    assert_eq!(again.status.code(), Some(1));
    assert_eq!(
        text(&ally360(&t, &server, &["mail", "suppressed"]).await.stdout),
        ""
    );
}
