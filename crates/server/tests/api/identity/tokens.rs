//! Access tokens: only the genuine one works.

use std::time::Duration;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD as BASE64};
use serde_json::{Value, json};
use testkit::{Client, TestApp};

use super::forge::{claims, hs256, sign, sign_text, with};
use super::{MINUTE, with_context_token};
use crate::app;

/// Asserts that every token of a list is refused on every kind of route.
async fn all_refused(client: &Client, forged: Vec<(String, String)>) {
    for (what, token) in forged {
        let forger = client.with_token(&token);
        for path in ["/auth/me", "/auth/context", "/brands"] {
            let answer = forger.get(path).await;
            assert_eq!(answer.summary(), "401 unauthenticated", "{what}: {token}");
            assert_eq!(answer.header("www-authenticate"), "Bearer");
        }
    }
}

#[tokio::test]
async fn the_signature_is_ours_and_of_the_one_algorithm() {
    let t = app().await;
    let a = t.tenant("a").await;
    let (secret, genuine) = (t.app.keys.secret(), claims(&a.token));
    a.with_token(&sign(&hs256(), &genuine, secret))
        .get("/brands")
        .await
        .ok();

    let mut forged = Vec::new();
    let payload = a.token.split('.').nth(1).expect("payload");
    let signature = a.token.rsplit('.').next().expect("signature");
    for none in ["none", "None", "NONE", "nOnE", "none ", ""] {
        let head = BASE64.encode(json!({"alg": none, "typ": "JWT"}).to_string());
        forged.push((
            format!("alg {none:?}, no signature"),
            format!("{head}.{payload}."),
        ));
        forged.push((
            format!("alg {none:?}, a signature"),
            format!("{head}.{payload}.{signature}"),
        ));
    }
    for algorithm in [
        "HS384", "HS512", "hs256", "HS1", "RS256", "RS512", "PS256", "ES256", "ES384", "EdDSA",
    ] {
        forged.push((
            format!("alg {algorithm}"),
            sign(&with(&hs256(), "alg", json!(algorithm)), &genuine, secret),
        ));
    }
    for algorithm in [json!(null), json!(["HS256"]), json!({"HS256": true}), json!(256)] {
        forged.push((
            format!("alg {algorithm}"),
            sign(&with(&hs256(), "alg", algorithm), &genuine, secret),
        ));
    }
    let head = BASE64.encode(json!({"alg": "RS256"}).to_string());
    forged.push((
        "RS256 with a signature of its size".to_owned(),
        format!("{head}.{payload}.{}", BASE64.encode([7_u8; 256])),
    ));

    let theirs = b"a secret of an attacker, long enough";
    let key = BASE64.encode(theirs);
    for (name, value) in [
        ("kid", json!("other")),
        ("kid", json!("../../../dev/null")),
        (
            "kid",
            json!("x' union select 'a secret of an attacker, long enough"),
        ),
        ("jku", json!("https://attacker.example/keys.json")),
        ("x5u", json!("https://attacker.example/chain.pem")),
        ("x5c", json!([BASE64_STANDARD.encode(theirs)])),
        ("jwk", json!({"kty": "oct", "k": key, "alg": "HS256"})),
    ] {
        let mut header = hs256();
        header[name] = value;
        forged.push((format!("{name} in the header"), sign(&header, &genuine, theirs)));
        forged.push((format!("{name} and no secret"), sign(&header, &genuine, b"")));
        if name == "kid" {
            forged.push((format!("an unknown {name}"), sign(&header, &genuine, secret)));
        }
    }
    for kid in [
        json!(null),
        json!(""),
        json!(1),
        json!([super::forge::kid(testkit::SECRET)]),
    ] {
        forged.push((
            format!("kid {kid}"),
            sign(&with(&hs256(), "kid", kid), &genuine, secret),
        ));
    }
    let sample = kernel::config::SAMPLE_SECRET;
    let header = with(&hs256(), "kid", json!(super::forge::kid(sample)));
    forged.push((
        "the public default under its id".to_owned(),
        sign(&header, &genuine, sample.as_bytes()),
    ));
    let as_text = BASE64_STANDARD.encode(secret);
    for (what, other) in [
        ("another secret", &theirs[..]),
        ("an empty secret", b""),
        ("the secret as base64", as_text.as_bytes()),
        ("the public default", kernel::config::SAMPLE_SECRET.as_bytes()),
        ("a derived key", &t.app.keys.derive("refresh token")),
    ] {
        forged.push((what.to_owned(), sign(&hs256(), &genuine, other)));
    }
    all_refused(&a, forged).await;
}

