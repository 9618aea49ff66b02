//! Rates and fair shares, over the whole API: what is declared, what is told, what is refused.

mod shares;
mod together;

use std::process::Output;
use std::time::{Duration, Instant};

use kernel::config::Config;
use kernel::limit::Rate;
use limits::set_company_limit;
use serde_json::Value;
use testkit::{Answer, Client, TestApp};
use tokio::process::Command;
use tokio::time::sleep;

use crate::app;
use crate::matrix::Operation;

/// Many times what anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);
/// Declared at 10/minute: here one a minute.
const EXPORT: &str = "/audit/export";
const EXPORT_POLICY: &str = "export-audit-entries-company";

/// An app that keeps to this part of the rates.
pub async fn limited(percent: u32) -> TestApp {
    let change = |config: &mut Config| config.limits.rate_limit_percent = percent;
    TestApp::with(server::service, change).await
}

async fn tickets(client: &Client, count: usize) -> Vec<Answer> {
    futures::future::join_all((0..count).map(|_| client.get(EXPORT))).await
}

fn admitted(answers: &[Answer]) -> usize {
    answers.iter().filter(|answer| answer.status == 200).count()
}

#[test]
fn every_operation_has_its_policies() {
    let document = server::openapi_document();
    let operations = Operation::all(&document);
    assert!(operations.len() > 50);
    for operation in operations {
        let limits: Vec<&str> = operation.document()["x-rate-limits"]
            .as_array()
            .unwrap_or_else(|| panic!("{} has no limits", operation.id))
            .iter()
            .map(|limit| limit.as_str().expect("text"))
            .collect();
        let of = |scope: &str| {
            let policy = |limit: &&&str| limit.split(' ').next().is_some_and(|name| name.ends_with(scope));
            limits.iter().filter(policy).count()
        };
        for limit in &limits {
            let (_, rate) = limit.split_once(' ').expect("a name and a rate");
            assert!(Rate::parse(rate).is_some(), "{}: {limit}", operation.id);
        }
        assert!(of("-address") > 0, "{}: {limits:?}", operation.id);
        // Whose company it concerns, that company is limited.
        let security = operation.document()["security"].to_string();
        if security.contains("company") {
            assert_eq!(
                (of("-company"), of("-user"), of("-api-key")),
                (1, 1, 1),
                "{}",
                operation.id
            );
        } else if security.contains("bearer") {
            assert_eq!(of("-user"), 1, "{}: {limits:?}", operation.id);
        }
        assert!(
            operation.document()["responses"].get("429").is_some(),
            "{}",
            operation.id
        );
    }
    let export = &document["paths"][EXPORT]["get"]["x-rate-limits"];
    assert_eq!(export.to_string().matches("-company").count(), 1, "{export}");
    assert!(
        export
            .to_string()
            .contains("export-audit-entries-company 10/minute"),
        "{export}"
    );
}

#[tokio::test]
async fn whoever_asks_too_often_is_told_for_how_long_and_others_are_not_concerned() {
    let t = limited(10).await;
    let (a, b) = (t.tenant("a").await, t.tenant("b").await);
    let first = a.get(EXPORT).await.ok();
    assert_eq!(
        first.header("ratelimit-policy"),
        "\"reads-user\";q=120;w=60, \"export-audit-entries-company\";q=1;w=60"
    );
    assert_eq!(
        first.header("ratelimit"),
        "\"export-audit-entries-company\";r=0;t=60"
    );

    let refused = a.get(EXPORT).await.problem(429, "rate-limited");
    assert_eq!(
        refused.json["detail"],
        "export-audit-entries-company allows 1/minute"
    );
    let wait: u64 = refused.header("retry-after").parse().expect("seconds");
    assert!((1..=60).contains(&wait), "{wait}");
    assert!(
        refused
            .header("ratelimit")
            .starts_with("\"export-audit-entries-company\";r=0;t=")
    );
    // Another member of the same company, another company, another route.
    let member = t.member(&a, "admin").await;
    member.get(EXPORT).await.problem(429, "rate-limited");
    b.get(EXPORT).await.ok();
    let other = a.get("/brands").await.ok();
    assert!(
        other.header("ratelimit").starts_with("\"reads-"),
        "{}",
        other.header("ratelimit")
    );

    t.app.clock.advance(Duration::from_secs(wait));
    a.get(EXPORT).await.ok();
}

