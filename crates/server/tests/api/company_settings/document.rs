//! Defaults, changes, faults, versions.

use futures::future::join_all;
use serde_json::{Value, json};

use super::{PATH, settings, stored};
use crate::app;

#[tokio::test]
async fn a_company_that_has_chosen_nothing_has_the_defaults() {
    let t = app().await;
    let owner = t.tenant("a").await;
    let pictures = json!({"content_types": ["image/jpeg", "image/png", "image/webp", "image/gif"], "max_bytes": 15_728_640});
    let mut found = settings(&owner).await;
    assert_eq!(found["files"]["other"]["max_bytes"], 52_428_800);
    found["files"]["other"] = Value::Null;
    let expected = json!({
        "language": "es",
        "time_zone": "America/Bogota",
        "numbers": {"decimal_separator": ",", "group_separator": ".", "decimals": 0},
        "prices": {"tax_included": true, "currency": "symbol"},
        "files": {"products": pictures, "companies": pictures, "users": pictures, "other": null},
        "retention": {"deleted_files_days": 30},
        "notifications": {"infected_file": "owners", "storage_nearly_full": "managers"},
    });
    assert_eq!(found, expected);
    assert_eq!(stored(&t, &owner).await, (json!({}), None));
}

#[tokio::test]
async fn all_members_read_and_managers_change() {
    let t = app().await;
    let owner = t.tenant("a").await;
    for role in identity::ROLES {
        let member = t.member(&owner, role).await;
        member.get(PATH).await.ok();
        let change = member.patch(PATH, json!({"language": "en"})).await;
        if matches!(role, "owner" | "admin") {
            change.ok();
        } else {
            let refused = change.problem(403, "permission-missing");
            assert_eq!(refused.json["permission"], "company_settings.write");
        }
    }
}

#[tokio::test]
async fn only_what_differs_is_stored_and_null_takes_the_default() {
    let t = app().await;
    let owner = t.tenant("a").await;
    // A form that sends back all that it was given.
    let mut all = settings(&owner).await;
    all["numbers"]["decimals"] = 2.into();
    all["time_zone"] = "america/LIMA".into();
    let answer = owner.patch(PATH, all).await.ok().json;
    assert_eq!(answer, settings(&owner).await);
    assert_eq!(answer["numbers"]["decimals"], 2);
    let lima = Some("America/Lima".to_owned());
    assert_eq!(
        stored(&t, &owner).await,
        (json!({"numbers": {"decimals": 2}}), lima.clone())
    );

    // Absent is not null.
    owner
        .patch(PATH, json!({"prices": {"tax_included": false}}))
        .await
        .ok();
    let chosen = json!({"numbers": {"decimals": 2}, "prices": {"tax_included": false}});
    assert_eq!(stored(&t, &owner).await, (chosen, lima));
    let back = json!({"numbers": {"decimals": null}, "prices": null, "time_zone": null});
    owner.patch(PATH, back).await.ok();
    assert_eq!(stored(&t, &owner).await, (json!({}), None));
    assert_eq!(settings(&owner).await["prices"]["tax_included"], true);
}

#[tokio::test]
async fn what_is_wrong_is_told_where_it_is_and_changes_nothing() {
    let t = app().await;
    let owner = t.tenant("a").await;
    for (change, pointer, code) in [
        (json!({"color": "red"}), "/color", "unknown-field"),
        (
            json!({"numbers": {"digits": 1}}),
            "/numbers/digits",
            "unknown-field",
        ),
        (
            json!({"files": {"invoices": {}}}),
            "/files/invoices",
            "unknown-field",
        ),
        (json!({"language": "fr"}), "/language", "type"),
        (json!({"numbers": {"decimals": -1}}), "/numbers/decimals", "type"),
        (
            json!({"prices": {"tax_included": "yes"}}),
            "/prices/tax_included",
            "type",
        ),
        (json!({"time_zone": "America/Macondo"}), "/time_zone", "time-zone"),
        (json!({"time_zone": "UTC+5"}), "/time_zone", "time-zone"),
        (json!({"numbers": {"decimals": 3}}), "/numbers/decimals", "range"),
        (
            json!({"numbers": {"decimal_separator": "."}}),
            "/numbers/group_separator",
            "same-separator",
        ),
        (
            json!({"files": {"products": {"content_types": ["application/pdf"]}}}),
            "/files/products/content_types/0",
            "file-type-not-allowed",
        ),
        (
            json!({"files": {"other": {"max_bytes": 52_428_801}}}),
            "/files/other/max_bytes",
            "range",
        ),
        (
            json!({"retention": {"deleted_files_days": 3651}}),
            "/retention/deleted_files_days",
            "range",
        ),
        (
            json!({"notifications": {"infected_file": "everybody"}}),
            "/notifications/infected_file",
            "type",
        ),
    ] {
        let refused = owner
            .patch(PATH, change.clone())
            .await
            .problem(422, "validation-failed");
        let fault = &refused.json["errors"][0];
        assert_eq!(
            (&fault["pointer"], &fault["code"]),
            (&json!(pointer), &json!(code)),
            "{change}"
        );
    }
    assert_eq!(stored(&t, &owner).await, (json!({}), None));
}

