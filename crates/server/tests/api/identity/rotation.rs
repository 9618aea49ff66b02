//! Replacing the secret: nobody is signed out by it.

use serde_json::json;
use testkit::{Client, TestApp};

use super::forge::{claims, hs256, kid, sign, with};
use super::{refresh, text, with_context_token};

const OLD: &str = "the secret of the year before, 32 bytes";
const NEW: &str = "the secret of this year, also 32 bytes";

/// Another process on the same database, with other secrets.
async fn with_secrets(t: &TestApp, secret: &str, previous: &[&str]) -> TestApp {
    t.again(server::service, |config| {
        config.auth.app_secret_string = Some(secret.to_owned());
        config.auth.previous_secrets = previous.iter().map(ToString::to_string).collect();
    })
    .await
}

#[tokio::test]
async fn what_the_secret_before_signed_works_until_it_expires() {
    let t = TestApp::with(server::service, |config| {
        config.auth.app_secret_string = Some(OLD.to_owned());
    })
    .await;
    let before = t.tenant("a").await;
    let context = with_context_token(&before).await;
    let rotated = with_secrets(&t, NEW, &[OLD]).await;
    let on = |client: &Client| client.on(&rotated);
    for client in [&before, &context] {
        on(client).get("/brands").await.ok();
    }
    let next = refresh(&rotated, &before.refresh_token).await.ok();
    assert_eq!(
        header(text(&next, "access_token"))["kid"],
        json!(kid(NEW)),
        "new ones are signed with the new secret"
    );
    on(&before)
        .with_token(text(&next, "access_token"))
        .get("/auth/me")
        .await
        .ok();

    // Once the old secret is forgotten, so is what it signed.
    let forgotten = with_secrets(&t, NEW, &[]).await;
    before
        .on(&forgotten)
        .get("/brands")
        .await
        .problem(401, "unauthenticated");
    before
        .on(&forgotten)
        .with_token(text(&next, "access_token"))
        .get("/auth/me")
        .await
        .ok();
    rotated.app.clock.advance(31 * super::MINUTE);
    on(&before).get("/brands").await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn a_lost_answer_is_repeated_across_the_change() {
    let t = TestApp::with(server::service, |config| {
        config.auth.app_secret_string = Some(OLD.to_owned());
    })
    .await;
    let user = t.user("ana").await;
    let given = refresh(&t, &user.refresh_token).await.ok();
    let rotated = with_secrets(&t, NEW, &[OLD]).await;
    let again = refresh(&rotated, &user.refresh_token).await.ok();
    assert_eq!(text(&again, "refresh_token"), text(&given, "refresh_token"));
}

#[tokio::test]
async fn each_secret_signs_under_its_own_id_only() {
    let t = TestApp::with(server::service, |config| {
        config.auth.app_secret_string = Some(OLD.to_owned());
    })
    .await;
    let user = t.user("ana").await;
    let rotated = with_secrets(&t, NEW, &[OLD]).await;
    let genuine = claims(&user.token);
    for (id, secret, expected) in [
        (OLD, OLD, "200"),
        (NEW, NEW, "200"),
        (OLD, NEW, "401 unauthenticated"),
        (NEW, OLD, "401 unauthenticated"),
    ] {
        let token = sign(
            &with(&hs256(), "kid", json!(kid(id))),
            &genuine,
            secret.as_bytes(),
        );
        let answer = user.on(&rotated).with_token(&token).get("/auth/me").await;
        assert_eq!(answer.summary(), expected, "{id} / {secret}");
    }
}

fn header(token: &str) -> serde_json::Value {
    use base64::Engine;
    let part = token.split('.').next().expect("a header");
    let bytes = base64::prelude::BASE64_URL_SAFE_NO_PAD
        .decode(part)
        .expect("base64url");
    serde_json::from_slice(&bytes).expect("JSON")
}
