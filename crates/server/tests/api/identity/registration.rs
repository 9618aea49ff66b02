//! Registering and verifying the address.

use serde_json::{Value, json};
use testkit::{Answer, TestApp};

use super::{DAY, MINUTE, app_that_verifies, fault, login, registration, text};
use crate::app;

const PASSWORD: &str = "una frase bien larga";

async fn register(t: &TestApp, body: Value) -> Answer {
    t.anonymous().post("/auth/register", body).await
}

async fn verify(t: &TestApp, token: &str) -> Answer {
    t.anonymous()
        .post("/auth/verify-email", json!({"token": token}))
        .await
}

async fn fresh_token(t: &TestApp, email: &str) -> String {
    identity::verification_token(&t.app, email)
        .await
        .expect("database")
        .expect("a known address")
}

#[tokio::test]
async fn in_development_a_new_user_signs_in_at_once() {
    let t = app().await;
    let registered = register(&t, registration("ana@example.com", PASSWORD))
        .await
        .created();
    assert_eq!(registered.json["verification_required"], false);
    assert_eq!(registered.json["email"], "ana@example.com");
    let user = login(&t, "ana@example.com", PASSWORD).await.ok().json["user"].clone();
    assert_eq!(
        (&user["email_verified"], &user["is_active"]),
        (&json!(true), &json!(true))
    );
    let profile =
        json!({"first_name": "Ana", "last_name": "Gómez", "phone_number": "+573001234567", "dni": null});
    assert_eq!(
        user["profile"], profile,
        "the telephone number is stored in E.164"
    );
}

#[tokio::test]
async fn elsewhere_the_address_is_verified_first() {
    let t = app_that_verifies().await;
    let registered = register(&t, registration("ana@example.com", PASSWORD))
        .await
        .created();
    assert_eq!(registered.json["verification_required"], true);
    login(&t, "ana@example.com", PASSWORD)
        .await
        .problem(403, "email-not-verified");
    login(&t, "ana@example.com", "another password")
        .await
        .problem(401, "invalid-credentials");

    let token = fresh_token(&t, "ANA@example.com").await;
    verify(&t, &format!("{token}x"))
        .await
        .problem(422, "email-token-invalid");
    verify(&t, &token).await.status(204);
    verify(&t, &token).await.problem(422, "email-token-invalid");
    let user = login(&t, "ana@example.com", PASSWORD).await.ok().json["user"].clone();
    assert_eq!(user["email_verified"], true);
    assert_eq!(
        identity::verification_token(&t.app, "bob@example.com")
            .await
            .expect("database"),
        None
    );
}

