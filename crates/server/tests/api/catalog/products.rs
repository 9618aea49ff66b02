//! Products: uniqueness, deletion and restoring, partial changes, money, references.

use http::Method;
use serde_json::{Value, json};
use testkit::Answer;

use super::{blamed, create_product, product_with};
use crate::app;

#[tokio::test]
async fn a_product_is_answered_alike_when_created_found_and_listed() {
    let t = app().await;
    let a = t.tenant("a").await;
    let brand = a.post("/brands", json!({"name": "Acme"})).await.created().id();
    let category = a
        .post("/categories", json!({"name": "Lácteos"}))
        .await
        .created()
        .id();
    let sent = json!({
        "name": "Leche entera", "sku": "LEC-1", "description": "Bolsa\nde un litro", "bar_code": "7701234567897",
        "price_sale": "4200.00", "price_base": "3100.50", "unit_of_measure": "l", "is_active": false,
        "brand_id": brand, "category_id": category,
    });
    let created = a.post("/products", sent.clone()).await.created();
    for (field, value) in sent.as_object().expect("fields") {
        assert_eq!(&created.json[field], value, "{field}");
    }
    assert_eq!(created.json["deleted_at"], Value::Null);
    assert_eq!(created.json["created_at"], created.json["updated_at"]);
    assert!(created.json.get("version").is_none() && created.json.get("tenant_id").is_none());

    let found = a.get(created.header("location")).await.ok();
    assert_eq!(
        (&found.json, found.header("etag")),
        (&created.json, created.header("etag"))
    );
    assert_eq!(a.get("/products").await.ok().json["items"][0], created.json);
}

#[tokio::test]
async fn what_a_new_product_does_not_say_has_a_default() {
    let t = app().await;
    let a = t.tenant("a").await;
    let created = a
        .post("/products", json!({"name": "Soap", "sku": "S"}))
        .await
        .created()
        .json;
    for field in ["description", "bar_code", "brand_id", "category_id", "deleted_at"] {
        assert_eq!(
            created.get(field),
            Some(&Value::Null),
            "{field} is there and null"
        );
    }
    assert_eq!(
        (
            &created["price_sale"],
            &created["price_base"],
            &created["unit_of_measure"],
            &created["is_active"]
        ),
        (&json!("0.00"), &json!("0.00"), &json!("unit"), &json!(true))
    );
}

#[tokio::test]
async fn a_sku_is_unique_among_the_companys_products_whatever_its_case() {
    let t = app().await;
    let (a, b) = (t.tenant("a").await, t.tenant("b").await);
    create_product(&a, "Ñame-1", json!({})).await;
    let taken = a
        .post("/products", product_with("ÑAME-1", json!({})))
        .await
        .problem(409, "product-sku-taken");
    assert_eq!(blamed(&taken), "/sku");
    create_product(&b, "ñame-1", json!({})).await;

    let other = create_product(&a, "Other", json!({})).await;
    let path = format!("/products/{other}");
    a.patch(&path, json!({"sku": "ñame-1"}))
        .await
        .problem(409, "product-sku-taken");
    assert_eq!(
        a.patch(&path, json!({"sku": "OTHER"})).await.ok().json["sku"],
        "OTHER",
        "its own SKU in another case"
    );
}

#[tokio::test]
async fn a_bar_code_is_unique_when_there_is_one() {
    let t = app().await;
    let (a, b) = (t.tenant("a").await, t.tenant("b").await);
    create_product(&a, "1", json!({"bar_code": "7701"})).await;
    let taken = a
        .post("/products", product_with("2", json!({"bar_code": "7701"})))
        .await;
    assert_eq!(blamed(&taken.problem(409, "product-bar-code-taken")), "/bar_code");
    create_product(&b, "1", json!({"bar_code": "7701"})).await;

    let without = create_product(&a, "3", json!({"bar_code": null})).await;
    create_product(&a, "4", json!({})).await;
    a.patch(&format!("/products/{without}"), json!({"bar_code": "7701"}))
        .await
        .problem(409, "product-bar-code-taken");
}

