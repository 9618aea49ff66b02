//! Resetting and changing the password, and which are refused.

use serde_json::{Value, json};
use testkit::{Answer, Client, PASSWORD, TestApp};

use super::{MINUTE, app_that_verifies, fault, login, refresh, registration, text};
use crate::app;

const NEW: &str = "otra frase bien larga";

async fn request_reset(t: &TestApp, email: &str) {
    let answer = t
        .anonymous()
        .post("/auth/request-password-reset", json!({"email": email}))
        .await;
    answer.status(202);
}

/// The token in the newest reset mail to this address.
async fn reset_token(t: &TestApp, email: &str) -> String {
    request_reset(t, email).await;
    t.run_jobs().await;
    let mails = t.mail_to(email).await;
    let mail = mails
        .iter()
        .rev()
        .find(|mail| mail.letter == "password-reset")
        .expect("a reset mail");
    assert!(mail.link().contains("/account/reset-password#token="));
    mail.token().to_owned()
}

async fn reset(t: &TestApp, token: &str, password: &str) -> Answer {
    t.anonymous()
        .post(
            "/auth/reset-password",
            json!({"token": token, "new_password": password}),
        )
        .await
}

async fn change(user: &Client, current: &str, new: &str) -> Answer {
    user.post(
        "/auth/change-password",
        json!({"current_password": current, "new_password": new}),
    )
    .await
}

#[tokio::test]
async fn a_reset_ends_all_sessions_and_tells_the_owner() {
    let t = app().await;
    let (user, other) = (t.user("ana").await, t.user("eva").await);
    let second = t.sign_in(&user.email).await;
    let token = reset_token(&t, &user.email).await;
    user.get("/auth/me").await.ok();
    reset(&t, &token, NEW).await.status(204);
    for session in [&user, &second] {
        session.get("/auth/me").await.problem(401, "unauthenticated");
        refresh(&t, &session.refresh_token)
            .await
            .problem(401, "refresh-token-invalid");
    }
    other.get("/auth/me").await.ok();
    login(&t, &user.email, PASSWORD)
        .await
        .problem(401, "invalid-credentials");
    login(&t, &user.email, NEW).await.ok();
    t.run_jobs().await;
    let letters: Vec<String> = t
        .mail_to(&user.email)
        .await
        .into_iter()
        .map(|m| m.letter)
        .collect();
    assert_eq!(letters, ["password-reset", "password-changed"]);
}

