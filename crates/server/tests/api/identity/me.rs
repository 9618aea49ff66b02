//! What a user says of himself.

use serde_json::{Value, json};

use super::{fault, login};
use crate::app;

#[tokio::test]
async fn absent_fields_stay_and_null_clears() {
    let t = app().await;
    let user = t.user("ana").await;
    let profile = json!({"first_name": "Ana María", "last_name": "Paz", "phone_number": "300 123 4567", "dni": "1.032.456.789"});
    let changed = user
        .patch("/auth/me", json!({"profile": profile, "language": "en"}))
        .await
        .ok();
    let stored = json!({"first_name": "Ana María", "last_name": "Paz", "phone_number": "+573001234567", "dni": "1032456789"});
    assert_eq!(
        (&changed.json["profile"], &changed.json["language"]),
        (&stored, &json!("en"))
    );
    assert_eq!(user.get("/auth/me").await.ok().json, changed.json);
    assert_eq!(user.patch("/auth/me", json!({})).await.ok().json, changed.json);
    let cleared = json!({"profile": {"phone_number": null, "dni": null}});
    let cleared = user.patch("/auth/me", cleared).await.ok();
    let profile = &cleared.json["profile"];
    assert_eq!(
        (&profile["phone_number"], &profile["dni"], &profile["last_name"]),
        (&Value::Null, &Value::Null, &json!("Paz"))
    );
    assert_eq!(cleared.json["language"], "en");
}

#[tokio::test]
async fn the_introduction_is_over_when_the_client_says_so() {
    let t = app().await;
    let user = t.user("ana").await;
    assert_eq!(
        login(&t, &user.email, testkit::PASSWORD).await.ok().json["user"]["first_login"],
        true
    );
    let seen = user.patch("/auth/me", json!({"first_login": false})).await.ok();
    assert_eq!(seen.json["first_login"], false);
    assert_eq!(
        login(&t, &user.email, testkit::PASSWORD).await.ok().json["user"]["first_login"],
        false
    );
}

#[tokio::test]
async fn invalid_values_are_located_and_the_rest_is_not_ones_own_to_change() {
    let t = app().await;
    let user = t.user("ana").await;
    for (body, pointer, code) in [
        (
            json!({"profile": {"first_name": ""}}),
            "/profile/first_name",
            "blank",
        ),
        (
            json!({"profile": {"first_name": null}}),
            "/profile/first_name",
            "type",
        ),
        (
            json!({"profile": {"last_name": "x".repeat(51)}}),
            "/profile/last_name",
            "length",
        ),
        (
            json!({"profile": {"phone_number": "12"}}),
            "/profile/phone_number",
            "phone",
        ),
        (json!({"profile": {"dni": "12"}}), "/profile/dni", "dni"),
        (
            json!({"profile": {"dni": "123 456; drop"}}),
            "/profile/dni",
            "dni",
        ),
        (json!({"profile": {"dni": "123\u{0}456"}}), "/profile/dni", "dni"),
        (json!({"language": "fr"}), "/language", "type"),
        (json!({"language": null}), "/language", "type"),
        (json!({"first_login": "no"}), "/first_login", "type"),
        (json!({"email": "eva@example.com"}), "/email", "unknown-field"),
        (json!({"is_active": true}), "/is_active", "unknown-field"),
    ] {
        let refused = user
            .patch("/auth/me", body.clone())
            .await
            .problem(422, "validation-failed");
        assert_eq!(fault(&refused), (pointer, code), "{body}");
    }
}
