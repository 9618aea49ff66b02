//! The control of the matrix: with a protection removed, the probes must find something. Each removal
//! happens in a database of its own.

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use testkit::TestApp;
use uuid::Uuid;

use super::foreign::leaks;
use super::witness::tenant_tables;
use super::world::{Tenant, World};

/// Rows of others that a role sees in the scope of a company, by table; empty when all is well.
///
/// `ally_owner` owns the tables: only forced row security holds it.
async fn visible_rows(app: &TestApp, company: Uuid) -> Vec<String> {
    let mut conn = app.superuser().await;
    let mut found = Vec::new();
    for table in tenant_tables_ever(&mut conn).await {
        for role in ["ally_app", "ally_owner"] {
            let mut tx = conn.begin().await.expect("begin");
            run(&mut tx, format!("set local role {role}; set local app.tenant_id = '{company}'")).await;
            let count = format!("select count(*) from ally.{table} where tenant_id <> '{company}'");
            #[expect(clippy::disallowed_methods, reason = "names of tables come from the catalogue")]
            let rows: i64 = sqlx::query_scalar(AssertSqlSafe(count)).fetch_one(&mut *tx).await.expect("count");
            if rows > 0 {
                found.push(format!("{role} sees {rows} rows of others in {table}"));
            }
        }
    }
    found
}

/// Tables with `tenant_id`, even those whose row security was taken away.
async fn tenant_tables_ever(conn: &mut PgConnection) -> Vec<String> {
    let tables = "select relname::text from pg_class join pg_attribute on attrelid = pg_class.oid and attname = 'tenant_id'
                   where relnamespace = 'ally'::regnamespace and relkind in ('r', 'p') order by 1";
    sqlx::query_scalar(tables).fetch_all(conn).await.expect("pg_class")
}

#[expect(clippy::disallowed_methods, reason = "names of tables come from the catalogue")]
async fn run(conn: &mut PgConnection, statements: String) {
    sqlx::raw_sql(AssertSqlSafe(statements.clone())).execute(conn).await.expect(&statements);
}

/// Everything the probes find after these statements.
async fn found_after(statements: String) -> Vec<String> {
    let world = World::new().await;
    let (a, b): (Tenant, Tenant) = (world.tenant().await, world.tenant().await);
    run(&mut world.app.superuser().await, statements).await;
    let mut found = visible_rows(&world.app, b.client.company()).await;
    found.extend(leaks(&world, &a, &b).await.faults);
    found
}

/// The tables of this version, with the names of their composite foreign keys.
async fn schema() -> (Vec<String>, Vec<(String, String)>) {
    let app = crate::app().await;
    let mut conn = app.superuser().await;
    let keys = "select conrelid::regclass::text, conname::text from pg_constraint
                 where contype = 'f' and cardinality(conkey) > 1 and connamespace = 'ally'::regnamespace order by 1, 2";
    let keys = sqlx::query_as(keys).fetch_all(&mut conn).await.expect("pg_constraint");
    (tenant_tables(&mut conn).await, keys)
}

#[tokio::test]
async fn nothing_is_found_where_nothing_is_removed() {
    let found = found_after(String::new()).await;
    assert_eq!(found, [""; 0]);
}

#[tokio::test]
async fn row_security_switched_off_is_found() {
    for table in schema().await.0 {
        let found = found_after(format!("alter table ally.{table} disable row level security")).await;
        assert!(!found.is_empty(), "row security of {table} is off, and no probe noticed");
    }
}

#[tokio::test]
async fn row_security_not_forced_is_found() {
    for table in schema().await.0 {
        let found = found_after(format!("alter table ally.{table} no force row level security")).await;
        assert!(!found.is_empty(), "row security of {table} is not forced, and no probe noticed");
    }
}

#[tokio::test]
async fn a_policy_that_shows_all_is_found() {
    for table in schema().await.0 {
        let statements = format!(
            "drop policy tenant_guard on ally.{table}; alter policy tenant_isolation on ally.{table} using (true) with check (true)"
        );
        let found = found_after(statements).await;
        assert!(!found.is_empty(), "the policies of {table} show all, and no probe noticed");
    }
}

#[tokio::test]
async fn a_missing_policy_is_found() {
    for table in schema().await.0 {
        let found = found_after(format!("drop policy tenant_isolation on ally.{table}")).await;
        // A company that sees nothing of its own: of memberships, no operation reads as ally_app.
        assert!(!found.is_empty() || table == "memberships", "the policy of {table} is gone, and no probe noticed");
    }
}

#[tokio::test]
async fn a_reference_without_the_company_is_found() {
    let keys = schema().await.1;
    assert!(!keys.is_empty());
    for (table, key) in keys {
        let found = found_after(format!("alter table {table} drop constraint {key}")).await;
        assert!(!found.is_empty(), "{key} is gone, and no probe noticed");
    }
}

#[tokio::test]
async fn a_search_of_all_companies_is_found() {
    let body = "select pg_get_functiondef('ally.search_products'::regproc)";
    let app = crate::app().await;
    let definition: String = sqlx::query_scalar(body).fetch_one(&mut app.superuser().await).await.expect("search_products");
    let widened = definition.replace("tenant_id = app_tenant()", "true");
    assert_ne!(definition, widened);
    // The ids of others are filtered by row security once more: what is found is nothing.
    assert_eq!(found_after(widened).await, [""; 0]);
}
