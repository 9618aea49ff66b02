//! `ally360 audit`: the operator's check of the trail.

use serde_json::{Value, json};
use sqlx::PgConnection;

use crate::support::{COMPANY, Client, Home};

async fn run(conn: &mut PgConnection, sql: &'static str) {
    sqlx::raw_sql(sql).execute(conn).await.expect(sql);
}

#[tokio::test]
async fn a_changed_and_a_removed_row_are_found_and_named() {
    let home = Home::seeded();
    let server = home.program(["serve"]).start();
    let owner = Client::owner(&server.url()).await;
    let brand = owner
        .post("/brands", &json!({"name": "Café del Huila"}))
        .await
        .expect(201);
    let id = brand.json()["id"].as_str().expect("id").to_owned();
    let told = owner
        .get(&format!("/audit?entity_id={id}"))
        .await
        .expect(200)
        .json();
    assert_eq!(told["items"][0]["address"], "127.0.0.1");
    assert_eq!(told["items"][0]["actor"]["kind"], "user");
    // The worker chains within a minute of the start of a slot; here it is waited for.
    let mut conn = home.connect().await;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(100);
    let chained = "select count(*) from ally.audit_links where entry_id in (select id from ally.audit_entries where entity_id = $1)";
    while sqlx::query_scalar::<_, i64>(chained)
        .bind(&id)
        .fetch_one(&mut conn)
        .await
        .expect("links")
        == 0
    {
        assert!(std::time::Instant::now() < deadline, "nothing was chained");
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    server.stop().success();

    let whole = home.program(["audit", "verify"]).run().success().stdout;
    assert!(whole.contains(&format!("{COMPANY} whole: ")), "{whole}");
    let heads = home.program(["audit", "head"]).run().success().stdout;
    let head: Value = serde_json::from_str(heads.lines().next().expect("a line")).expect("JSON");
    assert_eq!(head["hash"].as_str().expect("hash").len(), 64);
    home.write("heads", &heads);
    home.program(["audit", "verify", "--heads", "heads"])
        .run()
        .success();

    let server = home.program(["serve"]).start();
    let mut conn = home.connect().await;
    run(
        &mut conn,
        "update ally.audit_entries set after = '{}' where (id, tenant_id) in
           (select entry_id, company_id from ally.audit_links where seq = 7 and company_id::text like '%0000');
         delete from ally.audit_entries where (id, tenant_id) in
           (select entry_id, company_id from ally.audit_links where seq = 5 and company_id::text like '%0000')",
    )
    .await;
    server.stop().success();
    let ended = home.program(["audit", "verify", "--company", COMPANY]).run();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert!(
        lines[0].starts_with(&format!("{COMPANY} NOT WHOLE: ")),
        "{lines:?}"
    );
    assert!(
        lines[1].contains("link 5: entry") && lines[1].ends_with("was removed"),
        "{lines:?}"
    );
    assert!(
        lines[2].contains("link 7: entry") && lines[2].ends_with("was changed"),
        "{lines:?}"
    );
    assert_eq!(lines.len(), 3, "{lines:?}");
}
