//! The control of the matrix: with a protection removed, the probes must find something. Removals
//! happen in a database of their own, or in a transaction that is rolled back.

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use uuid::Uuid;

use super::foreign::leaks;
use super::witness::tenant_tables;
use super::world::World;

/// An open policy shows no operation more of it: images are read through their product, which is not found. What the
/// roles see of it is probed below.
const UNPROBED: &str = "product_images";

/// The product is named by the path and locked first: 404 before the key is asked.
const PARENT_IN_PATH: &str = "product_images_product";

/// What is wrong with the rows that a role sees in the scope of a company, by table: those of others,
/// or none at all. `ally_owner` owns the tables: only forced row security holds it, and no policy
/// shows it anything.
async fn visible_rows(conn: &mut PgConnection, company: Uuid) -> Vec<String> {
    let mut found = Vec::new();
    for table in tables_with_tenant(conn).await {
        for role in ["ally_app", "ally_owner"] {
            let mut tx = conn.begin().await.expect("begin");
            run(
                &mut tx,
                format!("set local role {role}; set local app.tenant_id = '{company}'"),
            )
            .await;
            let count = format!(
                "select count(*), count(*) filter (where tenant_id <> '{company}') from ally.{table}"
            );
            #[expect(
                clippy::disallowed_methods,
                reason = "names of tables come from the catalogue"
            )]
            let (rows, foreign): (i64, i64) = sqlx::query_as(AssertSqlSafe(count))
                .fetch_one(&mut *tx)
                .await
                .expect("count");
            if foreign > 0 {
                found.push(format!("{role} sees {foreign} rows of others in {table}"));
            }
            if rows == 0 && role == "ally_app" {
                found.push(format!("{role} sees none of the company's rows in {table}"));
            }
        }
    }
    found
}

/// Tables with `tenant_id`, even those whose row security was taken away.
async fn tables_with_tenant(conn: &mut PgConnection) -> Vec<String> {
    let tables = "select relname::text from pg_class join pg_attribute on attrelid = pg_class.oid and attname = 'tenant_id'
                   where relnamespace = 'ally'::regnamespace and relkind in ('r', 'p') and not relispartition order by 1";
    sqlx::query_scalar(tables)
        .fetch_all(conn)
        .await
        .expect("pg_class")
}

#[expect(
    clippy::disallowed_methods,
    reason = "names of tables come from the catalogue"
)]
async fn run(conn: &mut PgConnection, statements: String) {
    sqlx::raw_sql(AssertSqlSafe(statements.clone()))
        .execute(conn)
        .await
        .expect(&statements);
}

/// The first that the probes of the matrix find after these statements.
async fn leaks_after(statements: String) -> Vec<String> {
    let world = World::new().await;
    let (a, b) = (world.tenant().await, world.tenant().await);
    run(&mut world.app.superuser().await, statements).await;
    leaks(&world, &a, &b, 1).await.faults
}

/// The tables of this version, with the names of their composite foreign keys.
async fn schema() -> (Vec<String>, Vec<(String, String)>) {
    let app = crate::app().await;
    let mut conn = app.superuser().await;
    let keys = "select conrelid::regclass::text, conname::text from pg_constraint
                 where contype = 'f' and cardinality(conkey) > 1 and connamespace = 'ally'::regnamespace order by 1, 2";
    let keys = sqlx::query_as(keys)
        .fetch_all(&mut conn)
        .await
        .expect("pg_constraint");
    (tenant_tables(&mut conn).await, keys)
}

#[tokio::test]
async fn nothing_is_found_where_nothing_is_removed() {
    assert_eq!(leaks_after(String::new()).await, [""; 0]);
}

#[tokio::test]
async fn a_policy_that_shows_all_is_found() {
    // An idempotency key is found by its caller too: its own tests have one caller in two companies. The
    // last use is joined to a key that was seen. Who was told of malware no request reads.
    let apart = ["idempotency_keys", "api_key_uses", "malware_alarms", UNPROBED];
    let tables = schema().await.0;
    for table in tables.iter().filter(|table| !apart.contains(&table.as_str())) {
        let statements = format!(
            "drop policy tenant_guard on ally.{table}; alter policy tenant_isolation on ally.{table} using (true) with check (true)"
        );
        let found = leaks_after(statements).await;
        assert!(!found.is_empty(), "{table} is open, and no probe noticed");
    }
}

#[tokio::test]
async fn the_roles_see_what_is_taken_from_a_table() {
    let world = World::new().await;
    let company = world.tenant().await.client.company();
    world.tenant().await;
    let mut conn = world.app.superuser().await;
    assert_eq!(visible_rows(&mut conn, company).await, [""; 0]);
    for table in schema().await.0 {
        for change in [
            "alter table {} disable row level security",
            "alter table {} no force row level security",
            "alter policy tenant_isolation on {} using (true); drop policy tenant_guard on {}",
            "drop policy tenant_isolation on {}",
        ] {
            let mut tx = conn.begin().await.expect("begin");
            run(&mut tx, change.replace("{}", &format!("ally.{table}"))).await;
            let found = visible_rows(&mut tx, company).await;
            assert!(
                !found.is_empty() && found.iter().all(|fault| fault.ends_with(&table)),
                "{change} {table}: {found:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_reference_without_the_company_is_found() {
    let keys = schema().await.1;
    assert!(!keys.is_empty());
    // The last use of a key is written by the program, for a key that it has found; likewise who was told of malware.
    let apart = [
        "api_key_uses_key_not_found",
        "malware_alarms_membership",
        PARENT_IN_PATH,
    ];
    for (table, key) in keys.into_iter().filter(|(_, key)| !apart.contains(&key.as_str())) {
        let found = leaks_after(format!("alter table {table} drop constraint {key}")).await;
        assert!(!found.is_empty(), "{key} is gone, and no probe noticed");
    }
}

#[tokio::test]
async fn a_search_that_forgets_the_company_shows_nothing_more() {
    let app = crate::app().await;
    for name in ["search_products", "search_files"] {
        let definition: String = sqlx::query_scalar("select pg_get_functiondef(('ally.' || $1)::regproc)")
            .bind(name)
            .fetch_one(&mut app.superuser().await)
            .await
            .expect(name);
        let widened = definition.replace("tenant_id = app_tenant()", "true");
        assert_ne!(definition, widened);
        // It finds ids only; the rows are read under row security.
        assert_eq!(leaks_after(widened).await, [""; 0], "{name}");
    }
}
