//! Companies: founding, listing mine, and the profile of the selected one.

use serde_json::{Value, json};
use testkit::Client;

use super::{company, fault, with_context_token};
use crate::app;
use crate::limits::limited;

/// Founds a company; the client that acts in it.
async fn found(user: &Client, body: Value) -> Client {
    let created = user.post("/company", body).await.created();
    user.in_company(created.id().parse().expect("an id"))
}

#[tokio::test]
async fn the_founder_is_the_owner_and_acts_at_once() {
    let t = app().await;
    let user = t.user("ana").await;
    let created = user.post("/company/", company("Acme")).await.created();
    assert_eq!(
        (created.header("location"), created.header("etag")),
        ("/company/me", "\"1\"")
    );
    let mut body = created.json.clone();
    let fields = body.as_object_mut().expect("object");
    assert!(
        fields.remove("id").is_some()
            && fields.remove("created_at").is_some()
            && fields.remove("updated_at").is_some()
    );
    let expected = json!({
        "name": "Acme", "trade_name": null, "nit": "900123456", "nit_check_digit": "8", "address": null,
        "phone_number": "+573001234567", "description": null, "economic_activity": null,
        "tax_regime": null, "fiscal_responsibilities": [], "ciiu_code": null, "municipality_code": null,
        "email": null, "website": null, "logo": null, "state": "active", "currency": "COP", "time_zone": "America/Bogota",
    });
    assert_eq!(body, expected);
    let owner = user.in_company(created.id().parse().expect("an id"));
    assert_eq!(owner.get("/auth/context").await.ok().json["user_role"], "owner");
    owner.post("/brands", json!({"name": "Acme"})).await.created();
    assert_eq!(owner.get("/company/me").await.ok().json, created.json);
}

/// Declared at 10/hour.
#[tokio::test]
async fn a_user_founds_ten_companies_an_hour() {
    let t = limited(100).await;
    let (ana, eva) = (t.user("ana").await, t.user("eva").await);
    let founded = futures::future::join_all((0..12).map(|_| ana.post("/company", company("Acme")))).await;
    let made = founded.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(made, 10);
    let refused = ana.post("/company", company("Acme")).await;
    let refused = refused.problem(429, "rate-limited");
    assert_eq!(refused.json["detail"], "create-company-user allows 10/hour");
    ana.get("/company/my_companies").await.ok();
    found(&eva, company("Acme")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_companies_founded_at_once_a_user_owns_a_hundred() {
    let t = app().await;
    let (ana, eva) = (t.user("ana").await, t.user("eva").await);
    let mut conn = t.superuser().await;
    // Where he is no owner does not count.
    let insert = "with founded as (
            insert into ally.companies (tenant_id, name, nit, nit_check_digit, phone_number)
            select gen_random_uuid(), 'c' || n, '900123456', '8', '+573001234567' from generate_series(1, 105) as n
         returning tenant_id, name)
        insert into ally.memberships (tenant_id, user_id, role)
        select tenant_id, $1, case when substr(name, 2)::integer > 97 then 'admin' else 'owner' end from founded";
    sqlx::query(insert)
        .bind(ana.user_id)
        .execute(&mut conn)
        .await
        .expect("companies");
    let asked = (0..12).map(|_| ana.post("/company", company("Acme")));
    let answers = futures::future::join_all(asked).await;
    let answers: Vec<String> = answers.iter().map(testkit::Answer::summary).collect();
    let of = |summary: &str| answers.iter().filter(|answer| *answer == summary).count();
    assert_eq!((of("201"), of("409 too-many-companies")), (3, 9), "{answers:?}");
    let owned: i64 = sqlx::query_scalar("select count(*) from ally.companies where name = 'Acme'")
        .fetch_one(&mut conn)
        .await
        .expect("companies");
    assert_eq!(owned, 3, "what is refused leaves no company");

    // Another is not concerned; nor may she add one to his as an owner, but as anything else.
    let other = found(&eva, company("Beta")).await;
    for (role, expected) in [("owner", "409 too-many-companies"), ("admin", "200")] {
        let body = json!({"email": ana.email, "role": role});
        let id = other.post("/auth/invite-user", body).await.created().id();
        t.run_jobs().await;
        let token = t
            .mail_to(&ana.email)
            .await
            .pop()
            .expect("a mail")
            .token()
            .to_owned();
        let body = json!({"token": token});
        let accepted = ana.post("/auth/accept-invitation/existing", body).await;
        assert_eq!(accepted.summary(), expected, "{role}");
        if accepted.status != 200 {
            other.delete(&format!("/auth/invitations/{id}")).await.status(204);
        }
    }
}

#[tokio::test]
async fn one_company_does_not_learn_of_another() {
    let t = app().await;
    let (a, b) = (t.user("a").await, t.user("b").await);
    let (first, second) = (found(&a, company("Acme")).await, found(&b, company("Acme")).await);
    let third = found(&a, company("Acme")).await;
    assert!(first.company() != second.company() && first.company() != third.company());
    a.in_company(second.company())
        .get("/company/me")
        .await
        .problem(403, "not-a-member");
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
        let created = user
            .post("/company", body)
            .await
            .problem(422, "validation-failed");
        let patched = owner
            .patch("/company/me", json!({field: value}))
            .await
            .problem(422, "validation-failed");
        for refused in [created, patched] {
            assert_eq!(fault(&refused), (format!("/{field}").as_str(), code), "{value}");
        }
    }
    for missing in ["name", "nit", "phone_number"] {
        let mut body = company("Acme");
        body.as_object_mut().expect("object").remove(missing);
        let refused = user
            .post("/company", body)
            .await
            .problem(422, "validation-failed");
        assert_eq!(fault(&refused), (format!("/{missing}").as_str(), "required"));
    }
    assert_eq!(
        user.get("/company/my_companies").await.ok().items("name"),
        ["Acme"]
    );
    assert_eq!(owner.get("/company/me").await.ok().header("etag"), "\"1\"");
}

