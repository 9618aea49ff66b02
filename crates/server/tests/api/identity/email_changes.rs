//! Moving an account to another address.

use serde_json::json;
use testkit::{Answer, Client, PASSWORD, TestApp};

use super::{DAY, login};
use crate::app;

const NEW: &str = "ana.nueva@example.com";

async fn ask(user: &Client, new: &str) -> Answer {
    user.post(
        "/auth/change-email",
        json!({"current_password": PASSWORD, "new_email": new}),
    )
    .await
}

/// The tokens in the newest mails about a change, to the old and to the new address.
async fn tokens(t: &TestApp, old: &str, new: &str) -> (String, String) {
    t.run_jobs().await;
    let newest = async |address: &str, letter: &str| {
        let mails = t.mail_to(address).await;
        let mail = mails
            .iter()
            .rev()
            .find(|mail| mail.letter == letter)
            .expect(letter);
        assert!(mail.link().contains("/account/confirm-email#token="));
        mail.token().to_owned()
    };
    (
        newest(old, "email-change-notice").await,
        newest(new, "email-change").await,
    )
}

async fn confirm(t: &TestApp, token: &str) -> Answer {
    t.anonymous()
        .post("/auth/confirm-email-change", json!({"token": token}))
        .await
}

async fn refuse(t: &TestApp, token: &str) -> Answer {
    t.anonymous()
        .post("/auth/refuse-email-change", json!({"token": token}))
        .await
}

#[tokio::test]
async fn it_takes_both_addresses_in_either_order() {
    let t = app().await;
    for old_first in [true, false] {
        let user = t.user("ana").await;
        let new = format!("{old_first}@example.com");
        ask(&user, &new).await.status(202);
        let (old_token, new_token) = tokens(&t, &user.email, &new).await;
        let (first, second) = if old_first {
            (old_token, new_token)
        } else {
            (new_token, old_token)
        };
        assert_eq!(confirm(&t, &first).await.ok().json, json!({"changed": false}));
        confirm(&t, &first).await.problem(422, "email-token-invalid");
        assert_eq!(user.get("/auth/me").await.ok().json["email"], user.email.as_str());
        assert_eq!(confirm(&t, &second).await.ok().json, json!({"changed": true}));
        assert_eq!(user.get("/auth/me").await.ok().json["email"], new.as_str());
        login(&t, &user.email, PASSWORD)
            .await
            .problem(401, "invalid-credentials");
        login(&t, &new, PASSWORD).await.ok();
        confirm(&t, &second).await.problem(422, "email-token-invalid");
    }
}

#[tokio::test]
async fn it_needs_the_password() {
    let t = app().await;
    let user = t.user("ana").await;
    let body = json!({"current_password": "not the password", "new_email": NEW});
    user.post("/auth/change-email", body)
        .await
        .problem(422, "password-wrong");
    t.run_jobs().await;
    assert!(t.mail().await.is_empty());
}

#[tokio::test]
async fn the_old_address_can_refuse_even_after_the_new_one_confirmed() {
    let t = app().await;
    let user = t.user("ana").await;
    ask(&user, NEW).await.status(202);
    let (old_token, new_token) = tokens(&t, &user.email, NEW).await;
    confirm(&t, &new_token).await.ok();
    refuse(&t, &old_token).await.status(204);
    for token in [&old_token, &new_token] {
        confirm(&t, token).await.problem(422, "email-token-invalid");
        refuse(&t, token).await.problem(422, "email-token-invalid");
    }
    assert_eq!(user.get("/auth/me").await.ok().json["email"], user.email.as_str());
}

