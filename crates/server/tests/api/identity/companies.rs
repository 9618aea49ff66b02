//! Companies: founding, listing mine, and the profile of the selected one.

use serde_json::{Value, json};
use testkit::Client;

use super::{company, fault, with_context_token};
use crate::app;

/// Founds a company; the client that acts in it.
async fn found(user: &Client, body: Value) -> Client {
    let created = user.post("/company", body).await.created();
    user.in_company(created.id().parse().expect("an id"))
}

#[tokio::test]
async fn the_founder_is_the_owner_and_acts_at_once() {
    let t = app().await;
    let user = t.user("ana").await;
    // The refusal before must not be remembered.
    let created = user.post("/company/", company("Acme")).await.created();
    assert_eq!((created.header("location"), created.header("etag")), ("/company/me", "\"1\""));
    let mut body = created.json.clone();
    let fields = body.as_object_mut().expect("object");
    assert!(fields.remove("id").is_some() && fields.remove("created_at").is_some() && fields.remove("updated_at").is_some());
    let expected = json!({
        "name": "Acme", "trade_name": null, "nit": "900123456", "nit_check_digit": "8", "address": null,
        "phone_number": "+573001234567", "description": null, "economic_activity": null,
        "currency": "COP", "time_zone": "America/Bogota",
    });
    assert_eq!(body, expected);
    let owner = user.in_company(created.id().parse().expect("an id"));
    assert_eq!(owner.get("/auth/context").await.ok().json["user_role"], "owner");
    owner.post("/brands", json!({"name": "Acme"})).await.created();
    assert_eq!(owner.get("/company/me").await.ok().json, created.json);
}

#[tokio::test]
async fn one_company_does_not_learn_of_another() {
    let t = app().await;
    let (a, b) = (t.user("a").await, t.user("b").await);
    let (first, second) = (found(&a, company("Acme")).await, found(&b, company("Acme")).await);
    let third = found(&a, company("Acme")).await;
    assert!(first.company() != second.company() && first.company() != third.company());
    a.in_company(second.company()).get("/company/me").await.problem(403, "not-a-member");
}

#[tokio::test]
async fn a_nit_is_taken_in_every_usual_form() {
    let t = app().await;
    let user = t.user("ana").await;
    for (given, digits, check_digit) in [
        ("900123456", "900123456", "8"),
        ("900123456-8", "900123456", "8"),
        ("900.123.456-8", "900123456", "8"),
        (" 900 123 456 - 8 ", "900123456", "8"),
        ("899999068-1", "899999068", "1"),
        ("860.002.964", "860002964", "4"),
        ("123456", "123456", ""),
        ("999999999999999", "999999999999999", ""),
    ] {
        let mut body = company("Acme");
        body["nit"] = given.into();
        let created = user.post("/company", body).await.created().json;
        assert_eq!(created["nit"], digits, "{given}");
        let expected = identity::nit_check_digit(digits).expect("digits").to_string();
        assert_eq!(created["nit_check_digit"], expected);
        assert!(check_digit.is_empty() || check_digit == expected);
    }
    for wrong in ["900123456-1", "900.123.456-0", "899999068-2"] {
        let mut body = company("Acme");
        body["nit"] = wrong.into();
        let refused = user.post("/company", body).await.problem(422, "nit-check-digit-wrong");
        assert_eq!(fault(&refused).0, "/nit");
    }
    for malformed in ["", "12345", "0123456789", "1234567890123456", "90012345X", "900123456-", "900123456-88", "9-8", "٩٠٠١٢٣٤٥٦"] {
        let mut body = company("Acme");
        body["nit"] = malformed.into();
        let refused = user.post("/company", body).await.problem(422, "validation-failed");
        assert_eq!(fault(&refused), ("/nit", "nit"), "{malformed}");
    }
}

#[tokio::test]
async fn the_database_knows_the_check_digit_as_well() {
    let t = app().await;
    let mut conn = t.superuser().await;
    let seed: u64 = t.app.clock.unix().unsigned_abs();
    // A linear congruential generator: any spread of digits and lengths will do.
    let numbers = std::iter::successors(Some(seed), |n| Some(n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407)));
    let nits: Vec<String> = numbers
        .skip(1)
        .take(1000)
        .map(|n| {
            let digits = format!("{}{:018}", 1 + n % 9, (n >> 10) % 1_000_000_000_000_000_000);
            digits[..6 + (n >> 32) as usize % 10].to_owned()
        })
        .collect();
    let digits: Vec<String> =
        sqlx::query_scalar("select ally.nit_check_digit(n) from unnest($1::text[]) with ordinality as t (n, i) order by i")
            .bind(&nits)
            .fetch_all(&mut conn)
            .await
            .expect("check digits");
    assert_eq!(digits.len(), 1000);
    for (nit, digit) in nits.iter().zip(&digits) {
        let expected = identity::nit_check_digit(nit).expect("digits").to_string();
        assert_eq!(*digit, expected, "NIT {nit}, seed {seed}");
    }
    for (nit, digit) in nits.iter().zip(&digits).take(20) {
        for candidate in '0'..='9' {
            let inserted = sqlx::query(
                "insert into ally.companies (tenant_id, name, nit, nit_check_digit, phone_number)
                 values ($1, 'Acme', $2, $3, '+573001234567')",
            )
            .bind(kernel::ids::new_id())
            .bind(nit)
            .bind(candidate.to_string())
            .execute(&mut conn)
            .await;
            let violated = inserted.err().and_then(|e| e.as_database_error().and_then(|db| db.constraint().map(ToOwned::to_owned)));
            let expected = (candidate.to_string() != *digit).then_some("companies_nit_check_digit");
            assert_eq!(violated.as_deref(), expected, "NIT {nit}-{candidate}, seed {seed}");
        }
    }
}