#[tokio::test]
async fn a_time_zone_is_stored_by_its_name() {
    let t = app().await;
    let user = t.user("ana").await;
    for (given, stored) in [
        ("america/BOGOTA", "America/Bogota"),
        ("Europe/Madrid", "Europe/Madrid"),
        ("utc", "UTC"),
    ] {
        let mut body = company("Acme");
        body["time_zone"] = given.into();
        let owner = found(&user, body).await;
        assert_eq!(owner.get("/company/me").await.ok().json["time_zone"], stored);
        let changed = owner
            .patch("/company/me", json!({"time_zone": "america/lima"}))
            .await
            .ok();
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
    assert_eq!(
        (&changed.json["nit_check_digit"], changed.header("etag")),
        (&json!("1"), "\"2\"")
    );
    assert_eq!(a.get("/company/me").await.ok().json, changed.json);
    assert_eq!(
        b.get("/company/me").await.ok().json,
        before.json,
        "the user's other company is as it was"
    );
    // With a token for the other one it is the other way round.
    with_context_token(&b)
        .await
        .patch("/company/me", json!({"name": "B2"}))
        .await
        .ok();
    assert_eq!(a.get("/company/me").await.ok().json["name"], "New");
    assert_eq!(b.get("/company/me").await.ok().json["name"], "B2");
    a.without_company()
        .patch("/company/me", json!({"name": "X"}))
        .await
        .problem(400, "company-header-missing");

    read.patch("/company/me", json!({"name": "Lost"}))
        .await
        .problem(412, "precondition-failed");
    assert_eq!(a.get("/company/me").await.ok().json["name"], "New");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_changes_based_on_one_version_one_is_made() {
    let t = app().await;
    let owner = t.tenant("acme").await;
    let read = owner.with_header("If-Match", owner.get("/company/me").await.ok().header("etag"));
    let (one, two) = tokio::join!(
        read.patch("/company/me", json!({"name": "One"})),
        read.patch("/company/me", json!({"name": "Two"})),
    );
    let mut summaries = [one.summary(), two.summary()];
    summaries.sort();
    assert_eq!(summaries, ["200", "412 precondition-failed"]);
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
        let refused = owner
            .patch("/company/me", json!({field: null}))
            .await
            .problem(422, "validation-failed");
        assert_eq!(fault(&refused), (format!("/{field}").as_str(), "type"));
    }
    for field in optional {
        let changed = owner.patch("/company/me", json!({field: null})).await.ok().json;
        assert_eq!(changed[field], Value::Null, "{field}");
    }
    let now = owner.get("/company/me").await.ok().json;
    assert_eq!(
        (&now["name"], &now["nit"], &now["phone_number"]),
        (&json!("Acme"), &json!("900123456"), &json!("+573001234567"))
    );
    let wrong = owner
        .patch("/company/me", json!({"nit": "900123456-1"}))
        .await
        .problem(422, "nit-check-digit-wrong");
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
            assert_eq!(
                change.problem(403, "permission-missing").json["permission"],
                "company.write",
                "{role}"
            );
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
        let Some(cursor) = page.json["next_cursor"].as_str() else {
            break;
        };
        path = format!("/company/my_companies?limit=10&include_total=true&cursor={cursor}");
        assert!(page.header("link").contains(cursor));
        eva.get(&path).await.problem(400, "cursor-invalid");
    }
    assert_eq!((sizes, ids.len()), (vec![10, 10, 5], 25));
    assert!(names.is_sorted(), "{names:?}");
    assert_eq!(
        eva.get("/company/my_companies").await.ok().items("name"),
        ["Company 3"]
    );
    assert_eq!(
        t.user("bob").await.get("/company/my_companies").await.ok().json,
        json!({"items": [], "next_cursor": null})
    );
    ana.get("/company/my_companies?limit=0")
        .await
        .problem(400, "query-invalid");
    ana.get("/company/my_companies?user_id=x")
        .await
        .problem(400, "query-invalid");
}

