//! The mail that verifies an address.

use serde_json::json;
use testkit::TestApp;

use super::{DAY, app_that_verifies, login, registration};

const EMAIL: &str = "ana@example.com";
const PASSWORD: &str = "una frase bien larga";

async fn register(t: &TestApp, email: &str) {
    t.anonymous()
        .post("/auth/register", registration(email, PASSWORD))
        .await
        .created();
}

async fn resend(t: &TestApp, email: &str) {
    t.anonymous()
        .post("/auth/resend-verification", json!({"email": email}))
        .await
        .status(202);
}

async fn verify(t: &TestApp, token: &str) -> String {
    t.anonymous()
        .post("/auth/verify-email", json!({"token": token}))
        .await
        .summary()
}

/// Kind and language-dependent subject of the mails to an address.
async fn letters(t: &TestApp, email: &str) -> Vec<String> {
    t.run_jobs().await;
    t.mail_to(email)
        .await
        .into_iter()
        .map(|mail| mail.letter)
        .collect()
}

#[tokio::test]
async fn who_registers_is_mailed_a_link_that_verifies() {
    let t = app_that_verifies().await;
    register(&t, EMAIL).await;
    assert_eq!(letters(&t, EMAIL).await, ["verify-email"]);
    let mail = &t.mail_to(EMAIL).await[0];
    assert!(
        mail.link().contains("/account/verify-email#token="),
        "{}",
        mail.link()
    );
    login(&t, EMAIL, PASSWORD)
        .await
        .problem(403, "email-not-verified");
    assert_eq!(verify(&t, mail.token()).await, "204");
    assert_eq!(verify(&t, mail.token()).await, "422 email-token-invalid");
    login(&t, EMAIL, PASSWORD).await.ok();
}

#[tokio::test]
async fn mails_are_written_in_the_language_of_the_user() {
    let t = app_that_verifies().await;
    register(&t, EMAIL).await;
    let mut english = registration("eva@example.com", PASSWORD);
    english["language"] = "en".into();
    t.anonymous().post("/auth/register", english).await.created();
    t.run_jobs().await;
    let subject = |mails: &[testkit::Mail]| mails[0].subject.clone();
    let (spanish, english) = (t.mail_to(EMAIL).await, t.mail_to("eva@example.com").await);
    assert_ne!(subject(&spanish), subject(&english));
}

#[tokio::test]
async fn resending_voids_the_link_before_and_is_silent_for_everybody_else() {
    let t = app_that_verifies().await;
    register(&t, EMAIL).await;
    t.run_jobs().await;
    resend(&t, "ANA@example.com").await;
    assert_eq!(letters(&t, EMAIL).await, ["verify-email", "verify-email"]);
    let mails = t.mail_to(EMAIL).await;
    assert_eq!(verify(&t, mails[0].token()).await, "422 email-token-invalid");
    assert_eq!(verify(&t, mails[1].token()).await, "204");
    resend(&t, EMAIL).await;
    resend(&t, "nobody@example.com").await;
    t.run_jobs().await;
    assert_eq!(t.mail().await.len(), 2);
}

#[tokio::test]
async fn the_owner_hears_of_a_registration_with_his_address() {
    for t in [super::app_that_verifies().await, crate::app().await] {
        let owner = t.user("ana").await;
        let answer = t
            .anonymous()
            .post("/auth/register", registration(&owner.email, PASSWORD))
            .await;
        let unknown = t
            .anonymous()
            .post("/auth/register", registration("eva@example.com", PASSWORD))
            .await;
        let same = |mut json: serde_json::Value| {
            json["email"] = serde_json::Value::Null;
            json
        };
        assert_eq!(same(answer.created().json), same(unknown.created().json));
        assert_eq!(letters(&t, &owner.email).await, ["account-exists"]);
        t.sign_in(&owner.email).await.get("/auth/me").await.ok();
    }
}