#[tokio::test]
async fn a_deleted_product_is_gone_but_for_the_list_of_deleted_ones() {
    let t = app().await;
    let a = t.tenant("a").await;
    let (kept, deleted) = (
        create_product(&a, "1", json!({})).await,
        create_product(&a, "2", json!({})).await,
    );
    let path = format!("/products/{deleted}");
    let answer = a.delete(&path).await.status(204);
    assert!(answer.body.is_empty());

    a.get(&path).await.problem(404, "not-found");
    a.patch(&path, json!({"name": "x"}))
        .await
        .problem(404, "not-found");
    a.delete(&path).await.problem(404, "not-found");
    assert_eq!(a.get("/products").await.ok().items("id"), [kept]);
    let listed = a.get("/products?deleted=true").await.ok();
    assert_eq!(listed.items("id"), [deleted]);
    assert!(listed.json["items"][0]["deleted_at"].is_string());
}

#[tokio::test]
async fn a_product_is_restored_unless_its_sku_or_bar_code_was_given_away() {
    let t = app().await;
    let a = t.tenant("a").await;
    let product = create_product(&a, "A", json!({"bar_code": "77"})).await;
    let (path, restore) = (
        format!("/products/{product}"),
        format!("/products/{product}/restore"),
    );
    a.post(&restore, json!({}))
        .await
        .problem(409, "product-not-deleted");
    a.delete(&path).await.status(204);

    let same_sku = create_product(&a, "a", json!({})).await;
    assert_eq!(
        blamed(
            &a.post(&restore, json!({}))
                .await
                .problem(409, "product-sku-taken")
        ),
        "/sku"
    );
    a.delete(&format!("/products/{same_sku}")).await.status(204);
    let same_code = create_product(&a, "B", json!({"bar_code": "77"})).await;
    assert_eq!(
        blamed(
            &a.post(&restore, json!({}))
                .await
                .problem(409, "product-bar-code-taken")
        ),
        "/bar_code"
    );
    a.patch(&format!("/products/{same_code}"), json!({"bar_code": null}))
        .await
        .ok();

    let restored = a.post(&restore, json!({})).await.ok();
    assert_eq!(restored.json["deleted_at"], Value::Null);
    assert_eq!(restored.header("etag"), a.get(&path).await.ok().header("etag"));
    a.post(&restore, json!({}))
        .await
        .problem(409, "product-not-deleted");
}

#[tokio::test]
async fn changes_are_based_on_the_version_that_was_read() {
    let t = app().await;
    let a = t.tenant("a").await;
    let created = a.post("/products", testkit::product("Soap", "S")).await.created();
    let path = created.header("location").to_owned();
    let restore = format!("{path}/restore");
    let old = a.with_header("If-Match", created.header("etag"));
    let changed = old.patch(&path, json!({"name": "Jabón"})).await.ok();
    assert_ne!(changed.header("etag"), created.header("etag"));
    assert!(changed.json["updated_at"].as_str() > changed.json["created_at"].as_str());

    let now = a.with_header("If-Match", changed.header("etag"));
    old.patch(&path, json!({"name": "x"}))
        .await
        .problem(412, "precondition-failed");
    old.delete(&path).await.problem(412, "precondition-failed");
    a.with_header("If-Match", "W/\"2\"")
        .delete(&path)
        .await
        .problem(412, "precondition-failed");
    a.with_header("If-Match", "2")
        .delete(&path)
        .await
        .problem(400, "if-match-invalid");
    now.delete(&path).await.status(204);
    now.post(&restore, json!({}))
        .await
        .problem(412, "precondition-failed");
    a.with_header("If-Match", "*")
        .post(&restore, json!({}))
        .await
        .ok();
}

