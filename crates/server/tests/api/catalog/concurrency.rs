//! What happens when several clients do it at once.

use futures::future::join_all;
use serde_json::json;

use super::{create_product, product_with};
use crate::app;

/// A brand or category is deleted while a product takes it up: one of the two is refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_product_never_refers_to_what_was_deleted_meanwhile() {
    let t = app().await;
    let a = t.tenant("a").await;
    let product = format!("/products/{}", create_product(&a, "S", json!({})).await);
    for round in 0..50 {
        let (list, field) = if round % 2 == 0 {
            ("/brands", "brand_id")
        } else {
            ("/categories", "category_id")
        };
        let id = a
            .post(list, json!({"name": format!("Name {round}")}))
            .await
            .created()
            .id();
        let path = format!("{list}/{id}");
        let taking_up = async {
            if round % 3 == 0 {
                a.patch(&product, json!({field: id})).await
            } else {
                a.post(
                    "/products",
                    product_with(&format!("S-{round}"), json!({field: id})),
                )
                .await
            }
        };
        // Either may be first.
        let (deleted, taken_up) = if round % 4 < 2 {
            tokio::join!(a.delete(&path), taking_up)
        } else {
            let (taken_up, deleted) = tokio::join!(taking_up, a.delete(&path));
            (deleted, taken_up)
        };
        let outcome = (deleted.summary(), taken_up.status.as_u16());
        match (outcome.0.as_str(), outcome.1) {
            ("204", 422) => a.get(&path).await.status(404),
            ("409 brand-in-use" | "409 category-in-use", 200 | 201) => a.get(&path).await.ok(),
            _ => panic!("round {round}: {outcome:?}, {}", taken_up.text()),
        };
    }
    let missing: i64 = sqlx::query_scalar(
        "select count(*) from ally.products as p
           left join ally.brands as b on (b.tenant_id, b.id) = (p.tenant_id, p.brand_id)
           left join ally.categories as c on (c.tenant_id, c.id) = (p.tenant_id, p.category_id)
          where (p.brand_id is not null and b.id is null) or (p.category_id is not null and c.id is null)",
    )
    .fetch_one(&mut t.superuser().await)
    .await
    .expect("count");
    assert_eq!(missing, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_changes_based_on_one_version_exactly_one_succeeds() {
    let t = app().await;
    let a = t.tenant("a").await;
    let created = a.post("/products", testkit::product("Soap", "S")).await.created();
    let path = created.header("location");
    let read = a.with_header("If-Match", created.header("etag"));
    let changes = (0..20).map(|i| read.patch(path, json!({"name": format!("Soap {i}")})));
    let answers = join_all(changes.collect::<Vec<_>>()).await;

    let (changed, refused): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|answer| answer.status.is_success());
    assert_eq!((changed.len(), refused.len()), (1, 19));
    for answer in refused {
        answer.problem(412, "precondition-failed");
    }
    assert_eq!(a.get(path).await.ok().json, changed[0].json);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_products_with_one_sku_exactly_one_is_created() {
    let t = app().await;
    let a = t.tenant("a").await;
    let creations = (0..50).map(|i| {
        let sku = if i % 2 == 0 { "SOAP" } else { "soap" };
        a.post("/products", testkit::product(&format!("Soap {i}"), sku))
    });
    let answers = join_all(creations.collect::<Vec<_>>()).await;

    let (created, refused): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|answer| answer.status.is_success());
    assert_eq!((created.len(), refused.len()), (1, 49));
    for answer in refused {
        answer.problem(409, "product-sku-taken");
    }
    assert_eq!(a.get("/products?include_total=true").await.ok().json["total"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_deleted_or_restored_many_times_at_once_is_so_once() {
    let t = app().await;
    let a = t.tenant("a").await;
    let path = format!("/products/{}", create_product(&a, "S", json!({})).await);
    let restore = format!("{path}/restore");
    let count = |answers: &[testkit::Answer], summary: &str| {
        answers.iter().filter(|a| a.summary() == summary).count()
    };

    let deleted = join_all((0..10).map(|_| a.delete(&path))).await;
    assert_eq!((count(&deleted, "204"), count(&deleted, "404 not-found")), (1, 9));
    let restored = join_all((0..10).map(|_| a.post(&restore, json!({})))).await;
    assert_eq!(
        (
            count(&restored, "200"),
            count(&restored, "409 product-not-deleted")
        ),
        (1, 9)
    );
}
