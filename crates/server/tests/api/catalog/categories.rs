//! What is special to categories.

use serde_json::{Value, json};

use super::{blamed, create_product};
use crate::app;

#[tokio::test]
async fn a_name_is_unique_in_the_company_whatever_its_case() {
    let t = app().await;
    let (a, b) = (t.tenant("a").await, t.tenant("b").await);
    a.post("/categories", json!({"name": "Lácteos"})).await.created();
    let taken = a
        .post("/categories", json!({"name": "LÁCTEOS"}))
        .await
        .problem(409, "category-name-taken");
    assert_eq!(blamed(&taken), "/name");
    b.post("/categories", json!({"name": "lácteos"})).await.created();
    let other = a
        .post("/categories", json!({"name": "Lacteos"}))
        .await
        .created()
        .id();
    let path = format!("/categories/{other}");
    a.patch(&path, json!({"name": "lácteos"}))
        .await
        .problem(409, "category-name-taken");
    a.patch(&path, json!({"name": "LACTEOS"})).await.ok();
}

#[tokio::test]
async fn a_category_of_a_product_even_a_deleted_one_cannot_be_deleted() {
    let t = app().await;
    let a = t.tenant("a").await;
    let category = a
        .post("/categories", json!({"name": "Aseo"}))
        .await
        .created()
        .id();
    let path = format!("/categories/{category}");
    let product = format!(
        "/products/{}",
        create_product(&a, "S", json!({"category_id": category})).await
    );
    a.delete(&path).await.problem(409, "category-in-use");
    a.delete(&product).await.status(204);
    a.delete(&path).await.problem(409, "category-in-use");
    a.post(&format!("{product}/restore"), json!({})).await.ok();
    a.patch(&product, json!({"category_id": null})).await.ok();
    a.delete(&path).await.status(204);
}

#[tokio::test]
async fn a_patch_keeps_what_it_does_not_name_and_clears_what_is_null() {
    let t = app().await;
    let a = t.tenant("a").await;
    let created = a
        .post("/categories", json!({"name": "Aseo", "description": "x"}))
        .await
        .created();
    let path = created.header("location").to_owned();
    let renamed = a.patch(&path, json!({"name": "Hogar"})).await.ok().json;
    assert_eq!(
        (&renamed["name"], &renamed["description"]),
        (&json!("Hogar"), &json!("x"))
    );
    assert_eq!(
        a.patch(&path, json!({"description": null})).await.ok().json["description"],
        Value::Null
    );
    for (pointer, body) in [
        ("/name", json!({"name": null})),
        ("/name", json!({"name": " "})),
        ("/colour", json!({"colour": 1})),
    ] {
        assert_eq!(
            blamed(&a.patch(&path, body).await.problem(422, "validation-failed")),
            pointer
        );
    }
    a.with_header("If-Match", created.header("etag"))
        .delete(&path)
        .await
        .problem(412, "precondition-failed");
}
