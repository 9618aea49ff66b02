//! The mailbox of development, and its pages.

use std::collections::BTreeSet;

use ::mail::{MailConfig, Mailer};
use kernel::app::App;

use super::support::{SendReset, app, send};
use crate::jobs::support::execute;

#[tokio::test]
async fn a_job_leaves_one_mail_in_the_mailbox() {
    let t = app().await;
    let owner = t.tenant("Rosa").await;
    let id = send(&t, &owner, &SendReset::to("rosa@example.com")).await;
    t.run_jobs().await;

    let mails = t.mail_to("ROSA@example.com").await;
    let [mail] = &mails[..] else { panic!("{mails:?}") };
    assert_eq!(
        (mail.letter.as_str(), mail.subject.as_str()),
        ("password-reset", "Elige una contraseña nueva")
    );
    assert_eq!(
        mail.link(),
        "http://ally360.test/account/reset-password#token=t0k3n"
    );
    assert_eq!(mail.token(), "t0k3n");
    assert!(mail.html.contains(mail.link()), "{}", mail.html);
    let message_id = format!("Message-ID: <{id}@");
    assert!(mail.headers.contains(&message_id), "{}", mail.headers);
    assert!(t.mail_to("pedro@example.com").await.is_empty());

    let runs = "select string_agg(name || ' ' || outcome, ',') from ally.job_runs where name like 'test.%'";
    let runs: Option<String> = sqlx::query_scalar(runs)
        .fetch_one(&mut t.superuser().await)
        .await
        .expect("runs");
    assert_eq!(runs.as_deref(), Some("test.send_reset done"));
}

#[tokio::test]
async fn the_pages_show_what_was_sent() {
    let t = app().await;
    let owner = t.tenant("Rosa").await;
    for to in ["rosa@example.com", "pedro@example.com"] {
        send(&t, &owner, &SendReset::to(to)).await;
    }
    t.run_jobs().await;

    let anyone = t.anonymous();
    let all = anyone.get("/dev/mail.json").await.ok();
    let to: BTreeSet<_> = all
        .json
        .as_array()
        .expect("mails")
        .iter()
        .map(|m| m["address"].to_string())
        .collect();
    assert_eq!(to.len(), 2, "{}", all.json);
    let his = anyone.get("/dev/mail.json?to=pedro@example.com").await.ok();
    let id = his.json[0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(his.json.as_array().map(Vec::len), Some(1));

    let list = anyone.get("/dev/mail").await.ok().text();
    assert!(
        list.contains("pedro@example.com") && list.contains(&format!("/dev/mail/{id}")),
        "{list}"
    );
    let shown = anyone.get(&format!("/dev/mail/{id}")).await.ok().text();
    assert!(
        shown.contains("sandbox=\"allow-popups allow-popups-to-escape-sandbox\""),
        "{shown}"
    );
    let text = anyone.get(&format!("/dev/mail/{id}?part=text")).await.ok().text();
    assert!(text.contains("#token=t0k3n"), "{text}");
    let headers = anyone
        .get(&format!("/dev/mail/{id}?part=headers"))
        .await
        .ok()
        .text();
    assert!(headers.contains("Auto-Submitted: auto-generated"), "{headers}");

    let body = anyone.get(&format!("/dev/mail/{id}/body")).await.ok();
    let policy = body.header("content-security-policy");
    assert!(
        policy.starts_with("default-src 'none'") && policy.contains("sandbox allow-popups"),
        "{policy}"
    );
    assert!(
        !policy.contains("script-src") && !policy.contains("allow-scripts"),
        "{policy}"
    );
    anyone
        .get(&format!("/dev/mail/{}", kernel::ids::new_id()))
        .await
        .problem(404, "not-found");
}

/// Outside development there is no such page, whatever was kept before.
#[tokio::test]
async fn elsewhere_there_is_no_mailbox() {
    let with_mailer = |app: &App| {
        let config = clap_defaults();
        let mailer = Mailer::new(&config, "http://ally360.test").expect("a mailer");
        ::server::service(&app.clone().with_part(mailer))
    };
    let t = testkit::TestApp::new(with_mailer).await;
    let id = "00000000-0000-4000-8000-000000000001";
    execute(
        &mut t.superuser().await,
        "insert into ally.mails (id, letter, address, subject, outcome, headers, text_body, html_body)
         values ('00000000-0000-4000-8000-000000000001', 'x', 'a@b.co', 'x', 'kept', '', '', '')",
    )
    .await;
    for path in [
        "/dev/mail",
        "/dev/mail.json",
        &format!("/dev/mail/{id}"),
        &format!("/dev/mail/{id}/body"),
    ] {
        t.anonymous().get(path).await.problem(404, "not-found");
    }
}

fn clap_defaults() -> MailConfig {
    use clap::Parser;
    #[derive(Parser)]
    struct Defaults {
        #[command(flatten)]
        mail: MailConfig,
    }
    Defaults::parse_from(["test"]).mail
}

#[tokio::test]
async fn the_mailbox_keeps_the_newest() {
    let t = app().await;
    let owner = t.tenant("Rosa").await;
    execute(
        &mut t.superuser().await,
        "insert into ally.mails (id, letter, address, subject, outcome, headers, text_body, html_body, created_at)
         select gen_random_uuid(), 'x', 'old' || n || '@example.com', 'x', 'kept', '', '', '', now() - n * interval '1 minute'
           from generate_series(1, 500) as n",
    )
    .await;
    send(&t, &owner, &SendReset::to("rosa@example.com")).await;
    t.run_jobs().await;
    let mails = t.mail().await;
    assert_eq!(mails.len(), 500);
    assert_eq!(mails[0].address, "old499@example.com");
    assert_eq!(mails[499].address, "rosa@example.com");
}