#[tokio::test]
async fn what_the_client_has_already_is_not_sent_again() {
    let t = app().await;
    let a = t.tenant("a").await;
    let created = a.post("/products", testkit::product("Soap", "S")).await.created();
    let (path, tag) = (
        created.header("location").to_owned(),
        created.header("etag").to_owned(),
    );
    for known in [
        tag.clone(),
        format!("W/{tag}"),
        format!("\"0\", {tag}"),
        "*".to_owned(),
    ] {
        let asks = a.with_header("If-None-Match", &known);
        for method in [Method::GET, Method::HEAD] {
            let answer = asks.send(method, &path, None).await.status(304);
            assert!(answer.body.is_empty(), "{known}");
            assert_eq!(answer.header("etag"), tag);
        }
    }
    a.patch(&path, json!({"name": "Jabón"})).await.ok();
    a.with_header("If-None-Match", &tag).get(&path).await.ok();
}

#[tokio::test]
async fn a_patch_keeps_what_it_does_not_name_and_clears_what_is_null() {
    let t = app().await;
    let a = t.tenant("a").await;
    let brand = a.post("/brands", json!({"name": "Acme"})).await.created().id();
    let optional = ["description", "bar_code", "brand_id"];
    let fields = json!({"description": "x", "bar_code": "77", "brand_id": brand, "unit_of_measure": "kg", "is_active": false});
    let path = format!("/products/{}", create_product(&a, "S", fields).await);

    let before = a.get(&path).await.ok().json;
    let after = a.patch(&path, json!({"name": "Jabón"})).await.ok().json;
    assert_eq!(after["name"], "Jabón");
    for (field, value) in before.as_object().expect("fields") {
        assert!(
            &after[field] == value || ["name", "updated_at"].contains(&field.as_str()),
            "{field} changed"
        );
    }
    for field in optional {
        assert_eq!(
            a.patch(&path, json!({field: null})).await.ok().json[field],
            Value::Null,
            "{field}"
        );
    }
    for field in [
        "name",
        "sku",
        "price_sale",
        "price_base",
        "unit_of_measure",
        "is_active",
    ] {
        let refused = a
            .patch(&path, json!({field: null}))
            .await
            .problem(422, "validation-failed");
        assert_eq!(blamed(&refused), format!("/{field}"));
    }
    assert_eq!(a.get(&path).await.ok().json["unit_of_measure"], "kg");
}

#[tokio::test]
async fn faults_of_the_body_are_told_by_pointer() {
    let t = app().await;
    let a = t.tenant("a").await;
    let path = format!("/products/{}", create_product(&a, "S", json!({})).await);
    let faults = [
        ("/colour", json!({"colour": "red"})),
        ("/id", json!({"id": "0190a6c4-0000-7000-8000-000000000000"})),
        ("/deleted_at", json!({"deleted_at": null})),
        ("/name", json!({"name": ""})),
        ("/name", json!({"name": "n".repeat(101)})),
        ("/name", json!({"name": "\u{0}"})),
        ("/sku", json!({"sku": " "})),
        ("/sku", json!({"sku": "s".repeat(51)})),
        ("/description", json!({"description": "d".repeat(256)})),
        ("/bar_code", json!({"bar_code": "770 1"})),
        ("/unit_of_measure", json!({"unit_of_measure": "barrel"})),
        ("/is_active", json!({"is_active": "yes"})),
        ("/brand_id", json!({"brand_id": "acme"})),
    ];
    for (pointer, fields) in faults {
        for answer in [
            a.post("/products", product_with("T", fields.clone())).await,
            a.patch(&path, fields.clone()).await,
        ] {
            assert_eq!(
                blamed(&answer.problem(422, "validation-failed")),
                pointer,
                "{fields}"
            );
        }
    }
    a.post("/products", json!({"sku": "T"}))
        .await
        .problem(422, "validation-failed");
    assert_eq!(a.get("/products").await.ok().items("sku"), ["S"]);
}

#[tokio::test]
async fn text_is_counted_in_characters() {
    let t = app().await;
    let a = t.tenant("a").await;
    let fields = json!({"name": "ñ".repeat(100), "description": "😀".repeat(255)});
    create_product(&a, &"Á".repeat(50), fields).await;
}