#[tokio::test]
async fn values_are_validated() {
    let t = app().await;
    let user = t.user("ana").await;
    let owner = found(&user, company("Acme")).await;
    for (field, value, code) in [
        ("name", json!(""), "blank"),
        ("name", json!(" "), "blank"),
        ("name", json!("a".repeat(151)), "length"),
        ("trade_name", json!(""), "blank"),
        ("trade_name", json!("a".repeat(151)), "length"),
        ("address", json!("a".repeat(256)), "length"),
        ("description", json!("a".repeat(501)), "length"),
        ("economic_activity", json!("a".repeat(151)), "length"),
        ("phone_number", json!("12345"), "phone"),
        ("nit", json!("abc"), "nit"),
        ("time_zone", json!("America/Macondo"), "time-zone"),
        ("time_zone", json!(""), "time-zone"),
        ("time_zone", json!("Etc/Unknown"), "time-zone"),
        ("time_zone", json!("../../../etc/passwd"), "time-zone"),
        ("time_zone", json!("-05:00"), "time-zone"),
        ("name", json!(5), "type"),
        ("currency", json!("USD"), "unknown-field"),
        ("state", json!("active"), "unknown-field"),
        ("nit_check_digit", json!("8"), "unknown-field"),
        ("tenant_id", json!(owner.company()), "unknown-field"),
        ("id", json!(owner.company()), "unknown-field"),
        ("version", json!(9), "unknown-field"),
    ] {
        let mut body = company("Acme");
        body[field] = value.clone();
        let created = user.post("/company", body).await.problem(422, "validation-failed");
        let patched = owner.patch("/company/me", json!({field: value})).await.problem(422, "validation-failed");
        for refused in [created, patched] {
            assert_eq!(fault(&refused), (format!("/{field}").as_str(), code), "{value}");
        }
    }
    for missing in ["name", "nit", "phone_number"] {
        let mut body = company("Acme");
        body.as_object_mut().expect("object").remove(missing);
        let refused = user.post("/company", body).await.problem(422, "validation-failed");
        assert_eq!(fault(&refused), (format!("/{missing}").as_str(), "required"));
    }
    assert_eq!(user.get("/company/my_companies").await.ok().items("name"), ["Acme"]);
    assert_eq!(owner.get("/company/me").await.ok().header("etag"), "\"1\"");
}

#[tokio::test]
async fn a_time_zone_is_stored_by_its_name() {
    let t = app().await;
    let user = t.user("ana").await;
    for (given, stored) in [("america/BOGOTA", "America/Bogota"), ("Europe/Madrid", "Europe/Madrid"), ("utc", "UTC")] {
        let mut body = company("Acme");
        body["time_zone"] = given.into();
        let owner = found(&user, body).await;
        assert_eq!(owner.get("/company/me").await.ok().json["time_zone"], stored);
        let changed = owner.patch("/company/me", json!({"time_zone": "america/lima"})).await.ok();
        assert_eq!(changed.json["time_zone"], "America/Lima");
    }
}

#[tokio::test]
async fn only_the_selected_company_changes() {
    let t = app().await;
    let user = t.user("ana").await;
    let (a, b) = (found(&user, company("A")).await, found(&user, company("B")).await);
    let before = b.get("/company/me").await.ok();
    let all = json!({
        "name": "New", "trade_name": "T", "nit": "899.999.068-1", "phone_number": "(601) 234 5678", "address": "Calle 1",
        "description": "D", "economic_activity": "4711", "time_zone": "America/Lima",
    });
    let read = a.with_header("If-Match", a.get("/company/me").await.ok().header("etag"));
    let changed = read.patch("/company/me", all.clone()).await.ok();
    let mut expected = all;
    (expected["nit"], expected["phone_number"]) = ("899999068".into(), "+576012345678".into());
    for (field, value) in expected.as_object().expect("object") {
        assert_eq!(changed.json[field], *value, "{field}");
    }
    assert_eq!((&changed.json["nit_check_digit"], changed.header("etag")), (&json!("1"), "\"2\""));
    assert_eq!(a.get("/company/me").await.ok().json, changed.json);
    assert_eq!(b.get("/company/me").await.ok().json, before.json, "the user's other company is as it was");
    // With a token for the other one it is the other way round.
    with_context_token(&b).await.patch("/company/me", json!({"name": "B2"})).await.ok();
    assert_eq!(a.get("/company/me").await.ok().json["name"], "New");
    assert_eq!(b.get("/company/me").await.ok().json["name"], "B2");
    a.without_company().patch("/company/me", json!({"name": "X"})).await.problem(400, "company-header-missing");

    read.patch("/company/me", json!({"name": "Lost"})).await.problem(412, "precondition-failed");
    assert_eq!(a.get("/company/me").await.ok().json["name"], "New");
}