/// 20 a second is what the address may.
#[tokio::test]
async fn a_company_that_is_refused_takes_nothing_from_others_at_its_address() {
    let t = limited(10).await;
    let shared = |client: Client| client.from_address("203.0.113.9");
    let (a, b) = (shared(t.tenant("a").await), shared(t.tenant("b").await));
    let told = "\"any-address\";q=20;w=1";
    for n in 0..100 {
        let answer = a.get(EXPORT).await;
        assert_eq!(answer.status, if n == 0 { 200 } else { 429 });
        let policies = answer.header("ratelimit-policy");
        assert!(
            policies.contains(EXPORT_POLICY) && policies.contains(told),
            "{policies}"
        );
        assert!(
            answer.header("ratelimit").contains(EXPORT_POLICY),
            "the nearest to its end"
        );
    }
    b.get(EXPORT).await.ok();
    // Who nobody knows has nothing back.
    let stranger = t
        .anonymous()
        .from_address("203.0.113.9")
        .with_token("ak_live_guess");
    let answers = futures::future::join_all((0..100).map(|_| stranger.get("/brands"))).await;
    assert!(answers.iter().any(|answer| answer.status == 429));
}

#[tokio::test]
async fn a_machine_is_limited_by_its_key() {
    let t = limited(100).await;
    let owner = t.tenant("a").await;
    let new = serde_json::json!({"name": "Till", "permissions": ["brands.read"]});
    let key = owner.post("/company/api-keys", new).await.created();
    let machine = t
        .anonymous()
        .with_token(key.json["token"].as_str().expect("a token"));
    let answer = machine.get("/brands").await.ok();
    let policy = answer.header("ratelimit-policy");
    assert!(
        policy.contains("reads-api-key") && !policy.contains("reads-user"),
        "{policy}"
    );
}

#[tokio::test]
async fn an_address_is_refused_before_the_database_is_asked() {
    // Of what needs no token, one a minute.
    let t = limited(2).await;
    let login = [("username", "nobody@example.com"), ("password", "a wrong one")];
    let from = |address| t.anonymous().from_address(address);
    from("203.0.113.7")
        .post_form("/auth/login", &login)
        .await
        .status(401);
    from("2001:db8:1:2::1")
        .post_form("/auth/login", &login)
        .await
        .status(401);
    t.app.db.close();
    let refused = from("203.0.113.7").post_form("/auth/login", &login).await;
    let refused = refused.problem(429, "rate-limited");
    assert_eq!(refused.header("ratelimit"), "\"entry-address\";r=0;t=60");
    // The rest of his network of IPv6 is the same subscriber.
    let refused = from("2001:db8:1:2:3::9").post_form("/auth/login", &login).await;
    refused.problem(429, "rate-limited");
    from("203.0.113.8")
        .post_form("/auth/login", &login)
        .await
        .status(503);
}

#[tokio::test]
async fn tokens_that_are_none_are_limited_by_address() {
    let t = limited(1).await;
    let guesser = t
        .anonymous()
        .from_address("203.0.113.7")
        .with_token("ak_live_guess");
    let answers = futures::future::join_all((0..200).map(|_| guesser.get("/brands"))).await;
    assert!(
        answers
            .iter()
            .any(|answer| answer.summary() == "429 rate-limited")
    );
    for page in ["/operator/jobs", "/account/verify-email"] {
        let answer = guesser.get(page).await.problem(429, "rate-limited");
        assert_eq!(answer.json["detail"], "any-address allows 2/second");
    }
    // Health is never limited.
    for _ in 0..200 {
        guesser.get("/health/live").await.ok();
    }
}

/// Asks until this is the quota of the company's exports, admitted or not.
async fn until_quota(client: &Client, quota: u32) {
    let wanted = format!("\"{EXPORT_POLICY}\";q={quota};w=60");
    let began = Instant::now();
    loop {
        let policy = client.get(EXPORT).await.header("ratelimit-policy").to_owned();
        if policy.contains(&wanted) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{policy}");
        sleep(Duration::from_millis(20)).await;
    }
}

