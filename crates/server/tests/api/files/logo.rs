//! The logo of a company.

use serde_json::{Value, json};
use testkit::{Client, TestApp};

use super::support::{http, png, store, text};
use crate::app;

async fn picture(t: &TestApp, client: &Client) -> String {
    let new = json!({"filename": "logo.png", "content_type": "image/png", "module": "companies"});
    store(t, client, new, png(300, 200)).await
}

#[tokio::test]
async fn a_company_shows_its_logo() {
    let t = app().await;
    let a = t.tenant("a").await;
    let file = picture(&t, &a).await;
    let before = a.get("/company/me").await.ok();
    assert_eq!(before.json["logo"], Value::Null);
    let set = a.put("/company/me/logo", json!({"file_id": file})).await.ok();
    assert_ne!(set.header("etag"), before.header("etag"));
    let company = a.get("/company/me").await.ok();
    assert_eq!(
        (&company.json, company.header("etag")),
        (&set.json, set.header("etag"))
    );
    assert_eq!(company.json["logo"]["file_id"], json!(file));
    let url = company.json["logo"]["urls"]["thumb_160"].as_str().expect("a URL");
    assert_eq!(http().get(url).send().await.expect("an answer").status(), 200);
    let renamed = a.patch("/company/me", json!({"description": "x"})).await.ok();
    assert_eq!(renamed.json["logo"], company.json["logo"]);

    a.delete(&format!("/files/{file}"))
        .await
        .problem(409, "file-in-use");
    a.with_header("If-Match", before.header("etag"))
        .delete("/company/me/logo")
        .await
        .problem(412, "precondition-failed");
    a.delete("/company/me/logo").await.status(204);
    assert_eq!(a.get("/company/me").await.ok().json["logo"], Value::Null);
    a.delete(&format!("/files/{file}")).await.status(204);
}

#[tokio::test]
async fn only_a_picture_of_the_company_is_its_logo() {
    let t = app().await;
    let (a, b) = (t.tenant("a").await, t.tenant("b").await);
    let others = picture(&t, &b).await;
    let document = store(&t, &a, text("a.txt"), "hello").await;
    for (file, code) in [(others, "file-not-found"), (document, "file-not-a-picture")] {
        let refused = a.put("/company/me/logo", json!({"file_id": file})).await;
        assert_eq!(
            refused.problem(422, code).json["errors"][0]["pointer"],
            "/file_id"
        );
    }
    let seller = t.member(&a, "seller").await;
    let file = picture(&t, &a).await;
    seller
        .put("/company/me/logo", json!({"file_id": file}))
        .await
        .problem(403, "permission-missing");
}