#[tokio::test]
async fn who_is_nobody_founds_nothing() {
    let t = app().await;
    let user = t.user("ana").await;
    let mut conn = t.superuser().await;
    t.anonymous()
        .post("/company", company("Acme"))
        .await
        .problem(401, "unauthenticated");
    t.anonymous()
        .get("/company/my_companies")
        .await
        .problem(401, "unauthenticated");
    t.anonymous()
        .get("/company/me")
        .await
        .problem(401, "unauthenticated");
    super::listener(&mut conn).await;
    sqlx::query("delete from ally.users where id = $1")
        .bind(user.user_id)
        .execute(&mut conn)
        .await
        .expect("user");
    super::until(
        &user,
        "/company/my_companies",
        "401 unauthenticated",
        std::time::Duration::from_secs(1),
    )
    .await;
    user.post("/company", company("Acme"))
        .await
        .problem(401, "unauthenticated");
    let companies: i64 = sqlx::query_scalar("select count(*) from ally.companies")
        .fetch_one(&mut conn)
        .await
        .expect("companies");
    assert_eq!(companies, 0);
}

#[tokio::test]
async fn fiscal_data_and_address_are_kept_and_validated() {
    let t = app().await;
    let owner = found(&t.user("ana").await, company("Acme")).await;
    let whole = json!({
        "tax_regime": "vat_responsible", "fiscal_responsibilities": ["O-13", "O-23"], "ciiu_code": "4711",
        "municipality_code": "05001", "email": "Contacto@acme.co", "website": "https://www.acme.co/tienda",
        "address": "Calle 10 # 43-12", "trade_name": "La Acme",
    });
    let first = owner.with_header("If-Match", "\"1\"");
    let changed = first.patch("/company/me", whole.clone()).await.ok();
    for (field, value) in whole.as_object().expect("object") {
        assert_eq!(&changed.json[field], value, "{field}");
    }
    first
        .patch("/company/me", json!({"ciiu_code": "4712"}))
        .await
        .problem(412, "precondition-failed");
    for (field, value, code) in [
        ("tax_regime", json!("simple"), "type"),
        ("fiscal_responsibilities", json!(["O-13", "O-13"]), "unique"),
        ("fiscal_responsibilities", json!(null), "type"),
        ("ciiu_code", json!("471"), "digits"),
        ("ciiu_code", json!("47a1"), "digits"),
        ("municipality_code", json!("5001"), "digits"),
        // There is no department 02.
        ("municipality_code", json!("02001"), "validation-failed"),
        ("email", json!("nobody"), "email"),
        ("website", json!("acme.co"), "url"),
        ("website", json!("javascript:alert(1)"), "url"),
        ("website", json!("https://user:pass@acme.co"), "url"),
        ("website", json!("https://localhost"), "url"),
        (
            "website",
            json!(format!("https://acme.co/{}", "a".repeat(250))),
            "url",
        ),
    ] {
        let refused = owner
            .patch("/company/me", json!({field: value}))
            .await
            .problem(422, "validation-failed");
        assert_eq!(fault(&refused), (format!("/{field}").as_str(), code), "{value}");
    }
    let cleared = json!({"tax_regime": null, "fiscal_responsibilities": [], "ciiu_code": null,
        "municipality_code": null, "email": null, "website": null});
    let emptied = owner.patch("/company/me", cleared.clone()).await.ok();
    for (field, value) in cleared.as_object().expect("object") {
        assert_eq!(&emptied.json[field], value, "{field}");
    }
    assert_eq!(emptied.json["trade_name"], "La Acme");
}