#[tokio::test]
async fn every_claim_is_required_and_checked() {
    let t = app().await;
    let (a, b) = (t.tenant("a").await, t.tenant("b").await);
    let (secret, genuine, now) = (t.app.keys.secret(), claims(&a.token), t.app.clock.unix());
    let mut forged = Vec::new();
    for name in ["typ", "sub", "sid", "iss", "aud", "iat", "nbf", "exp", "jti"] {
        forged.push((
            format!("no {name}"),
            sign(&hs256(), &with(&genuine, name, Value::Null), secret),
        ));
    }
    for (name, value) in [
        ("iss", json!("ally")),
        ("iss", json!("")),
        ("iss", json!(["ally360", "other"])),
        ("aud", json!("other-api")),
        ("aud", json!("ALLY360-API")),
        ("aud", json!(["ally360-api", "other"])),
        ("typ", json!("context")),
        ("typ", json!("refresh")),
        ("typ", json!("verify-email")),
        ("typ", json!("Access")),
        ("typ", json!("")),
        ("exp", json!(now - 31)),
        ("exp", json!(now - 1800)),
        ("exp", json!(-1)),
        ("exp", json!((now + 600).to_string())),
        ("exp", json!(1e300)),
        ("exp", json!({})),
        ("nbf", json!(now + 60)),
        ("nbf", json!(i64::MAX)),
        ("nbf", json!("0")),
        ("sub", json!(b.user_id)),
        ("sub", json!("00000000-0000-0000-0000-000000000000")),
        ("sub", json!("ana@example.com")),
        ("sub", json!(1)),
        ("sid", claims(&b.token)["sid"].clone()),
        ("sid", json!(kernel::ids::new_id())),
        ("tenant_id", json!(a.company())),
        ("tenant_id", json!(b.company())),
        ("role", json!("owner")),
        ("permissions", json!(["brands.write"])),
    ] {
        forged.push((
            format!("{name} {value}"),
            sign(&hs256(), &with(&genuine, name, value), secret),
        ));
    }
    let text = genuine.to_string();
    let doubled = text.replacen('{', &format!("{{\"sub\":\"{}\",", b.user_id), 1);
    forged.push((
        "sub twice".to_owned(),
        sign_text(&hs256().to_string(), &doubled, secret),
    ));
    forged.push((
        "an array".to_owned(),
        sign_text(&hs256().to_string(), &format!("[{text}]"), secret),
    ));
    forged.push((
        "not JSON".to_owned(),
        sign_text(&hs256().to_string(), "sub", secret),
    ));
    forged.push((
        "something after the JSON".to_owned(),
        sign_text(&hs256().to_string(), &format!("{text}{text}"), secret),
    ));

    let context = claims(&with_context_token(&a).await.token);
    a.with_token(&sign(&hs256(), &context, secret))
        .get("/brands")
        .await
        .ok();
    for (name, value) in [
        ("tenant_id", Value::Null),
        ("tenant_id", json!("")),
        ("tenant_id", json!([a.company()])),
        ("typ", json!("access")),
    ] {
        forged.push((
            format!("context with {name} {value}"),
            sign(&hs256(), &with(&context, name, value), secret),
        ));
    }
    all_refused(&a, forged).await;

    // Clocks of two machines differ by seconds.
    for (name, time) in [("exp", now - 20), ("nbf", now + 20)] {
        a.with_token(&sign(&hs256(), &with(&genuine, name, json!(time)), secret))
            .get("/brands")
            .await
            .ok();
    }
    // As far ahead as there are numbers: nothing overflows.
    a.with_token(&sign(&hs256(), &with(&genuine, "exp", json!(i64::MAX)), secret))
        .get("/brands")
        .await
        .ok();
}