#[tokio::test]
async fn a_verification_token_works_for_a_day_and_until_the_next_one() {
    let t = app_that_verifies().await;
    register(&t, registration("ana@example.com", PASSWORD))
        .await
        .created();
    let first = fresh_token(&t, "ana@example.com").await;
    let second = fresh_token(&t, "ana@example.com").await;
    verify(&t, &first).await.problem(422, "email-token-invalid");
    t.app.clock.advance(DAY);
    verify(&t, &second).await.problem(422, "email-token-invalid");
    let third = fresh_token(&t, "ana@example.com").await;
    t.app.clock.advance(DAY - MINUTE);
    verify(&t, &third).await.status(204);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verification_token_works_once_even_when_used_at_once() {
    let t = app_that_verifies().await;
    register(&t, registration("ana@example.com", PASSWORD))
        .await
        .created();
    let token = fresh_token(&t, "ana@example.com").await;
    let answers = futures::future::join_all((0..10).map(|_| verify(&t, &token))).await;
    let mut summaries: Vec<String> = answers.iter().map(Answer::summary).collect();
    summaries.sort();
    assert_eq!(summaries[0], "204");
    assert!(
        summaries[1..].iter().all(|s| s == "422 email-token-invalid"),
        "{summaries:?}"
    );
}

#[tokio::test]
async fn a_known_address_gets_the_same_answer_and_keeps_its_account() {
    for t in [app().await, app_that_verifies().await] {
        let first = register(&t, registration("ana@example.com", PASSWORD))
            .await
            .created();
        let verification = fresh_token(&t, "ana@example.com").await;
        let mut other = registration("ana@example.com", "quite another phrase");
        other["profile"]["first_name"] = "Eva".into();
        let again = register(&t, other.clone()).await.created();
        assert_eq!(again.json, first.json);
        let names = |answer: &Answer| answer.headers.keys().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(names(&again), names(&first));
        other["email"] = "ANA@Example.com".into();
        let mut in_capitals = register(&t, other).await.created().json;
        assert_eq!(
            in_capitals["email"], "ANA@Example.com",
            "echoed as sent, whatever is stored"
        );
        in_capitals["email"] = "ana@example.com".into();
        assert_eq!(in_capitals, first.json);

        verify(&t, &verification).await.status(204);
        let user = login(&t, "ana@example.com", PASSWORD).await.ok().json["user"].clone();
        assert_eq!(user["profile"]["first_name"], "Ana");
        login(&t, "ana@example.com", "quite another phrase")
            .await
            .problem(401, "invalid-credentials");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_registrations_at_once_one_makes_the_user() {
    let t = app().await;
    let passwords: Vec<String> = (0..6).map(|i| format!("{PASSWORD} {i}")).collect();
    let spellings = ["ana@example.com", "ANA@example.com"];
    let bodies = passwords
        .iter()
        .enumerate()
        .map(|(i, password)| registration(spellings[i % 2], password));
    for answer in futures::future::join_all(bodies.map(|body| register(&t, body))).await {
        answer.created();
    }
    let users: i64 = sqlx::query_scalar("select count(*) from ally.users")
        .fetch_one(&mut t.superuser().await)
        .await
        .expect("users");
    assert_eq!(users, 1);
    let logins = futures::future::join_all(
        passwords
            .iter()
            .map(|password| login(&t, "ana@example.com", password)),
    )
    .await;
    assert_eq!(logins.iter().filter(|answer| answer.status == 200).count(), 1);
}

#[tokio::test]
async fn a_password_has_10_to_128_characters_of_any_kind() {
    let t = app().await;
    let accepted = [
        "9081726354",
        "          ",
        &"a".repeat(128),
        &"ñ".repeat(10),
        &"🔑".repeat(128),
        "nul\0in the middle",
    ];
    for (i, password) in accepted.iter().enumerate() {
        let email = format!("user-{i}@example.com");
        register(&t, registration(&email, password)).await.created();
        login(&t, &email, password).await.ok();
        // Every character counts, the last one too.
        let shorter: String = password.chars().take(password.chars().count() - 1).collect();
        login(&t, &email, &shorter)
            .await
            .problem(401, "invalid-credentials");
    }
    for password in [
        "",
        "012345678",
        &"🔑".repeat(9),
        &"a".repeat(129),
        &"ñ".repeat(129),
        &"a".repeat(100_000),
    ] {
        let refused = register(&t, registration("ana@example.com", password))
            .await
            .problem(422, "validation-failed");
        assert_eq!(fault(&refused), ("/password", "length"));
        assert!(
            !refused.text().contains("01234567"),
            "the password is not repeated"
        );
    }
}

#[tokio::test]
async fn invalid_values_are_located() {
    let t = app().await;
    let long = "a".repeat(51);
    let cases = [
        ("/email", json!("ana"), "email"),
        ("/email", json!("ana@example.com\0"), "email"),
        ("/email", json!("a b@example.com"), "email"),
        (
            "/email",
            json!(format!("{}@example.com", "a".repeat(65))),
            "email",
        ),
        ("/email", json!(null), "type"),
        ("/email", json!(["ana@example.com"]), "type"),
        ("/password", json!(1_234_567_890), "type"),
        ("/profile/first_name", json!(""), "blank"),
        ("/profile/first_name", json!("  "), "blank"),
        ("/profile/first_name", json!("A\0na"), "control-character"),
        ("/profile/last_name", json!(long), "length"),
        ("/profile/last_name", json!("\u{7f}x"), "control-character"),
        ("/profile/phone_number", json!("12345"), "phone"),
        ("/profile/phone_number", json!("3001234567\0"), "phone"),
        ("/profile/phone_number", json!(3_001_234_567_i64), "type"),
        ("/profile", json!(null), "type"),
        ("/profile/nickname", json!("A"), "unknown-field"),
        ("/is_active", json!(true), "unknown-field"),
        ("/profile/is_admin", json!(true), "unknown-field"),
    ];
    for (pointer, value, code) in cases {
        let mut body = registration("ana@example.com", PASSWORD);
        let (parent, field) = pointer.rsplit_once('/').expect("a pointer");
        body.pointer_mut(parent).expect("parent")[field] = value.clone();
        let refused = register(&t, body).await.problem(422, "validation-failed");
        assert_eq!(fault(&refused), (pointer, code), "{value}");
    }
    for missing in ["email", "password", "profile"] {
        let mut body = registration("ana@example.com", PASSWORD);
        body.as_object_mut().expect("object").remove(missing);
        let refused = register(&t, body).await.problem(422, "validation-failed");
        assert_eq!(fault(&refused), (format!("/{missing}").as_str(), "required"));
    }
    login(&t, "ana@example.com", PASSWORD)
        .await
        .problem(401, "invalid-credentials");
}

#[tokio::test]
async fn a_telephone_number_is_optional() {
    let t = app().await;
    for (email, absent) in [("a@example.com", true), ("b@example.com", false)] {
        let mut body = registration(email, PASSWORD);
        if absent {
            body["profile"]
                .as_object_mut()
                .expect("object")
                .remove("phone_number");
        } else {
            body["profile"]["phone_number"] = Value::Null;
        }
        register(&t, body).await.created();
        assert_eq!(
            login(&t, email, PASSWORD).await.ok().json["user"]["profile"]["phone_number"],
            Value::Null
        );
    }
}

#[tokio::test]
async fn nul_characters_break_nothing() {
    let t = app().await;
    let anonymous = t.anonymous();
    login(&t, "ana\0@example.com", PASSWORD)
        .await
        .problem(401, "invalid-credentials");
    verify(&t, "\0").await.problem(422, "email-token-invalid");
    super::refresh(&t, "\0")
        .await
        .problem(401, "refresh-token-invalid");
    anonymous
        .post("/auth/refresh", json!({"refresh_token": "x", "\0": 1}))
        .await
        .problem(422, "validation-failed");
    let user = t.user("ana").await;
    user.post("/auth/select-company", json!({"company_id": "\0"}))
        .await
        .problem(422, "validation-failed");
    user.get("/company/my_companies?cursor=%00")
        .await
        .problem(400, "query-invalid");
    for field in [
        "name",
        "nit",
        "phone_number",
        "trade_name",
        "address",
        "description",
        "economic_activity",
        "time_zone",
    ] {
        let mut body = super::company("Acme");
        body[field] = "900\0".into();
        let refused = user
            .post("/company", body)
            .await
            .problem(422, "validation-failed");
        assert_eq!(fault(&refused).0, format!("/{field}"));
    }
    assert_eq!(text(&user.get("/auth/me").await.ok(), "email"), user.email);
}