#[tokio::test]
async fn one_address_is_not_flooded_by_others() {
    let t = app_that_verifies().await;
    register(&t, EMAIL).await;
    for _ in 0..20 {
        resend(&t, EMAIL).await;
    }
    assert_eq!(requests(&t).await, 5, "the rest is dropped in silence");
    t.app.clock.advance(std::time::Duration::from_secs(16 * 60));
    resend(&t, EMAIL).await;
    resend(&t, EMAIL).await;
    assert_eq!(requests(&t).await, 6, "one comes back every quarter of an hour");
    t.run_jobs().await;
    assert_eq!(requests(&t).await, 0);
}

/// `Σ` ends a word as `ς` for Rust, and is a `σ` for the database. `İ`, an `i` for the database, is no letter of an
/// address: mail to it would go elsewhere.
#[tokio::test]
async fn however_an_address_is_spelled_its_mails_are_counted_together() {
    let t = app_that_verifies().await;
    let reset = async |email: &str| {
        let body = json!({"email": email});
        t.anonymous().post("/auth/request-password-reset", body).await
    };
    for spelling in ["ΝΙΚΟΣ@example.com", "νικοσ@example.com", "Νικοσ@EXAMPLE.com"] {
        for _ in 0..5 {
            reset(spelling).await.status(202);
        }
    }
    assert_eq!(requests(&t).await, 5);
    let refused = reset("n\u{130}kos@example.com").await;
    let refused = refused.problem(422, "validation-failed");
    assert_eq!(super::fault(&refused), ("/email", "email"));
    assert_eq!(requests(&t).await, 5);
}

/// Requests for mails that wait for their answer.
async fn requests(t: &TestApp) -> i64 {
    sqlx::query_scalar("select count(*) from ally.mail_requests")
        .fetch_one(&mut t.superuser().await)
        .await
        .expect("requests")
}

#[tokio::test]
async fn one_subscriber_does_not_mail_the_world() {
    let t = app_that_verifies().await;
    for i in 0..70 {
        let client = t.anonymous().from_address(&format!("2001:db8::{i:x}"));
        let body = json!({"email": format!("user-{i}@example.com")});
        client
            .post("/auth/request-password-reset", body)
            .await
            .status(202);
    }
    assert!((30..=31).contains(&requests(&t).await));
}

#[tokio::test]
async fn nobody_registers_accounts_in_masses() {
    let t = app_that_verifies().await;
    let mut summaries = Vec::new();
    for i in 0..40 {
        let client = t.anonymous().from_address("203.0.113.9");
        let body = registration(&format!("user-{i}@example.com"), PASSWORD);
        summaries.push(client.post("/auth/register", body).await);
    }
    let made = summaries.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(made, 30);
    for answer in summaries.into_iter().skip(30) {
        let answer = answer.problem(429, "too-many-attempts");
        assert_eq!(answer.header("retry-after"), "60");
    }
    // Elsewhere people go on.
    let other = t.anonymous().from_address("198.51.100.7");
    other
        .post("/auth/register", registration("eva@example.com", PASSWORD))
        .await
        .created();
}

#[tokio::test]
async fn an_address_that_nobody_verified_is_free_again_after_a_month() {
    let t = app_that_verifies().await;
    register(&t, EMAIL).await;
    let verified = t.user("eva").await;
    t.app.clock.advance(29 * DAY);
    identity::purge_expired(&t.app).await.expect("purge");
    let users = async || -> i64 {
        sqlx::query_scalar("select count(*) from ally.users")
            .fetch_one(&mut t.superuser().await)
            .await
            .expect("users")
    };
    assert_eq!(users().await, 2);
    t.app.clock.advance(2 * DAY);
    identity::purge_expired(&t.app).await.expect("purge");
    assert_eq!(users().await, 1);
    t.sign_in(&verified.email).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_tokens_issued_at_once_one_lives() {
    let t = app_that_verifies().await;
    let user = t.user("ana").await;
    let issued = (0..8).map(|_| identity::verification_token(&t.app, &user.email));
    let issued = futures::future::try_join_all(issued).await.expect("database");
    let mut worked = 0;
    for token in issued.into_iter().flatten() {
        worked += usize::from(verify(&t, &token).await == "204");
    }
    assert_eq!(worked, 1);
}
