//! Every change is recorded, in its transaction, with who made it.

use std::time::Duration;

use kernel::actor::{Actor, Origin};
use kernel::job::background_tx;
use serde_json::{Value, json};
use sqlx::ConnectOptions;

use super::{chain, create_brand, execute, trail_of};
use crate::app;

#[tokio::test]
async fn a_change_is_recorded_with_who_what_and_when() {
    let t = app().await;
    let a = t.tenant("ana").await;
    let asking = a.with_header("X-Request-ID", "request-of-the-test");
    let id = create_brand(&asking, "Café").await;
    let path = format!("/brands/{id}");
    asking
        .patch(&path, json!({"name": "Té", "description": "Infusiones"}))
        .await
        .ok();
    asking.delete(&path).await.status(204);

    let trail = trail_of(&a, &id).await;
    let told: Vec<(&str, &Value, &Value)> = trail
        .iter()
        .rev()
        .map(|entry| {
            (
                entry["action"].as_str().expect("action"),
                &entry["before"],
                &entry["after"],
            )
        })
        .collect();
    let created = &trail[2]["after"];
    assert_eq!(created["name"], "Café");
    assert_eq!(created["id"], id);
    let (before, after) = (
        json!({"name": "Café", "description": null}),
        json!({"name": "Té", "description": "Infusiones"}),
    );
    assert_eq!(told[0], ("create", &Value::Null, created));
    assert_eq!(told[1], ("update", &before, &after));
    assert_eq!((told[2].0, told[2].2), ("delete", &Value::Null));
    assert_eq!(told[2].1["name"], "Té");
    for entry in &trail {
        let actor = json!({"kind": "user", "id": a.user_id, "name": "ana Test"});
        assert_eq!(entry["actor"], actor);
        assert_eq!(
            (&entry["entity"], &entry["entity_id"]),
            (&json!("brands"), &json!(id))
        );
        assert_eq!(entry["request_id"], "request-of-the-test");
    }
}

#[tokio::test]
async fn what_did_not_happen_is_not_recorded() {
    let t = app().await;
    let a = t.tenant("a").await;
    let id = create_brand(&a, "Café").await;
    let before = a.get("/audit?include_total=true").await.ok().json["total"].clone();
    a.post("/brands", json!({"name": "café"}))
        .await
        .problem(409, "brand-name-taken");
    a.post("/brands", json!({"name": ""})).await.status(422);
    // Writes the row anew and changes nothing in it.
    a.patch(&format!("/brands/{id}"), json!({"name": "Café"}))
        .await
        .ok();
    a.get("/brands").await.ok();
    let after = a.get("/audit?include_total=true").await.ok().json["total"].clone();
    assert_eq!(before, after);
}

#[tokio::test]
async fn a_job_is_recorded_with_its_name_and_who_caused_it() {
    let t = app().await;
    let a = t.tenant("a").await;
    let origin = Origin {
        actor: Actor::Job {
            name: "files.process".to_owned(),
            user: Some(a.user_id),
        },
        address: Some([203, 0, 113, 7].into()),
        request_id: Some("first".to_owned()),
        trace: None,
    };
    let work = async {
        let mut tx = background_tx(&t.app, a.company()).await.expect("begin");
        sqlx::query("insert into brands (id, name) values ($1, 'Café')")
            .bind(uuid::Uuid::from_u128(1))
            .execute(&mut *tx)
            .await
            .expect("insert");
        tx.commit().await.expect("commit");
    };
    origin.during(work).await;
    let entry = &trail_of(&a, &uuid::Uuid::from_u128(1).to_string()).await[0];
    let actor = json!({"kind": "job", "id": a.user_id, "name": "files.process"});
    assert_eq!(entry["actor"], actor);
    assert_eq!(
        (&entry["request_id"], &entry["address"]),
        (&json!("first"), &json!("203.0.113.7"))
    );
}

/// A worker's runs tell their job.
#[tokio::test]
async fn what_a_worker_does_is_its_jobs() {
    let t = app().await;
    let a = t.tenant("a").await;
    let body = json!({"filename": "foto.png", "content_type": "image/png", "module": "products"});
    let upload = a.post("/files/upload/presign", body).await.created();
    let id = upload.json["file_id"].clone();
    let id = id.as_str().expect("file id").to_owned();
    t.pass(Duration::from_secs(3600)).await;
    t.run_jobs().await;
    let a = t.sign_in(&a.email).await.in_company(a.company());
    let trail = trail_of(&a, &id).await;
    let kinds: Vec<_> = trail
        .iter()
        .map(|entry| entry["actor"]["kind"].as_str())
        .collect();
    assert_eq!(kinds.last(), Some(&Some("user")), "{trail:?}");
    assert_eq!(kinds.first(), Some(&Some("job")), "{trail:?}");
    assert_eq!(trail[0]["actor"]["name"], "files.await_upload");
    assert_eq!(trail[0]["actor"]["id"], json!(a.user_id));
}

