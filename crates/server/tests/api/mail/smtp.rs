//! Mail through a real server.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::{Client, TestApp, figures, full};

use super::server::{MailServer, Tls, app, settings};
use super::support::{SendReset, send};

/// Value of a header, which must stand there once.
fn header<'a>(mail: &'a Value, name: &str) -> &'a str {
    let headers = mail["headers"].as_array().expect("headers");
    let found: Vec<&str> = headers
        .iter()
        .filter(|h| h[0] == name)
        .filter_map(|h| h[1].as_str())
        .collect();
    let [value] = found[..] else {
        panic!("{name}: {found:?}")
    };
    value
}

/// The columns of all rows as text, one row a line.
async fn rows(t: &TestApp, query: &'static str) -> String {
    let rows: Vec<String> = sqlx::query_scalar(query)
        .fetch_all(&mut t.superuser().await)
        .await
        .expect("rows");
    rows.join("\n")
}

/// `address outcome` of every mail.
async fn outcomes(t: &TestApp) -> String {
    rows(
        t,
        "select address || ' ' || outcome from ally.mails order by created_at, id",
    )
    .await
}

async fn jobs(t: &TestApp) -> String {
    rows(
        t,
        "select state || ' ' || coalesce(last_error, '') from ally.jobs where queue = 'mail'",
    )
    .await
}

/// Runs what is due until no job is, or none but those that wait or are dead.
async fn run(t: &TestApp) {
    let worker = t.start_worker();
    let begun = Instant::now();
    let due = "select id::text from ally.jobs where queue = 'mail'
        and (state in ('ready', 'running') or state = 'scheduled' and run_at <= now())";
    while !rows(t, due).await.is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{}", jobs(t).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    worker.stop().await;
}

async fn setup(server: &MailServer) -> (TestApp, Client) {
    let t = app(&server.settings()).await;
    let owner = t.tenant("Rosa").await;
    (t, owner)
}

#[tokio::test]
async fn mails_go_by_starttls_after_signing_in() {
    let mut server = MailServer::start(Tls::Upgraded, 0).await;
    let mut settings = server.settings();
    settings.email_username = Some("ally".to_owned());
    settings.email_password = Some("s3cret".to_owned());
    let t = app(&settings).await;
    let owner = t.tenant("Rosa").await;
    let id = send(&t, &owner, &SendReset::to("rosa@example.com")).await;
    t.run_jobs().await;

    let mail = server.mail().await;
    assert_eq!((&mail["tls"], &mail["login"]), (&true.into(), &"ally".into()));
    assert_eq!(mail["sender"], "hola@ally360.test");
    assert_eq!(header(&mail, "From"), "Ally360 <hola@ally360.test>");
    assert_eq!(header(&mail, "To"), "Rosa <rosa@example.com>");
    assert_eq!(header(&mail, "Subject"), "Elige una contraseña nueva");
    assert_eq!(header(&mail, "Message-ID"), format!("<{id}@ally360.test>"));
    assert_eq!(header(&mail, "Auto-Submitted"), "auto-generated");
    let link = "https://app.ally360.test/account/reset-password#token=t0k3n";
    for part in ["text", "html"] {
        assert!(
            mail[part].as_str().is_some_and(|part| part.contains(link)),
            "{mail}"
        );
    }
    // RFC 5322, 2.1.1.
    assert!(
        mail["lines"].as_u64().is_some_and(|longest| longest <= 998),
        "{mail}"
    );
    assert_eq!(outcomes(&t).await, "rosa@example.com sent");
    // Outside development no mail is kept: it carries a live token.
    assert_eq!(
        rows(
            &t,
            "select coalesce(text_body, html_body, headers, 'nothing') from ally.mails"
        )
        .await,
        "nothing"
    );
}

#[tokio::test]
async fn mails_go_by_tls_from_the_start() {
    let mut server = MailServer::start(Tls::Implicit, 2465).await;
    let (t, owner) = setup(&server).await;
    send(&t, &owner, &SendReset::to("rosa@example.com")).await;
    t.run_jobs().await;
    assert_eq!(server.mail().await["tls"], true);
}

#[tokio::test]
async fn a_server_that_nobody_vouches_for_gets_nothing() {
    let mut server = MailServer::start(Tls::Upgraded, 0).await;
    let mut settings = server.settings();
    settings.mail_ca_file = None;
    let t = app(&settings).await;
    let owner = t.tenant("Rosa").await;
    send(&t, &owner, &SendReset::to("rosa@example.com")).await;
    run(&t).await;
    let waiting = jobs(&t).await;
    assert!(
        waiting.starts_with("scheduled") && waiting.contains("STARTTLS failed"),
        "{waiting}"
    );
    assert!(
        server
            .rest()
            .await
            .iter()
            .all(|event| event["event"] == "connection")
    );
}

