//! What is special to brands.

use serde_json::json;

use crate::app;

#[tokio::test]
async fn a_name_is_unique_in_the_company_whatever_its_case() {
    let t = app().await;
    let (a, b) = (t.tenant("a").await, t.tenant("b").await);
    a.post("/brands", json!({"name": "Acme"})).await.created();
    a.post("/brands", json!({"name": "ACME"}))
        .await
        .problem(409, "brand-name-taken");
    b.post("/brands", json!({"name": "Acme"})).await.created();
}

#[tokio::test]
async fn two_at_once_with_one_name_make_one_brand() {
    let t = app().await;
    let a = t.tenant("a").await;
    let (first, second) = tokio::join!(
        a.post("/brands", json!({"name": "Acme"})),
        a.post("/brands", json!({"name": "acme"}))
    );
    let mut summaries = [first.summary(), second.summary()];
    summaries.sort();
    assert_eq!(summaries, ["201", "409 brand-name-taken"]);
}

#[tokio::test]
async fn a_brand_in_use_cannot_be_deleted() {
    let t = app().await;
    let a = t.tenant("a").await;
    let brand = a.post("/brands", json!({"name": "Acme"})).await.created().id();
    let mut product = testkit::product("Soap", "SOAP-1");
    product["brand_id"] = brand.clone().into();
    a.post("/products", product).await.created();
    a.delete(&format!("/brands/{brand}"))
        .await
        .problem(409, "brand-in-use");
    a.get(&format!("/brands/{brand}")).await.ok();
}

#[tokio::test]
async fn a_change_based_on_an_old_version_is_refused() {
    let t = app().await;
    let a = t.tenant("a").await;
    let created = a
        .post("/brands", json!({"name": "Acme", "description": "x"}))
        .await
        .created();
    let path = created.header("location").to_owned();
    assert_eq!(a.get(&path).await.ok().header("etag"), created.header("etag"));

    let read = a.with_header("If-Match", created.header("etag"));
    let changed = read.patch(&path, json!({"description": null})).await.ok();
    assert_eq!(
        (changed.json["name"].as_str(), &changed.json["description"]),
        (Some("Acme"), &serde_json::Value::Null)
    );
    assert_ne!(changed.header("etag"), created.header("etag"));
    read.patch(&path, json!({"name": "Other"}))
        .await
        .problem(412, "precondition-failed");
    read.delete(&path).await.problem(412, "precondition-failed");
    a.patch(&path, json!({"name": null}))
        .await
        .problem(422, "validation-failed");
    a.with_header("If-Match", changed.header("etag"))
        .delete(&path)
        .await
        .status(204);
    a.get(&path).await.problem(404, "not-found");
}
