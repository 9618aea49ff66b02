//! What is special to @plain things@.

use serde_json::json;

use crate::app;

#[tokio::test]
async fn a_name_is_unique_in_the_company_whatever_its_case() {
    let t = app().await;
    let (a, b) = (t.tenant("a").await, t.tenant("b").await);
    a.post("/@things-path@", json!({"name": "Acme"})).await.created();
    a.post("/@things-path@", json!({"name": "ACME"})).await.problem(409, "@thing-code@-name-taken");
    b.post("/@things-path@", json!({"name": "Acme"})).await.created();
}

#[tokio::test]
async fn a_patch_keeps_what_it_does_not_name_and_clears_what_is_null() {
    let t = app().await;
    let a = t.tenant("a").await;
    let created = a.post("/@things-path@", json!({"name": "Acme", "description": "x"})).await.created();
    let path = created.header("location");
    let changed = a.patch(path, json!({"name": "Other"})).await.ok().json;
    assert_eq!((&changed["name"], &changed["description"]), (&json!("Other"), &json!("x")));
    assert!(a.patch(path, json!({"description": null})).await.ok().json["description"].is_null());
    a.patch(path, json!({"name": null})).await.problem(422, "validation-failed");
}