async fn ally360(t: &TestApp, arguments: &[&str]) -> Output {
    let options = t.database().options();
    let socket = options.get_socket().expect("the test cluster's socket").display();
    let (user, port, name) = (options.get_username(), options.get_port(), t.database().name());
    let url = format!("postgres://{user}@localhost:{port}/{name}?host={socket}");
    Command::new(env!("CARGO_BIN_EXE_ally360"))
        .args(arguments)
        .env_clear()
        .envs([("APP_SECRET_STRING", testkit::SECRET), ("DATABASE_URL", &url)])
        .current_dir(std::env::temp_dir())
        .output()
        .await
        .expect("ally360")
}

#[tokio::test]
async fn an_operator_allows_a_company_more_and_every_process_hears_of_it() {
    let t = limited(100).await;
    let other = t
        .again(server::service, |config| {
            config.limits.rate_limit_percent = 100;
        })
        .await;
    let (a, b) = (t.tenant("a").await, t.tenant("b").await);
    until_quota(&a, 10).await;
    until_quota(&a.on(&other), 10).await;
    let company = a.company().to_string();
    let set = ally360(&t, &["company", "limit", &company, EXPORT_POLICY, "500/minute"]).await;
    assert!(set.status.success(), "{set:?}");
    until_quota(&a, 500).await;
    until_quota(&a.on(&other), 500).await;
    until_quota(&b, 10).await;
    // It holds, and not in words only.
    assert_eq!(admitted(&tickets(&a, 60).await), 60);

    let listed = ally360(&t, &["company", "limit", &company]).await;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    for line in [
        "export-audit-entries-company 500/minute (default 10/minute)",
        "reads-user 1200/minute",
    ] {
        assert!(listed.lines().any(|found| found == line), "{line}\n{listed}");
    }
    ally360(&t, &["company", "limit", &company, EXPORT_POLICY, "default"]).await;
    until_quota(&a, 10).await;

    for (arguments, said) in [
        ([&company, EXPORT_POLICY, "1000001/second"], "no rate"),
        ([&company, "exports", "5/minute"], "no policy"),
        (
            [&uuid::Uuid::nil().to_string(), EXPORT_POLICY, "5/minute"],
            "not-found",
        ),
    ] {
        let refused = ally360(&t, &[&["company", "limit"], &arguments[..]].concat()).await;
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && told.contains(said), "{told}");
    }
}

/// The document and the layers know the same routes.
#[tokio::test]
async fn answers_name_the_policies_of_the_document() {
    let t = limited(100).await;
    let owner = t.tenant("a").await;
    for path in [
        "/brands",
        "/products",
        "/company/me",
        "/auth/me",
        "/files",
        EXPORT,
    ] {
        let limits: Value = server::openapi_document()["paths"][path]["get"]["x-rate-limits"].clone();
        let told = owner.from_address("203.0.113.7").get(path).await.ok();
        for limit in limits.as_array().expect("limits") {
            let (name, _) = limit
                .as_str()
                .and_then(|limit| limit.split_once(' '))
                .expect("a policy");
            let is_told = told.header("ratelimit-policy").contains(&format!("\"{name}\""));
            assert_eq!(is_told, !name.ends_with("-api-key"), "{path}: {name}");
        }
    }
}

#[tokio::test]
async fn the_kit_asks_as_often_as_it_likes() {
    let t = app().await;
    let a = t.tenant("a").await;
    let told = a.get("/brands").await.ok();
    assert_eq!(told.header("ratelimit"), "");
    assert_eq!(
        set_company_limit(&t.app, a.company(), "reads-user", Rate::parse("1/day"))
            .await
            .ok(),
        Some(())
    );
    for _ in 0..5 {
        a.get("/brands").await.ok();
    }
}

#[tokio::test]
async fn a_rate_of_one_companys_own_counts_what_is_asked_in_it() {
    let t = limited(100).await;
    let (a, b) = (t.tenant("a").await, t.tenant("b").await);
    let mut elsewhere = a.in_company(b.company());
    t.join(&mut elsewhere, "owner").await;
    let rate = Rate::parse("2/day").expect("a rate");
    set_company_limit(&t.app, a.company(), "reads-user", Some(rate))
        .await
        .expect("a limit");
    let began = Instant::now();
    while a.get("/brands").await.status != 429 {
        assert!(began.elapsed() < PATIENCE);
        sleep(Duration::from_millis(20)).await;
    }
    for _ in 0..3 {
        elsewhere.get("/brands").await.ok();
    }
    a.get("/brands").await.problem(429, "rate-limited");
}