#[tokio::test]
async fn null_clears_what_is_optional_and_nothing_else() {
    let t = app().await;
    let user = t.user("ana").await;
    let optional = ["trade_name", "address", "description", "economic_activity"];
    let mut body = company("Acme");
    for field in optional {
        body[field] = "x".into();
    }
    let owner = found(&user, body).await;
    for field in ["name", "nit", "phone_number", "time_zone"] {
        let refused = owner.patch("/company/me", json!({field: null})).await.problem(422, "validation-failed");
        assert_eq!(fault(&refused), (format!("/{field}").as_str(), "type"));
    }
    for field in optional {
        let changed = owner.patch("/company/me", json!({field: null})).await.ok().json;
        assert_eq!(changed[field], Value::Null, "{field}");
    }
    let now = owner.get("/company/me").await.ok().json;
    assert_eq!((&now["name"], &now["nit"], &now["phone_number"]), (&json!("Acme"), &json!("900123456"), &json!("+573001234567")));
    let wrong = owner.patch("/company/me", json!({"nit": "900123456-1"})).await.problem(422, "nit-check-digit-wrong");
    assert_eq!(fault(&wrong).0, "/nit");
}

#[tokio::test]
async fn all_members_see_the_profile_and_managers_change_it() {
    let t = app().await;
    let owner = t.tenant("acme").await;
    for role in identity::ROLES {
        let member = t.member(&owner, role).await;
        member.get("/company/me").await.ok();
        let change = member.patch("/company/me", json!({"description": role})).await;
        if matches!(role, "owner" | "admin") {
            change.ok();
        } else {
            assert_eq!(change.problem(403, "permission-missing").json["permission"], "company.write", "{role}");
        }
    }
    assert_eq!(owner.get("/company/me").await.ok().json["description"], "admin");
}

#[tokio::test]
async fn my_companies_are_listed_page_by_page() {
    let t = app().await;
    let (ana, eva) = (t.user("ana").await, t.user("eva").await);
    for i in 0..25 {
        // Names repeat: the order is settled by the id.
        found(&ana, company(&format!("Company {}", i % 7))).await;
    }
    found(&eva, company("Company 3")).await;
    let mut names = Vec::new();
    let mut ids = std::collections::BTreeSet::new();
    let mut path = "/company/my_companies?limit=10&include_total=true".to_owned();
    let mut sizes = Vec::new();
    loop {
        let page = ana.get(&path).await.ok();
        sizes.push(page.items("id").len());
        names.extend(page.items("name"));
        ids.extend(page.items("id"));
        assert_eq!(page.json["total"], 25);
        assert!(page.items("role").iter().all(|role| role == "owner"));
        let Some(cursor) = page.json["next_cursor"].as_str() else { break };
        path = format!("/company/my_companies?limit=10&include_total=true&cursor={cursor}");
        assert!(page.header("link").contains(cursor));
        eva.get(&path).await.problem(400, "cursor-invalid");
    }
    assert_eq!((sizes, ids.len()), (vec![10, 10, 5], 25));
    assert!(names.is_sorted(), "{names:?}");
    assert_eq!(eva.get("/company/my_companies").await.ok().items("name"), ["Company 3"]);
    assert_eq!(t.user("bob").await.get("/company/my_companies").await.ok().json, json!({"items": [], "next_cursor": null}));
    ana.get("/company/my_companies?limit=0").await.problem(400, "query-invalid");
    ana.get("/company/my_companies?user_id=x").await.problem(400, "query-invalid");
}

#[tokio::test]
async fn who_is_nobody_founds_nothing() {
    let t = app().await;
    let user = t.user("ana").await;
    let mut conn = t.superuser().await;
    t.anonymous().post("/company", company("Acme")).await.problem(401, "unauthenticated");
    t.anonymous().get("/company/my_companies").await.problem(401, "unauthenticated");
    t.anonymous().get("/company/me").await.problem(401, "unauthenticated");
    super::listener(&mut conn).await;
    sqlx::query("delete from ally.users where id = $1").bind(user.user_id).execute(&mut conn).await.expect("user");
    super::until(&user, "/company/my_companies", "401 unauthenticated", std::time::Duration::from_secs(1)).await;
    user.post("/company", company("Acme")).await.problem(401, "unauthenticated");
    let companies: i64 = sqlx::query_scalar("select count(*) from ally.companies").fetch_one(&mut conn).await.expect("companies");
    assert_eq!(companies, 0);
}
