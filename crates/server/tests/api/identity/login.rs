//! Signing in: what it answers, and what it tells to whom.

use std::time::{Duration, Instant};

use http::{HeaderMap, Method};
use serde_json::{Value, json};
use testkit::{Answer, TestApp};

use super::{login, registration, set_active};
use crate::app;

const EMAIL: &str = "ana@example.com";
const PASSWORD: &str = "una frase bien larga";

/// An API that hashes as it does in production.
async fn app_that_hashes() -> TestApp {
    TestApp::with(server::service, |config| config.auth.password_memory_kib = 47_104).await
}

/// A user whose password has the hash that the API makes.
async fn registered(t: &TestApp) {
    t.anonymous()
        .post("/auth/register", registration(EMAIL, PASSWORD))
        .await
        .created();
}

#[tokio::test]
async fn the_answer_has_the_tokens_the_user_and_his_companies() {
    let t = app().await;
    registered(&t).await;
    let mut body = login(&t, EMAIL, PASSWORD).await.ok().json;
    let fields: Vec<String> = body.as_object().expect("object").keys().cloned().collect();
    assert_eq!(
        fields,
        [
            "access_token",
            "companies",
            "expires_in",
            "refresh_token",
            "token_type",
            "user"
        ]
    );
    assert_eq!(
        (&body["token_type"], &body["expires_in"], &body["companies"]),
        (&json!("bearer"), &json!(1800), &json!([]))
    );
    let user = body["user"].as_object_mut().expect("user");
    assert!(user.remove("id").is_some() && user.remove("created_at").is_some());
    let profile =
        json!({"first_name": "Ana", "last_name": "Gómez", "phone_number": "+573001234567", "dni": null});
    let expected = json!({"email": EMAIL, "is_active": true, "email_verified": true, "first_login": true, "language": "es", "profile": profile});
    assert_eq!(body["user"], expected);
    let owner = t.tenant("acme").await;
    let mut companies = login(&t, &owner.email, testkit::PASSWORD).await.ok().json["companies"].clone();
    assert!(
        companies[0]
            .as_object_mut()
            .expect("a company")
            .remove("joined_at")
            .is_some()
    );
    let expected =
        json!([{"company_id": owner.company(), "company_name": "acme", "role": "owner", "is_active": true}]);
    assert_eq!(companies, expected);
}

#[tokio::test]
async fn nobody_learns_which_addresses_are_known() {
    let t = app().await;
    registered(&t).await;
    let known = login(&t, EMAIL, "a wrong password")
        .await
        .problem(401, "invalid-credentials");
    let unknown = login(&t, "eva@example.com", "a wrong password")
        .await
        .problem(401, "invalid-credentials");
    assert_eq!(without_request_id(known), without_request_id(unknown));
}

fn without_request_id(mut answer: Answer) -> (HeaderMap, Value) {
    assert!(answer.headers.remove("x-request-id").is_some());
    answer
        .json
        .as_object_mut()
        .expect("a problem")
        .remove("request_id");
    (answer.headers, answer.json)
}

/// The least of each kind: other work on the machine only adds, and of enough calls one meets none of it.
#[tokio::test]
async fn a_known_address_takes_no_longer_than_an_unknown_one() {
    const LEAST: usize = 12;
    const MOST: usize = 150;
    let t = app_that_hashes().await;
    registered(&t).await;
    let mut least = [u128::MAX; 2];
    for round in 1.. {
        // In turns: what else the machine does meets both alike.
        for (least, email) in least.iter_mut().zip([EMAIL, "eva@example.com"]) {
            let started = Instant::now();
            login(&t, email, "a wrong password").await.status(401);
            *least = started.elapsed().as_micros().min(*least);
        }
        // Failures are forgotten.
        t.app.clock.advance(super::DAY);
        let [known, unknown] = least;
        let alike = known * 10 < unknown * 13 && unknown * 10 < known * 13;
        if round >= LEAST && alike {
            break;
        }
        assert!(round < MOST, "known {known} us, unknown {unknown} us");
    }
    assert!(least[0] > 5_000, "{} us: no real hash was computed", least[0]);
}