#[tokio::test]
async fn what_is_not_a_token_is_refused() {
    let t = app().await;
    let (a, b) = (t.tenant("a").await, t.tenant("b").await);
    let parts: Vec<&str> = a.token.split('.').collect();
    let [head, payload, signature] = parts[..] else {
        panic!("{}", a.token)
    };
    let others = b.token.split('.').nth(1).expect("payload");
    let mut bits = signature.to_owned();
    // The last of 43 characters carries two bits that mean nothing: another spelling of one signature.
    let last = bits.pop().expect("a character");
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    bits.extend(alphabet.chars().nth(alphabet.find(last).expect("base64url") + 1));
    let forged = [
        ("truncated by one", a.token[..a.token.len() - 1].to_owned()),
        ("truncated by half", a.token[..a.token.len() / 2].to_owned()),
        ("no signature", format!("{head}.{payload}.")),
        ("two parts", format!("{head}.{payload}")),
        ("one part", head.to_owned()),
        ("a dot after", format!("{}.", a.token)),
        ("a dot before", format!(".{}", a.token)),
        ("a part too many", format!("{}.{signature}", a.token)),
        ("two dots", format!("{head}..{payload}.{signature}")),
        ("only dots", "..".to_owned()),
        ("nothing", " ".to_owned()),
        ("padded", format!("{}=", a.token)),
        ("a space within", format!("{head}. {payload}.{signature}")),
        ("something behind", format!("{} x", a.token)),
        (
            "another spelling of the signature",
            format!("{head}.{payload}.{bits}"),
        ),
        ("another user's claims", format!("{head}.{others}.{signature}")),
        ("the refresh token", a.refresh_token.clone()),
        ("a quoted token", format!("\"{}\"", a.token)),
        ("a long one", "A".repeat(100_000)),
        ("null", "null".to_owned()),
    ];
    all_refused(&a, forged.map(|(what, token)| (what.to_owned(), token)).to_vec()).await;
}

#[tokio::test]
async fn the_token_comes_once_and_as_a_bearer() {
    let t = app().await;
    let user = t.user("ana").await;
    let anonymous = t.anonymous();
    let with = |value: &str| anonymous.with_header("Authorization", value);
    for scheme in ["Bearer", "bearer", "BEARER"] {
        with(&format!("{scheme} {}", user.token))
            .get("/auth/me")
            .await
            .ok();
    }
    for value in [
        format!(
            "Basic {}",
            BASE64_STANDARD.encode(format!("{}:{}", user.email, testkit::PASSWORD))
        ),
        format!("Token {}", user.token),
        format!("Bearer{}", user.token),
        format!("Bearer:{}", user.token),
        user.token.clone(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        format!("Bearer {0}, Bearer {0}", user.token),
    ] {
        with(&value).get("/auth/me").await.problem(401, "unauthenticated");
    }
    let twice = user.with_header("Authorization", &format!("Bearer {}", user.token));
    twice.get("/auth/me").await.problem(401, "unauthenticated");
    anonymous
        .with_header("Cookie", &format!("access_token={}", user.token))
        .get("/auth/me")
        .await
        .problem(401, "unauthenticated");
    anonymous
        .get(&format!("/auth/me?access_token={}", user.token))
        .await
        .problem(401, "unauthenticated");
    anonymous.get("/auth/me").await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn both_kinds_work_for_30_minutes() {
    let t = app().await;
    let a = t.tenant("a").await;
    let context = with_context_token(&a).await;
    t.app.clock.advance(29 * MINUTE);
    a.get("/brands").await.ok();
    context.get("/brands").await.ok();
    t.app.clock.advance(2 * MINUTE);
    a.get("/brands").await.problem(401, "unauthenticated");
    context.get("/brands").await.problem(401, "unauthenticated");
    a.get("/auth/me").await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn the_lifetime_is_a_setting() {
    let t = TestApp::with(server::service, |config| {
        config.auth.access_token_expire_minutes = 5;
    })
    .await;
    let user = t.user("ana").await;
    let answer = super::login(&t, &user.email, testkit::PASSWORD).await.ok();
    assert_eq!(answer.json["expires_in"], 300);
    t.app.clock.advance(5 * MINUTE + Duration::from_secs(15));
    user.get("/auth/me").await.ok();
    t.app.clock.advance(Duration::from_secs(16));
    user.get("/auth/me").await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn an_access_token_names_no_company_and_a_context_token_one() {
    let t = app().await;
    let a = t.tenant("a").await;
    a.without_company()
        .get("/brands")
        .await
        .problem(400, "company-header-missing");
    let context = with_context_token(&a).await;
    assert_eq!(claims(&a.token)["typ"], "access");
    let selected = claims(&context.token);
    assert_eq!(
        (&selected["typ"], &selected["tenant_id"]),
        (&json!("context"), &json!(a.company()))
    );
    assert_eq!(
        selected["sid"],
        claims(&a.token)["sid"],
        "the same session: signing out ends both"
    );
    assert_ne!(claims(&a.token)["jti"], selected["jti"]);
}
