//! The trail as a file.

use serde_json::{Value, json};

use super::{create_brand, execute};
use crate::app;

#[tokio::test]
async fn lines_of_json_are_those_of_the_list() {
    let t = app().await;
    let a = t.tenant("ana").await;
    for n in 0..5 {
        create_brand(&a, &format!("Brand {n}")).await;
    }
    let answer = a.get("/audit/export?entity=brands").await.ok();
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    assert_eq!(
        answer.header("content-disposition"),
        "attachment; filename=\"audit.ndjson\""
    );
    let lines: Vec<Value> = answer
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let mut list = a.get("/audit?entity=brands").await.ok().json["items"]
        .as_array()
        .expect("items")
        .clone();
    list.reverse();
    assert_eq!(lines, list);
    a.get("/audit/export?format=xml")
        .await
        .problem(400, "query-invalid");
    a.get("/audit/export?limit=1").await.problem(400, "query-invalid");
}

/// More than the pages that it is read by; numbers keep their digits.
#[tokio::test]
async fn a_long_trail_is_exported_whole_and_exact() {
    let t = app().await;
    let a = t.tenant("a").await;
    let mut conn = t.superuser().await;
    let sql = format!(
        "insert into ally.products (tenant_id, id, name, sku, price_sale)
         select '{}', gen_random_uuid(), 'Product ' || n, 'S-' || n, 1500.50 from generate_series(1, 1700) as n",
        a.company()
    );
    execute(&mut conn, &sql).await.expect("products");
    let text = a
        .get("/audit/export?entity=products")
        .await
        .ok()
        .text()
        .to_string();
    let mut names: Vec<&str> = text
        .split("\"sku\": \"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!((text.lines().count(), names.len()), (1700, 1700));
    assert_eq!(text.matches("\"price_sale\": 1500.50").count(), 1700);
    let csv = a.get("/audit/export?format=csv").await.ok();
    assert_eq!(csv.text().lines().count(), 1 + 2 + 1700);
}

#[tokio::test]
async fn cells_of_csv_are_no_formulas() {
    let t = app().await;
    let a = t.tenant("=cmd|'/C calc'!A1").await;
    create_brand(&a, "a,\"b\"\nc").await;
    let answer = a.get("/audit/export?format=csv&entity=brands").await.ok();
    assert_eq!(
        answer.header("content-type"),
        "text/csv; charset=utf-8; header=present"
    );
    let text = answer.text().to_string();
    let (header, row) = text.split_once("\r\n").expect("lines");
    assert_eq!(
        header,
        "id,occurred_at,actor_kind,actor_id,actor_name,address,request_id,action,entity,entity_id,before,after"
    );
    assert!(row.contains(",'=cmd|'/C calc'!A1 Test,"), "{row}");
    assert!(row.contains("\"\"name\"\": \"\"a,\\\"\"b\\\"\"\\nc\"\""), "{row}");
    a.post("/brands", json!({"name": "later"})).await.created();
}