#[tokio::test]
async fn only_a_complete_form_signs_in() {
    let t = app().await;
    registered(&t).await;
    let anonymous = t.anonymous();
    let forms: [&[(&str, &str)]; 5] = [
        &[],
        &[("username", EMAIL)],
        &[("password", PASSWORD)],
        &[("email", EMAIL), ("password", PASSWORD)],
        &[("username", EMAIL), ("username", EMAIL), ("password", PASSWORD)],
    ];
    for form in forms {
        anonymous
            .post_form("/auth/login", form)
            .await
            .problem(400, "malformed-request");
    }
    let refused = anonymous
        .post("/auth/login", json!({"username": EMAIL, "password": PASSWORD}))
        .await;
    assert!(refused.status.is_client_error(), "{}", refused.text());
    assert_eq!(refused.header("content-type"), "application/problem+json");
    let form = format!("username={EMAIL}&password={}", PASSWORD.replace(' ', "+"));
    let in_query = anonymous
        .send(Method::POST, &format!("/auth/login?{form}"), None)
        .await;
    assert!(
        in_query.status.is_client_error(),
        "credentials in the address end up in logs: {}",
        in_query.text()
    );
    // What OAuth 2 clients send besides is ignored.
    let oauth = [
        ("grant_type", "password"),
        ("username", EMAIL),
        ("password", PASSWORD),
        ("scope", ""),
        ("client_id", "x"),
    ];
    anonymous.post_form("/auth/login", &oauth).await.ok();
}

#[tokio::test]
async fn the_address_counts_in_any_case_and_the_password_in_one() {
    let t = app().await;
    registered(&t).await;
    login(&t, "ANA@Example.COM", PASSWORD).await.ok();
    login(&t, EMAIL, &PASSWORD.to_uppercase())
        .await
        .problem(401, "invalid-credentials");
    for wrong in [
        "",
        "una frase bien larg",
        "una frase bien larga ",
        "una frase bien larga\0",
    ] {
        login(&t, EMAIL, wrong).await.problem(401, "invalid-credentials");
    }
    for pattern in ["%", "ana@example.co_", "' or true --"] {
        login(&t, pattern, PASSWORD)
            .await
            .problem(401, "invalid-credentials");
    }
}

#[tokio::test]
async fn only_who_knows_the_password_learns_that_the_user_is_disabled() {
    let t = app().await;
    let user = t.user("ana").await;
    set_active(&mut t.superuser().await, user.user_id, false).await;
    login(&t, &user.email, "a wrong password")
        .await
        .problem(401, "invalid-credentials");
    login(&t, &user.email, testkit::PASSWORD)
        .await
        .problem(403, "user-inactive");
    super::refresh(&t, &user.refresh_token)
        .await
        .problem(401, "refresh-token-invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rush_of_logins_leaves_the_api_usable() {
    let t = app_that_hashes().await;
    // So many at once at one account would be throttled.
    let emails: Vec<String> = (0..10).map(|i| format!("ana{i}@example.com")).collect();
    for email in &emails {
        t.anonymous()
            .post("/auth/register", registration(email, PASSWORD))
            .await
            .created();
    }
    let owner = t.tenant("acme").await;
    let rush = futures::future::join_all((0..100).map(|i| login(&t, &emails[i % 10], PASSWORD)));
    let reads = async {
        let mut slowest = Duration::ZERO;
        for _ in 0..20 {
            let started = Instant::now();
            owner.get("/brands").await.ok();
            slowest = slowest.max(started.elapsed());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        slowest
    };
    let (logins, slowest) = tokio::join!(rush, reads);
    let mut succeeded = 0;
    for answer in logins {
        match answer.status.as_u16() {
            200 => succeeded += 1,
            // Too many wait for their turn, or for hashing.
            _ => {
                assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, "1"));
                let code = answer.json["code"].as_str().unwrap_or_default();
                assert!(["busy", "overloaded"].contains(&code), "{code}");
            }
        }
    }
    assert!(succeeded > 0, "nobody came in");
    assert!(
        slowest < Duration::from_secs(4),
        "a read took {slowest:?} meanwhile"
    );
}