#[tokio::test]
async fn a_wrong_password_is_tried_again() {
    let server = MailServer::start(Tls::Upgraded, 0).await;
    let mut settings = server.settings();
    settings.email_username = Some("ally".to_owned());
    settings.email_password = Some("wrong".to_owned());
    let t = app(&settings).await;
    let owner = t.tenant("Rosa").await;
    send(&t, &owner, &SendReset::to("rosa@example.com")).await;
    run(&t).await;
    let waiting = jobs(&t).await;
    assert!(
        waiting.starts_with("scheduled") && waiting.contains("EMAIL_USERNAME"),
        "{waiting}"
    );
    assert!(!waiting.contains("wrong"), "no secret in an error: {waiting}");
}

#[tokio::test]
async fn what_is_refused_for_now_is_tried_again_and_sent_once() {
    let mut server = MailServer::start(Tls::None, 0).await;
    let (t, owner) = setup(&server).await;
    send(&t, &owner, &SendReset::to("busy2@example.com")).await;
    for refusals in 1..=2 {
        run(&t).await;
        assert!(
            jobs(&t).await.contains("Greylisted"),
            "refusal {refusals}: {}",
            jobs(&t).await
        );
        t.pass(Duration::from_secs(3600)).await;
    }
    t.run_jobs().await;
    server.mail().await;
    assert_eq!(server.rest().await, Vec::<Value>::new());
    assert_eq!(outcomes(&t).await, "busy2@example.com sent");
}

#[tokio::test]
async fn an_unknown_address_gets_nothing_any_more() {
    let mut server = MailServer::start(Tls::None, 0).await;
    let (t, owner) = setup(&server).await;
    send(&t, &owner, &SendReset::to("gone@example.com")).await;
    t.run_jobs().await;
    let asked = server.rest().await;
    assert_eq!(
        asked.iter().filter(|event| event["event"] == "recipient").count(),
        1,
        "{asked:?}"
    );
    let list = ::mail::suppressed(&t.app).await.expect("the list");
    assert_eq!(
        (list[0].address.as_str(), list[0].reply.as_str()),
        ("gone@example.com", "550 5.1.1 No such user")
    );

    // In another case it is the same address.
    send(&t, &owner, &SendReset::to("Gone@example.com")).await;
    t.run_jobs().await;
    assert_eq!(
        server.rest().await,
        Vec::<Value>::new(),
        "the server is not asked again"
    );
    assert_eq!(
        outcomes(&t).await,
        "gone@example.com refused\nGone@example.com suppressed"
    );

    assert!(
        ::mail::unsuppress(&t.app, "GONE@example.com")
            .await
            .expect("an answer")
    );
    assert!(
        !::mail::unsuppress(&t.app, "gone@example.com")
            .await
            .expect("an answer")
    );
    send(&t, &owner, &SendReset::to("gone@example.com")).await;
    t.run_jobs().await;
    assert!(!server.rest().await.is_empty(), "asked again");
}

/// A relay that does not know us, or a mailbox that is full, says nothing against the address.
#[tokio::test]
async fn other_refusals_are_kept_and_suppress_nobody() {
    let server = MailServer::start(Tls::None, 0).await;
    let (t, owner) = setup(&server).await;
    send(&t, &owner, &SendReset::to("policy@example.com")).await;
    send(&t, &owner, &SendReset::to("full@example.com")).await;
    run(&t).await;
    let dead = jobs(&t).await;
    assert_eq!(
        dead.lines().filter(|job| job.starts_with("dead")).count(),
        2,
        "{dead}"
    );
    assert!(
        dead.contains("Relaying denied") && dead.contains("Mailbox full"),
        "{dead}"
    );
    assert!(::mail::suppressed(&t.app).await.expect("the list").is_empty());
}

#[tokio::test]
async fn while_the_server_is_away_mails_wait() {
    let free = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = free.local_addr().expect("an address").port();
    drop(free);
    let t = app(&settings(port)).await;
    let owner = t.tenant("Rosa").await;
    let (away, count) = if full() { (30, 300) } else { (10, 30) };
    let worker = t.start_worker();
    let pause = Duration::from_secs(away) / count;
    for n in 0..count {
        send(&t, &owner, &SendReset::to(&format!("rosa{n}@example.com"))).await;
        tokio::time::sleep(pause).await;
    }
    assert!(jobs(&t).await.contains("cannot be reached"), "{}", jobs(&t).await);
    assert_eq!(outcomes(&t).await, "");

    let mut server = MailServer::start(Tls::None, port).await;
    let back = Instant::now();
    let mut reached = BTreeSet::new();
    for _ in 0..count {
        let mail = server.mail().await;
        let fresh = reached.insert(mail["recipients"].to_string());
        assert!(fresh, "twice: {}", mail["recipients"]);
    }
    let took = back.elapsed();
    worker.stop().await;
    let more = server.rest().await;
    assert!(more.iter().all(|event| event["event"] != "mail"), "{more:?}");
    let outcomes = outcomes(&t).await;
    assert_eq!(
        outcomes.lines().filter(|line| line.ends_with(" sent")).count(),
        reached.len()
    );
    assert_eq!(jobs(&t).await, "");
    figures(
        "mail server away",
        &format!(
            "{away} s, {count} mails written meanwhile: all sent once, the last {} s after it was back",
            took.as_secs()
        ),
    );
}