#[tokio::test]
async fn a_later_change_and_a_new_password_void_it_and_a_day_does() {
    let t = app().await;
    let user = t.user("ana").await;
    ask(&user, NEW).await.status(202);
    let first = tokens(&t, &user.email, NEW).await;
    ask(&user, "another@example.com").await.status(202);
    let second = tokens(&t, &user.email, "another@example.com").await;
    confirm(&t, &first.1).await.problem(422, "email-token-invalid");
    let body = json!({"current_password": PASSWORD, "new_password": "otra frase bien larga"});
    user.post("/auth/change-password", body).await.status(204);
    confirm(&t, &second.1).await.problem(422, "email-token-invalid");

    let other = t.user("eva").await;
    ask(&other, NEW).await.status(202);
    let (old_token, new_token) = tokens(&t, &other.email, NEW).await;
    confirm(&t, &old_token).await.ok();
    t.app.clock.advance(DAY);
    confirm(&t, &new_token).await.problem(422, "email-token-invalid");
}

#[tokio::test]
async fn who_asks_does_not_learn_that_the_new_address_has_an_account() {
    let t = app().await;
    let (user, other) = (t.user("ana").await, t.user("eva").await);
    let taken = ask(&user, &other.email.to_uppercase()).await.status(202);
    t.run_jobs().await;
    let letters: Vec<String> = t
        .mail_to(&other.email)
        .await
        .into_iter()
        .map(|m| m.letter)
        .collect();
    assert_eq!(letters, ["account-exists"]);
    let free = ask(&user, NEW).await.status(202);
    assert_eq!(taken.json, free.json);
    let notices = t.mail_to(&user.email).await;
    assert!(notices.iter().all(|mail| mail.letter == "email-change-notice"));
}

#[tokio::test]
async fn a_stranger_is_mailed_five_times_whoever_wants_his_address() {
    let t = app().await;
    let (ana, eva) = (t.user("ana").await, t.user("eva").await);
    for (user, new) in [
        (&ana, NEW),
        (&eva, NEW),
        (&ana, "ANA.nueva@example.com"),
        (&eva, NEW),
        (&ana, NEW),
    ] {
        ask(user, new).await.status(202);
        t.run_jobs().await;
    }
    let refused = ask(&eva, NEW).await.problem(429, "too-many-attempts");
    assert_eq!(refused.header("retry-after"), "900");
    t.run_jobs().await;
    let mails = t.mail().await;
    let changes = mails.iter().filter(|mail| mail.letter == "email-change");
    assert_eq!(changes.count(), 5);
    // Her change before still waits; with another address she may go on.
    ask(&eva, "eva.nueva@example.com").await.status(202);
    t.app.clock.advance(std::time::Duration::from_secs(15 * 60));
    ask(&eva, NEW).await.status(202);
}

#[tokio::test]
async fn an_address_that_was_taken_meanwhile_is_told_to_who_reads_its_mail() {
    let t = app().await;
    let user = t.user("ana").await;
    ask(&user, NEW).await.status(202);
    let (old_token, new_token) = tokens(&t, &user.email, NEW).await;
    confirm(&t, &old_token).await.ok();
    t.anonymous()
        .post("/auth/register", super::registration(NEW, "una frase bien larga"))
        .await
        .created();
    confirm(&t, &new_token).await.problem(409, "email-taken");
    assert_eq!(user.get("/auth/me").await.ok().json["email"], user.email.as_str());
}

#[tokio::test]
async fn a_reset_token_in_the_old_mailbox_is_void_after_the_change() {
    let t = app().await;
    let user = t.user("ana").await;
    let body = json!({"email": user.email});
    t.anonymous()
        .post("/auth/request-password-reset", body)
        .await
        .status(202);
    t.run_jobs().await;
    let reset = t.mail_to(&user.email).await[0].token().to_owned();
    ask(&user, NEW).await.status(202);
    let (old_token, new_token) = tokens(&t, &user.email, NEW).await;
    confirm(&t, &old_token).await.ok();
    confirm(&t, &new_token).await.ok();
    let body = json!({"token": reset, "new_password": "otra frase bien larga"});
    t.anonymous()
        .post("/auth/reset-password", body)
        .await
        .problem(422, "email-token-invalid");
}