#[tokio::test]
async fn money_is_an_exact_decimal_string() {
    let t = app().await;
    let a = t.tenant("a").await;
    let path = format!("/products/{}", create_product(&a, "S", json!({})).await);
    // The binary fractions nearest to several of these are other amounts.
    let exact = [
        ("0.10", "0.10"),
        ("0.1", "0.10"),
        ("0.29", "0.29"),
        ("1.15", "1.15"),
        ("4.35", "4.35"),
        ("12500", "12500.00"),
        ("007", "7.00"),
        ("8192000000000.07", "8192000000000.07"),
        ("9999999999999.99", "9999999999999.99"),
    ];
    for (sent, answered) in exact {
        let changed = a
            .patch(&path, json!({"price_sale": sent, "price_base": sent}))
            .await
            .ok()
            .json;
        assert_eq!(
            (&changed["price_sale"], &changed["price_base"]),
            (&json!(answered), &json!(answered))
        );
        assert_eq!(a.get(&path).await.ok().json["price_sale"], answered);
    }
    let listed = a
        .get("/products?min_price=9999999999999.99&max_price=9999999999999.99")
        .await
        .ok();
    assert_eq!(listed.items("price_sale"), ["9999999999999.99"]);
    assert!(
        a.get("/products?max_price=9999999999999.98")
            .await
            .ok()
            .items("id")
            .is_empty()
    );
}

#[tokio::test]
async fn what_is_not_an_exact_amount_is_refused() {
    let t = app().await;
    let a = t.tenant("a").await;
    let path = format!("/products/{}", create_product(&a, "S", json!({})).await);
    let texts = [
        "-1",
        "-0.01",
        "1.005",
        "1e3",
        "1E3",
        "NaN",
        "Infinity",
        "10000000000000",
        "",
        " 1",
        "1,5",
        "+1",
        ".5",
        "5.",
        "0x10",
        "١",
    ];
    let others = [
        json!(0.1),
        json!(5),
        json!(-1),
        json!(true),
        json!(["1"]),
        json!({"amount": "1"}),
    ];
    for bad in texts.map(|text| json!(text)).into_iter().chain(others) {
        let answers: [Answer; 2] = [
            a.post("/products", product_with("T", json!({"price_sale": bad})))
                .await,
            a.patch(&path, json!({"price_sale": bad})).await,
        ];
        for answer in answers {
            assert_eq!(
                blamed(&answer.problem(422, "validation-failed")),
                "/price_sale",
                "{bad}"
            );
        }
    }
    assert_eq!(a.get(&path).await.ok().json["price_sale"], "1500.00");
}

#[tokio::test]
async fn a_product_refers_to_brands_and_categories_of_its_company_only() {
    let t = app().await;
    let (a, b) = (t.tenant("a").await, t.tenant("b").await);
    let path = format!("/products/{}", create_product(&a, "S", json!({})).await);
    for (list, field, code) in [
        ("/brands", "brand_id", "brand-not-found"),
        ("/categories", "category_id", "category-not-found"),
    ] {
        let foreign = b.post(list, json!({"name": "Acme"})).await.created().id();
        let nobodys = "0190a6c4-0000-7000-8000-000000000000".to_owned();
        for id in [foreign, nobodys] {
            let created = a
                .post("/products", product_with("T", json!({field: id})))
                .await
                .problem(422, code);
            assert_eq!(blamed(&created), format!("/{field}"));
            let changed = a.patch(&path, json!({field: id})).await.problem(422, code);
            assert_eq!(blamed(&changed), format!("/{field}"));
        }
        let own = a.post(list, json!({"name": "Acme"})).await.created().id();
        assert_eq!(a.patch(&path, json!({field: own})).await.ok().json[field], own);
    }
    assert_eq!(a.get("/products").await.ok().items("sku"), ["S"]);
}