/// The documented window: the second time it is the same mail to whoever compares.
#[tokio::test]
async fn a_worker_that_lost_its_lease_records_nothing() {
    let mut server = MailServer::start(Tls::None, 0).await;
    let (t, owner) = setup(&server).await;
    let id = send(&t, &owner, &SendReset::to("slow@example.com")).await;
    let worker = t.start_worker();
    let first = server.mail().await;
    // While the server thinks, the lease passes on.
    sqlx::query(
        "update ally.jobs set attempt = attempt + 1, state = 'ready', lease_until = null where id = $1",
    )
    .bind(id)
    .execute(&mut t.superuser().await)
    .await
    .expect("updated");
    worker.stop().await;
    assert_eq!(outcomes(&t).await, "", "the first worker has no say any more");
    t.run_jobs().await;
    let second = server.mail().await;
    assert_eq!(header(&first, "Message-ID"), header(&second, "Message-ID"));
    assert_eq!(outcomes(&t).await, "slow@example.com sent");
}

#[tokio::test]
async fn a_mail_that_is_being_sent_is_finished_when_the_worker_stops() {
    let mut server = MailServer::start(Tls::None, 0).await;
    let (t, owner) = setup(&server).await;
    send(&t, &owner, &SendReset::to("slow@example.com")).await;
    let worker = t.start_worker();
    server.mail().await;
    worker.stop().await;
    assert_eq!(outcomes(&t).await, "slow@example.com sent");
    assert_eq!(jobs(&t).await, "");
}

#[tokio::test]
async fn connections_serve_more_than_one_mail() {
    let mut server = MailServer::start(Tls::Upgraded, 0).await;
    let (t, owner) = setup(&server).await;
    for n in 0..5 {
        send(&t, &owner, &SendReset::to(&format!("rosa{n}@example.com"))).await;
        t.run_jobs().await;
    }
    let events = server.rest().await;
    let count = |what: &str| events.iter().filter(|event| event["event"] == what).count();
    assert_eq!((count("mail"), count("connection")), (5, 1), "{events:?}");
}

#[tokio::test]
async fn nothing_that_people_write_becomes_a_header_or_a_recipient() {
    let mut server = MailServer::start(Tls::None, 0).await;
    let (t, owner) = setup(&server).await;
    let hostile = SendReset {
        to: "rosa@example.com".to_owned(),
        name: "Rosa\r\nBcc: victim@example.com\r\n\r\nHello <evil@example.com>, \"x".to_owned(),
    };
    send(&t, &owner, &hostile).await;
    t.run_jobs().await;
    let mail = server.mail().await;
    assert_eq!(mail["recipients"], serde_json::json!(["rosa@example.com"]));
    let names: Vec<&str> = mail["headers"]
        .as_array()
        .expect("headers")
        .iter()
        .filter_map(|h| h[0].as_str())
        .collect();
    assert!(!names.contains(&"Bcc"), "{names:?}");
    assert!(header(&mail, "To").ends_with("<rosa@example.com>"), "{mail}");
    assert!(
        mail["text"]
            .as_str()
            .is_some_and(|text| text.starts_with("Hola Rosa Bcc: ")),
        "{mail}"
    );

    for address in [
        "rosa@example.com>\r\nRCPT TO:<victim@example.com",
        "rosa@example.com, victim@example.com",
        "Rosa <rosa@example.com>",
        "rosa",
    ] {
        send(&t, &owner, &SendReset::to(address)).await;
    }
    run(&t).await;
    assert_eq!(server.rest().await, Vec::<Value>::new());
    assert_eq!(
        jobs(&t)
            .await
            .lines()
            .filter(|job| job.starts_with("dead the recipient has no valid address"))
            .count(),
        4
    );
}

#[tokio::test]
async fn without_a_server_mails_wait() {
    let mut unset = settings(0);
    unset.email_smtp_server = None;
    let t = app(&unset).await;
    let owner = t.tenant("Rosa").await;
    send(&t, &owner, &SendReset::to("rosa@example.com")).await;
    run(&t).await;
    let waiting = jobs(&t).await;
    assert_eq!(waiting, "scheduled no mail server is set: EMAIL_SMTP_SERVER");
    assert_eq!(
        rows(&t, "select failures::text from ally.jobs where queue = 'mail'").await,
        "0",
        "not counted"
    );
}