/// Whoever changes rows in the database himself leaves his login.
#[tokio::test]
async fn a_login_to_the_database_is_recorded_too() {
    let t = app().await;
    let a = t.tenant("a").await;
    let id = create_brand(&a, "Café").await;
    let mut conn = t.superuser().await;
    execute(&mut conn, "update ally.brands set name = 'Té'")
        .await
        .expect("update");
    let entry = &trail_of(&a, &id).await[0];
    assert_eq!(
        entry["actor"],
        json!({"kind": "database", "id": null, "name": "postgres"})
    );
    assert_eq!(entry["after"], json!({"name": "Té"}));
}

#[tokio::test]
async fn roles_and_companies_are_recorded_and_secrets_are_masked() {
    let t = app().await;
    let a = t.tenant("a").await;
    let seller = t.member(&a, "seller").await;
    let mut conn = t.superuser().await;
    execute(
        &mut conn,
        "update ally.memberships set role = 'admin' where role = 'seller';
         create table ally.secrets (tenant_id uuid not null references ally.companies, id uuid not null, api_secret text,
           token_hash bytea, label text, primary key (tenant_id, id));
         set search_path = ally, public;
         set role ally_owner;
         reset role;
         alter table secrets owner to ally_owner;
         set role ally_owner;
         select tenant_table('secrets');
         reset role",
    )
    .await
    .expect("a table with secrets");
    let role = &trail_of(&a, &seller.user_id.to_string()).await[0];
    assert_eq!(
        (&role["entity"], &role["before"], &role["after"]),
        (
            &json!("memberships"),
            &json!({"role": "seller"}),
            &json!({"role": "admin"})
        )
    );

    let company = a.company();
    for statement in [
        "insert into secrets values ('$T', '$T', 'open sesame', 'abc', 'first')",
        "update secrets set api_secret = 'close sesame', label = 'second'",
        "update secrets set token_hash = null",
        "delete from secrets",
    ] {
        execute(&mut conn, &statement.replace("$T", &company.to_string()))
            .await
            .expect(statement);
    }
    let trail = a.get("/audit?entity=secrets").await.ok();
    assert!(
        !trail.text().contains("sesame") && !trail.text().contains("616263"),
        "{}",
        trail.text()
    );
    let items = trail.json["items"].as_array().expect("items");
    assert_eq!(items.len(), 4);
    assert_eq!(
        items[2]["before"],
        json!({"api_secret": "[masked]", "label": "first"})
    );
    assert_eq!(
        items[2]["after"],
        json!({"api_secret": "[masked]", "label": "second"})
    );
    assert_eq!(items[1]["before"], json!({"token_hash": "[masked]"}));
    assert_eq!(items[1]["after"], json!({"token_hash": null}));
}

/// Append only: neither runtime role changes or removes anything, in the tables or in their partitions.
#[tokio::test]
async fn nobody_but_the_owner_changes_the_trail() {
    let t = app().await;
    let a = t.tenant("a").await;
    create_brand(&a, "Café").await;
    chain(&t, a.company()).await;
    let partitions: Vec<String> = sqlx::query_scalar(
        "select relname::text from pg_class where relnamespace = 'ally'::regnamespace and relispartition
            and (relname ^@ 'audit_' or relname ^@ 'security_') and relkind = 'r'",
    )
    .fetch_all(&mut t.superuser().await)
    .await
    .expect("partitions");
    assert!(partitions.len() >= 21, "{partitions:?}");
    let parents = ["audit_entries", "audit_links", "security_events"].map(str::to_owned);
    for role in ["ally_app", "ally_system"] {
        let options = t.database().options().clone().username(role);
        let mut conn = options.connect().await.expect(role);
        execute(&mut conn, &format!("set app.tenant_id = '{}'", a.company()))
            .await
            .expect("company");
        for table in parents.iter().chain(&partitions) {
            for statement in [
                format!("update {table} set actor_kind = 'user'"),
                format!("update {table} set seq = 1"),
                format!("update {table} set event = 'x'"),
                format!("delete from {table}"),
                format!("truncate {table}"),
                format!("drop table {table}"),
                format!("alter table {table} disable trigger all"),
            ] {
                let error = execute(&mut conn, &statement).await.expect_err(&statement);
                let code = error
                    .as_database_error()
                    .and_then(sqlx::error::DatabaseError::code)
                    .expect("code")
                    .into_owned();
                // Of the three updates two name no column of the table.
                assert!(code == "42501" || code == "42703", "{role}: {statement}: {error}");
            }
        }
        for (statement, owner) in [
            ("insert into audit_links select * from audit_links", "ally_app"),
            (
                "insert into security_events (event, actor_kind) values ('signed-in', 'user')",
                "ally_app",
            ),
            ("select * from security_events", "ally_app"),
            ("update audit_heads set seq = 1", "ally_app"),
            ("select * from audit_links", "ally_app"),
            ("select * from audit_heads", "ally_app"),
            ("delete from audit_heads", "ally_system"),
            ("delete from audit_progress", "ally_system"),
        ] {
            if role == owner {
                let error = execute(&mut conn, statement).await.expect_err(statement);
                let code = error
                    .as_database_error()
                    .and_then(sqlx::error::DatabaseError::code)
                    .map(std::borrow::Cow::into_owned);
                assert_eq!(code.as_deref(), Some("42501"), "{role}: {statement}");
            }
        }
    }
}
