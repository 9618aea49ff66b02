//! The trail as a company reads it: filters, pages, who may.

use serde_json::{Value, json};

use super::create_brand;
use crate::app;

async fn entities(client: &testkit::Client, query: &str) -> Vec<String> {
    let page = client.get(&format!("/audit?limit=100&{query}")).await.ok();
    let items = page.json["items"].as_array().expect("items");
    items
        .iter()
        .map(|entry| {
            let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
            format!("{} {}", text(&entry["action"]), text(&entry["entity"]))
        })
        .collect()
}

#[tokio::test]
async fn filters_tell_who_what_and_when() {
    let t = app().await;
    let a = t.tenant("ana").await;
    let admin = t.member(&a, "admin").await;
    let id = create_brand(&a, "Café").await;
    admin
        .patch(&format!("/brands/{id}"), json!({"name": "Té"}))
        .await
        .ok();
    a.post("/categories", json!({"name": "Bebidas"})).await.created();

    let own = format!("actor_id={}", a.user_id);
    assert_eq!(entities(&a, &own).await, ["create categories", "create brands"]);
    assert_eq!(
        entities(&a, &format!("actor_id={}", admin.user_id)).await,
        ["update brands"]
    );
    assert_eq!(
        entities(&a, "entity=brands").await,
        ["update brands", "create brands"]
    );
    assert_eq!(
        entities(&a, "entity=brands&action=create").await,
        ["create brands"]
    );
    assert_eq!(
        entities(&a, &format!("entity_id={id}&action=update")).await,
        ["update brands"]
    );
    assert_eq!(
        entities(&a, "actor_kind=database&entity=companies").await,
        ["create companies"]
    );
    assert_eq!(entities(&a, "entity=nothing").await, [""; 0]);

    let page = a.get("/audit?entity=brands").await.ok();
    let updated = page.json["items"][0]["occurred_at"]
        .as_str()
        .expect("time")
        .to_owned();
    assert_eq!(
        entities(&a, &format!("entity=brands&from={updated}")).await,
        ["update brands"]
    );
    assert_eq!(
        entities(&a, &format!("entity=brands&to={updated}")).await,
        ["create brands"]
    );
    a.get("/audit?from=yesterday").await.problem(400, "query-invalid");
    a.get("/audit?action=drop").await.problem(400, "query-invalid");
    a.get("/audit?format=csv").await.problem(400, "query-invalid");
}

#[tokio::test]
async fn pages_tell_everything_once() {
    let t = app().await;
    let a = t.tenant("a").await;
    for n in 0..25 {
        create_brand(&a, &format!("Brand {n}")).await;
    }
    let mut seen: Vec<String> = Vec::new();
    let mut path = "/audit?limit=4&include_total=true&entity=brands".to_owned();
    loop {
        let page = a.get(&path).await.ok();
        assert_eq!(page.json["total"], 25);
        let items = page.json["items"].as_array().expect("items");
        seen.extend(
            items
                .iter()
                .map(|entry| entry["after"]["name"].as_str().expect("name").to_owned()),
        );
        let Some(cursor) = page.json["next_cursor"].as_str() else {
            break;
        };
        path = format!("/audit?limit=4&include_total=true&entity=brands&cursor={cursor}");
        // What is written meanwhile is newer than any page.
        if seen.len() == 4 {
            a.post("/categories", json!({"name": "Bebidas"})).await.created();
        }
    }
    let expected: Vec<String> = (0..25).rev().map(|n| format!("Brand {n}")).collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn owners_admins_and_accountants_read_it() {
    let t = app().await;
    let a = t.tenant("a").await;
    for role in ["owner", "admin", "accountant"] {
        t.member(&a, role).await.get("/audit").await.ok();
    }
    for role in ["supervisor", "seller", "cashier", "viewer"] {
        let member = t.member(&a, role).await;
        member.get("/audit").await.problem(403, "permission-missing");
        member
            .get("/audit/export")
            .await
            .problem(403, "permission-missing");
    }
}

#[tokio::test]
async fn nothing_of_another_company_is_told() {
    let t = app().await;
    let (a, b) = (t.tenant("ana").await, t.tenant("beto").await);
    let id = create_brand(&a, "Secreto").await;
    for path in [
        "/audit".to_owned(),
        format!("/audit?entity_id={id}"),
        format!("/audit?actor_id={}", a.user_id),
        "/audit/export".to_owned(),
        format!("/audit/export?format=csv&entity_id={id}"),
    ] {
        let answer = b.get(&path).await.ok();
        for secret in [
            "Secreto",
            "ana Test",
            &id,
            &a.user_id.to_string(),
            &a.company().to_string(),
        ] {
            assert!(!answer.text().contains(secret), "{path}: {}", answer.text());
        }
    }
}