#[tokio::test]
async fn a_reset_token_works_once_for_half_an_hour_and_for_nothing_else() {
    let t = app().await;
    let user = t.user("ana").await;
    let first = reset_token(&t, &user.email).await;
    let second = reset_token(&t, &user.email).await;
    reset(&t, &first, NEW).await.problem(422, "email-token-invalid");
    let elsewhere = t
        .anonymous()
        .post("/auth/verify-email", json!({"token": second}))
        .await;
    elsewhere.problem(422, "email-token-invalid");
    let verification = identity::verification_token(&t.app, &user.email)
        .await
        .expect("database")
        .expect("user");
    reset(&t, &verification, NEW)
        .await
        .problem(422, "email-token-invalid");
    t.app.clock.advance(31 * MINUTE);
    reset(&t, &second, NEW).await.problem(422, "email-token-invalid");
    let third = reset_token(&t, &user.email).await;
    reset(&t, &third, NEW).await.status(204);
    reset(&t, &third, "noch eine lange Phrase")
        .await
        .problem(422, "email-token-invalid");
    login(&t, &user.email, NEW).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_uses_of_a_reset_token_at_once_one_counts() {
    let t = app().await;
    let user = t.user("ana").await;
    let token = reset_token(&t, &user.email).await;
    let passwords: Vec<String> = (0..20).map(|i| format!("{NEW} {i}")).collect();
    let answers =
        futures::future::join_all(passwords.iter().map(|password| reset(&t, &token, password))).await;
    let winners: Vec<usize> = (0..20).filter(|i| answers[*i].status == 204).collect();
    assert_eq!(winners.len(), 1);
    login(&t, &user.email, &passwords[winners[0]]).await.ok();
}

#[tokio::test]
async fn a_reset_verifies_the_address_and_voids_what_else_was_mailed() {
    let t = app_that_verifies().await;
    let email = "ana@example.com";
    t.anonymous()
        .post("/auth/register", registration(email, PASSWORD))
        .await
        .created();
    t.run_jobs().await;
    let verification = t.mail_to(email).await[0].token().to_owned();
    let token = reset_token(&t, email).await;
    reset(&t, &token, NEW).await.status(204);
    login(&t, email, NEW).await.ok();
    let late = t
        .anonymous()
        .post("/auth/verify-email", json!({"token": verification}))
        .await;
    late.problem(422, "email-token-invalid");
}

#[tokio::test]
async fn who_has_no_account_or_is_disabled_by_others_gets_no_mail() {
    let t = app().await;
    let user = t.user("ana").await;
    super::set_active(&mut t.superuser().await, user.user_id, false).await;
    request_reset(&t, &user.email).await;
    request_reset(&t, "nobody@example.com").await;
    t.run_jobs().await;
    assert!(t.mail().await.is_empty());
}

#[tokio::test]
async fn a_change_ends_the_other_sessions_and_voids_reset_tokens() {
    let t = app().await;
    let user = t.user("ana").await;
    let other = t.sign_in(&user.email).await;
    let token = reset_token(&t, &user.email).await;
    let wrong = change(&user, "not the password", NEW)
        .await
        .problem(422, "password-wrong");
    assert_eq!(fault(&wrong).0, "/current_password");
    change(&user, PASSWORD, NEW).await.status(204);
    user.get("/auth/me").await.ok();
    other.get("/auth/me").await.problem(401, "unauthenticated");
    refresh(&t, &user.refresh_token).await.ok();
    reset(&t, &token, "noch eine lange Phrase")
        .await
        .problem(422, "email-token-invalid");
    login(&t, &user.email, NEW).await.ok();
    t.run_jobs().await;
    assert_eq!(
        t.mail_to(&user.email).await.last().expect("a mail").letter,
        "password-changed"
    );
    let mut body = json!({"current_password": NEW, "new_password": PASSWORD, "confirm_password": "another"});
    let mismatch = user
        .post("/auth/change-password", body.clone())
        .await
        .problem(422, "validation-failed");
    assert_eq!(fault(&mismatch), ("/confirm_password", "mismatch"));
    body["confirm_password"] = PASSWORD.into();
    user.post("/auth/change-password", body).await.status(204);
}

#[tokio::test]
async fn the_current_password_cannot_be_guessed_with_a_stolen_session() {
    let t = app().await;
    let user = t.user("ana").await;
    for _ in 0..5 {
        change(&user, "not the password", NEW)
            .await
            .problem(422, "password-wrong");
    }
    let blocked = change(&user, PASSWORD, NEW)
        .await
        .problem(429, "too-many-attempts");
    let pause: u64 = blocked.header("retry-after").parse().expect("seconds");
    t.app.clock.advance(std::time::Duration::from_secs(pause));
    change(&user, PASSWORD, NEW).await.status(204);
}

#[tokio::test]
async fn what_everybody_tries_first_is_refused_everywhere() {
    let t = app().await;
    for password in [
        "1234567890",
        "QWERTYUIOP",
        "ana@example.com",
        "Ana-Gomez-99",
        "AnaGómez2024",
    ] {
        let refused = t
            .anonymous()
            .post("/auth/register", registration("ana@example.com", password))
            .await;
        let refused = refused.problem(422, "password-too-common");
        assert_eq!(fault(&refused), ("/password", "password-too-common"));
    }
    let user = t.user("ana").await;
    let token = reset_token(&t, &user.email).await;
    for password in ["1234567890", user.email.as_str()] {
        let refused = change(&user, PASSWORD, password)
            .await
            .problem(422, "password-too-common");
        assert_eq!(fault(&refused).0, "/new_password");
        reset(&t, &token, password)
            .await
            .problem(422, "password-too-common");
    }
    // A refusal uses nothing up.
    reset(&t, &token, NEW).await.status(204);
}

#[tokio::test]
async fn hashes_follow_the_settings_at_the_next_sign_in() {
    let t = app().await;
    let user = t.user("ana").await;
    let hash = async || -> String {
        sqlx::query_scalar("select password_hash from ally.users where id = $1")
            .bind(user.user_id)
            .fetch_one(&mut t.superuser().await)
            .await
            .expect("a hash")
    };
    let before = hash().await;
    let stronger = t
        .again(server::service, |config| config.auth.password_memory_kib = 64)
        .await;
    login(&stronger, &user.email, "a wrong password")
        .await
        .problem(401, "invalid-credentials");
    assert_eq!(hash().await, before);
    login(&stronger, &user.email, PASSWORD).await.ok();
    assert!(before.contains("m=8,") && hash().await.contains("m=64,"));
    login(&stronger, &user.email, PASSWORD).await.ok();
    login(&t, &user.email, PASSWORD).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_session_is_opened_with_a_password_that_is_being_changed() {
    let t = app().await;
    let user = t.user("ana").await;
    for round in 0..10 {
        // The failures of the round before are forgotten.
        t.app.clock.advance(super::DAY);
        let (old, new) = if round % 2 == 0 {
            (PASSWORD, NEW)
        } else {
            (NEW, PASSWORD)
        };
        let session = login(&t, &user.email, old).await.ok();
        let session = user.with_token(text(&session, "access_token"));
        let logins = futures::future::join_all((0..6).map(|_| login(&t, &user.email, old)));
        let (changed, logins) = tokio::join!(change(&session, old, new), logins);
        changed.status(204);
        for answer in logins.into_iter().filter(|answer| answer.status == 200) {
            let late: &Value = &answer.json["access_token"];
            let client = user.with_token(late.as_str().expect("a token"));
            client.get("/auth/me").await.problem(401, "unauthenticated");
        }
    }
}

#[tokio::test]
async fn an_account_that_somebody_else_registered_belongs_to_who_reads_its_mail() {
    let t = app_that_verifies().await;
    let email = "ana@example.com";
    let squatters = "the password of a squatter";
    t.anonymous()
        .post("/auth/register", registration(email, squatters))
        .await
        .created();
    t.anonymous()
        .post("/auth/register", registration(email, PASSWORD))
        .await
        .created();
    let token = reset_token(&t, email).await;
    let mut letters: Vec<String> = t
        .mail_to(email)
        .await
        .into_iter()
        .map(|mail| mail.letter)
        .collect();
    letters.sort();
    assert_eq!(letters, ["account-exists", "password-reset", "verify-email"]);
    reset(&t, &token, NEW).await.status(204);
    login(&t, email, squatters)
        .await
        .problem(401, "invalid-credentials");
    login(&t, email, NEW).await.ok();
}