#[tokio::test]
async fn a_version_is_changed_once() {
    let t = app().await;
    let owner = t.tenant("a").await;
    let read = owner.get(PATH).await.ok();
    let tag = read.header("etag").to_owned();
    let unchanged = owner
        .with_header("If-None-Match", &tag)
        .get(PATH)
        .await
        .status(304);
    assert!(unchanged.body.is_empty());

    let seen = owner.with_header("If-Match", &tag);
    let changes = (0..10).map(|_| seen.patch(PATH, json!({"numbers": {"decimals": 1}})));
    let answers: Vec<_> = join_all(changes)
        .await
        .iter()
        .map(testkit::Answer::summary)
        .collect();
    let won = answers.iter().filter(|answer| *answer == "200").count();
    let lost = answers
        .iter()
        .filter(|answer| *answer == "412 precondition-failed")
        .count();
    assert_eq!((won, lost), (1, 9), "{answers:?}");

    let changed = owner.with_header("If-None-Match", &tag).get(PATH).await.ok();
    assert_ne!(changed.header("etag"), tag);
}

/// Others have read what still holds.
#[tokio::test]
async fn what_changes_nothing_leaves_the_version() {
    let t = app().await;
    let owner = t.tenant("a").await;
    let tag = owner.get(PATH).await.ok().header("etag").to_owned();
    let all = settings(&owner).await;
    for same in [json!({}), json!({"numbers": {}, "language": null}), all] {
        assert_eq!(owner.patch(PATH, same).await.ok().header("etag"), tag);
    }
    let changed = owner.patch(PATH, json!({"language": "en"})).await.ok();
    assert_ne!(changed.header("etag"), tag);
}

#[tokio::test]
async fn changes_of_different_settings_at_once_are_all_kept() {
    let t = app().await;
    let owner = t.tenant("a").await;
    let changes = [
        json!({"language": "en"}),
        json!({"numbers": {"decimals": 2}}),
        json!({"numbers": {"group_separator": " "}}),
        json!({"prices": {"currency": "code"}}),
        json!({"retention": {"deleted_files_days": 7}}),
        json!({"time_zone": "America/Lima"}),
    ];
    let answers = join_all(changes.map(|change| owner.patch(PATH, change))).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    let kept = json!({"language": "en", "numbers": {"decimals": 2, "group_separator": " "},
                      "prices": {"currency": "code"}, "retention": {"deleted_files_days": 7}});
    assert_eq!(stored(&t, &owner).await, (kept, Some("America/Lima".to_owned())));
}

#[tokio::test]
async fn the_time_zone_is_that_of_the_profile() {
    let t = app().await;
    let owner = t.tenant("a").await;
    let profile = owner.get("/company/me").await.ok();
    assert_eq!(profile.json["time_zone"], "America/Bogota");
    owner.patch(PATH, json!({"time_zone": "America/Lima"})).await.ok();
    let changed = owner
        .with_header("If-None-Match", profile.header("etag"))
        .get("/company/me")
        .await
        .ok();
    assert_eq!(changed.json["time_zone"], "America/Lima");

    // Whatever of the profile changes, the tag that is read is one that can be written with.
    settings(&owner).await;
    owner
        .patch("/company/me", json!({"trade_name": "Otra"}))
        .await
        .ok();
    let before = owner.get(PATH).await.ok();
    let seen = owner.with_header("If-Match", before.header("etag"));
    seen.patch(PATH, json!({"language": "en"})).await.ok();
    owner.patch("/company/me", json!({"time_zone": "UTC"})).await.ok();
    let after = owner
        .with_header("If-None-Match", before.header("etag"))
        .get(PATH)
        .await
        .ok();
    assert_eq!(after.json["time_zone"], "UTC");
}

#[tokio::test]
async fn a_change_is_in_the_trail() {
    let t = app().await;
    let owner = t.tenant("a").await;
    owner.patch(PATH, json!({"language": "en"})).await.ok();
    let trail = owner.get("/audit?entity=companies&action=update").await.ok();
    let entry = &trail.json["items"][0];
    assert_eq!(
        (&entry["before"]["settings"], &entry["after"]["settings"]),
        (&json!({}), &json!({"language": "en"}))
    );
}

#[tokio::test]
async fn settings_are_the_companys_own() {
    let t = app().await;
    let (a, b) = (t.tenant("a").await, t.tenant("b").await);
    a.patch(PATH, json!({"language": "en", "time_zone": "America/Lima"}))
        .await
        .ok();
    let before = settings(&b).await;
    assert_eq!(
        (&before["language"], &before["time_zone"]),
        (&json!("es"), &json!("America/Bogota"))
    );
    // One user, two companies, one after the other.
    t.join(&mut a.in_company(b.company()), "viewer").await;
    for _ in 0..3 {
        assert_eq!(settings(&a).await["language"], "en");
        assert_eq!(settings(&a.in_company(b.company())).await["language"], "es");
    }
}
