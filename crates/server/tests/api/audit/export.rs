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
        .map(|line| {
            let mut line: Value = serde_json::from_str(line).expect("JSON");
            line.as_object_mut()
                .expect("an object")
                .remove("link")
                .expect("a link, or null");
            line
        })
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
        "id,occurred_at,actor_kind,actor_id,actor_name,address,request_id,action,entity,entity_id,before,after,seq,hash,xact,backdated,recorded_name"
    );
    assert!(row.contains(",'=cmd|'/C calc'!A1 Test,"), "{row}");
    assert!(row.contains("\"\"name\"\": \"\"a,\\\"\"b\\\"\"\\nc\"\""), "{row}");
    a.post("/brands", json!({"name": "later"})).await.created();
}

/// What the file alone tells, in the words of `ally360 audit verify --export`.
fn found(export: &str, heads: &[audit::Head]) -> String {
    let (_, report) = audit::verify_export(export.as_bytes(), heads).expect("an export");
    let faults: Vec<String> = report.faults.iter().map(ToString::to_string).collect();
    format!("{} {} {}", report.links, report.waiting, faults.join("; "))
}

#[tokio::test]
async fn an_export_is_verified_from_the_file_alone() {
    let t = app().await;
    let (a, b) = (t.tenant("ana").await, t.tenant("b").await);
    for n in 0..5 {
        create_brand(&a, &format!("Café \"{n}\"")).await;
        create_brand(&b, &format!("Other {n}")).await;
    }
    super::chain(&t, a.company()).await;
    let heads = audit::heads(&t.app, Some(a.company())).await.expect("heads");
    create_brand(&a, "waits").await;
    let export = a.get("/audit/export").await.ok().text();
    let chained = export.lines().count() - 1;
    assert_eq!(found(&export, &heads), format!("{chained} 1 "));

    let lines: Vec<&str> = export.lines().collect();
    let first: Value = serde_json::from_str(lines[0]).expect("JSON");
    assert_eq!(
        (&first["link"]["seq"], &first["link"]["tenant_id"]),
        (&json!(1), &json!(a.company()))
    );
    let changed = export.replacen("Café", "Cafe", 1);
    assert!(
        found(&changed, &[]).contains("or its link was changed"),
        "{changed}"
    );
    let removed = [&lines[..3], &lines[4..]].concat().join("\n");
    assert_eq!(
        found(&removed, &[]),
        format!("{} 1 link 4: removed, up to link 4", chained - 1)
    );
    let renumbered = export.replacen("\"seq\":2,", "\"seq\":3,", 1);
    assert!(
        found(&renumbered, &[]).contains("link 2: removed"),
        "{}",
        found(&renumbered, &[])
    );
    // Another actor, another time, another address.
    let other = first["id"].as_str().expect("an id").to_owned();
    for (from, to) in [
        ("\"backdated\":false", "\"backdated\":true"),
        ("\"action\":\"create\"", "\"action\":\"update\""),
        (other.as_str(), "00000000-0000-0000-0000-000000000001"),
    ] {
        let changed = export.replacen(from, to, 1);
        assert_ne!(changed, export, "{from}");
        assert!(
            found(&changed, &[]).contains("link 1: "),
            "{from}: {}",
            found(&changed, &[])
        );
    }
    let mut false_head = heads.clone();
    false_head[0].hash = "00".repeat(32);
    assert!(found(&export, &false_head).contains("whose head was exported"));
}
