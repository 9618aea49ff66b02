//! What the role of request code can do to another company's rows: nothing, whatever the statement.
//! The statements are made for every tenant table of the catalogue.

use futures::TryStreamExt;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::rows::{A, B, Table, plant, tables};
use crate::{code, database, execute, log_in};

/// Statements that read the rows of A and leave them alone.
fn reads(table: &Table) -> Vec<String> {
    let name = &table.name;
    let mut reads = vec![
        format!("select * from {name} where tenant_id = '{A}'"),
        format!("select s.* from (select * from {name}) as s where s.tenant_id = '{A}'"),
        format!("with c as materialized (select * from {name}) select * from c where tenant_id = '{A}'"),
        format!(
            "select other.* from {name} as mine full join {name} as other on true where other.tenant_id = '{A}'"
        ),
        format!("select 1 where exists (select from {name} where tenant_id = '{A}')"),
        format!(
            "declare all_rows cursor for select * from {name} where tenant_id = '{A}'; fetch all from all_rows"
        ),
        format!(
            "prepare of_a as select * from {name} where tenant_id = '{A}'; execute of_a; deallocate of_a"
        ),
    ];
    if table.updatable.is_some() {
        reads.push(format!("select * from {name} where tenant_id = '{A}' for update"));
    }
    reads
}

/// Statements that would change the rows of A, and whether `ally_app` has the right to such a statement.
fn writes(table: &Table) -> Vec<(String, bool)> {
    let Table {
        name,
        updatable,
        deletable,
        ..
    } = table;
    let column = updatable.as_deref().unwrap_or("tenant_id");
    let set = format!("set {column} = t.{column}");
    let of_a = format!("using (select '{A}'::uuid as id) as a on t.tenant_id = a.id");
    vec![
        (
            format!("update {name} as t {set} where t.tenant_id = '{A}'"),
            updatable.is_some(),
        ),
        (
            format!("update {name} as t {set} where t.tenant_id = '{A}' returning *"),
            updatable.is_some(),
        ),
        (
            format!(
                "with c as (update {name} as t {set} where t.tenant_id = '{A}' returning *) select * from c"
            ),
            updatable.is_some(),
        ),
        (
            format!("merge into {name} as t {of_a} when matched then update {set}"),
            updatable.is_some(),
        ),
        (format!("delete from {name} where tenant_id = '{A}'"), *deletable),
        (
            format!("delete from {name} where tenant_id = '{A}' returning *"),
            *deletable,
        ),
        (
            format!("merge into {name} as t {of_a} when matched then delete"),
            *deletable,
        ),
    ]
}

/// Inserts of a row with A's `tenant_id`, copied from A's own or from B's.
fn inserts(table: &Table) -> Vec<String> {
    let Table {
        name,
        columns,
        key,
        updatable,
        ..
    } = table;
    let values = columns.split(", ").map(|c| {
        if c == "tenant_id" {
            format!("'{A}'::uuid as tenant_id")
        } else {
            c.to_owned()
        }
    });
    let row = format!("select {} from {name}", values.collect::<Vec<_>>().join(", "));
    let insert = format!("insert into {name} ({columns}) {row}");
    let mut inserts = vec![
        insert.clone(),
        format!("{insert} returning *"),
        format!("{insert} on conflict do nothing"),
        format!("with c as ({insert} returning *) select * from c"),
        format!(
            "merge into {name} using ({row}) as s on false when not matched then insert ({columns}) values (s.*)"
        ),
    ];
    if let Some(column) = updatable {
        inserts.push(format!(
            "{insert} on conflict ({key}) do update set {column} = excluded.{column}"
        ));
    }
    inserts
}

/// Runs the statements in a transaction of this company and undoes it.
async fn as_company(conn: &mut PgConnection, company: &str, sql: &str) -> Result<u64, String> {
    let mut tx = conn.begin().await.expect("begin");
    execute(&mut tx, &format!("set local app.tenant_id = '{company}'"))
        .await
        .expect("company");
    let outcome = execute(&mut tx, sql).await.map_err(|error| code(&error));
    tx.rollback().await.expect("rollback");
    outcome
}

/// All rows of a company in a table, as text.
async fn rows(superuser: &mut PgConnection, table: &str, company: &str) -> String {
    let sql = format!(
        "select coalesce(string_agg(t::text, '|' order by t::text), '') from ally.{table} as t where tenant_id = '{company}'"
    );
    scalar(superuser, &sql).await
}

#[expect(clippy::disallowed_methods, reason = "statements are made for every table")]
async fn scalar(conn: &mut PgConnection, sql: &str) -> String {
    sqlx::query_scalar(AssertSqlSafe(sql))
        .fetch_one(conn)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"))
}

#[tokio::test]
async fn no_statement_reaches_the_rows_of_another_company() {
    let db = database().await;
    let mut superuser = db.superuser().await;
    plant(&mut superuser).await;
    let mut app = log_in(&db, "ally_app").await;
    for table in tables(&mut superuser).await {
        let before = rows(&mut superuser, &table.name, A).await;
        assert!(before.contains(A), "{}: no row to look for", table.name);

        for read in reads(&table) {
            assert_eq!(
                as_company(&mut app, A, &read).await,
                Ok(1),
                "its own company: {read}"
            );
            assert_eq!(
                as_company(&mut app, B, &read).await,
                Ok(0),
                "another company: {read}"
            );
        }
        for (write, granted) in writes(&table) {
            let own = if granted { Ok(1) } else { Err("42501".to_owned()) };
            assert_eq!(
                as_company(&mut app, A, &write).await.or_else(referenced),
                own,
                "its own company: {write}"
            );
            let others = if granted { Ok(0) } else { Err("42501".to_owned()) };
            assert_eq!(
                as_company(&mut app, B, &write).await,
                others,
                "another company: {write}"
            );
        }
        for insert in inserts(&table) {
            // In its own company the row is there already.
            let own = as_company(&mut app, A, &insert).await;
            assert_eq!(
                own.is_ok() || own == Err("23505".to_owned()),
                table.insertable,
                "its own company: {insert}: {own:?}"
            );
            assert_eq!(
                as_company(&mut app, B, &insert).await,
                Err("42501".to_owned()),
                "another company: {insert}"
            );
        }
        assert_eq!(
            rows(&mut superuser, &table.name, A).await,
            before,
            "{} has changed",
            table.name
        );

        let copy = format!("copy (table {}) to stdout", table.name);
        assert!(
            copied(&mut app, A, &copy).await.contains(A),
            "its own company: {copy}"
        );
        assert!(
            !copied(&mut app, B, &copy).await.contains(A),
            "another company: {copy}"
        );
    }
}

/// A row that others refer to cannot be deleted by its own company either: it was found.
fn referenced(code: String) -> Result<u64, String> {
    if code == "23503" { Ok(1) } else { Err(code) }
}

async fn copied(conn: &mut PgConnection, company: &str, copy: &str) -> String {
    let mut tx = conn.begin().await.expect("begin");
    execute(&mut tx, &format!("set local app.tenant_id = '{company}'"))
        .await
        .expect("company");
    let stream = tx.copy_out_raw(copy).await.expect("copy");
    let bytes: Vec<_> = stream.try_collect().await.expect("copy");
    tx.rollback().await.expect("rollback");
    String::from_utf8(bytes.concat()).expect("UTF-8")
}

/// A plan that was cached for one company serves the next one with its own rows.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "statements are made for every table")]
async fn a_prepared_statement_sees_the_company_of_each_execution() {
    let db = database().await;
    let mut superuser = db.superuser().await;
    plant(&mut superuser).await;
    let mut app = log_in(&db, "ally_app").await;
    execute(&mut app, "set plan_cache_mode = force_generic_plan")
        .await
        .expect("setting");
    for table in tables(&mut superuser).await {
        let sql = format!("select tenant_id::text from {}", table.name);
        for company in [A, B, A] {
            let mut tx = app.begin().await.expect("begin");
            execute(&mut tx, &format!("set local app.tenant_id = '{company}'"))
                .await
                .expect("company");
            let seen: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql.as_str()))
                .fetch_all(&mut *tx)
                .await
                .expect("rows");
            assert_eq!(seen, [company], "{}", table.name);
            tx.rollback().await.expect("rollback");
        }
    }
}

/// Silence would hide the mistake: without a company every statement fails.
#[tokio::test]
async fn without_a_company_every_statement_fails() {
    let db = database().await;
    let mut superuser = db.superuser().await;
    plant(&mut superuser).await;
    for table in tables(&mut superuser).await {
        let mut app = log_in(&db, "ally_app").await;
        let granted: Vec<String> = reads(&table)
            .into_iter()
            .chain(
                writes(&table)
                    .into_iter()
                    .filter_map(|(sql, granted)| granted.then_some(sql)),
            )
            .collect();
        // Never set; then left behind empty by a transaction that had one.
        for expected in ["42704", "22P02"] {
            for sql in &granted {
                let error = execute(&mut app, sql).await.expect_err(sql);
                assert_eq!(code(&error), expected, "{sql}");
                execute(&mut app, "deallocate all").await.expect("deallocate");
            }
            for insert in inserts(&table) {
                let error = execute(&mut app, &insert).await.expect_err(&insert);
                let expected = if table.insertable { expected } else { "42501" };
                assert_eq!(code(&error), expected, "{insert}");
            }
            as_company(&mut app, B, "select 1")
                .await
                .expect("a transaction with a company");
        }
    }
}

#[tokio::test]
async fn the_application_role_cannot_lift_the_rules() {
    let db = database().await;
    let mut superuser = db.superuser().await;
    let mut app = log_in(&db, "ally_app").await;
    let mut statements: Vec<String> = [
        "set role ally_owner",
        "set role ally_system",
        "set role ally_search",
        "set session authorization ally_owner",
        "alter role ally_app bypassrls",
        "grant ally_owner to ally_app",
        "create table ally.mine (id integer)",
        "create table public.mine (id integer)",
        "create temp table mine (id integer)",
        "create schema mine",
        "create function ally.mine() returns integer language sql as 'select 1'",
        "create or replace function ally.app_tenant() returns uuid language sql as 'select null::uuid'",
        "select * from users",
        "select * from sessions",
        "select * from _sqlx_migrations",
        "copy (select 1) to program 'true'",
    ]
    .map(str::to_owned)
    .into();
    for Table { name, .. } in tables(&mut superuser).await {
        statements.extend([
            format!("truncate {name}"),
            format!("truncate {name} cascade"),
            format!("alter table {name} disable row level security"),
            format!("alter table {name} no force row level security"),
            format!("drop policy tenant_guard on {name}"),
            format!("create policy mine on {name} using (true)"),
            format!(
                "create trigger mine before update on {name} for each row execute function bump_version()"
            ),
            format!("set row_security = off; select * from {name}"),
            format!("update {name} set tenant_id = '{A}'"),
            format!("drop table {name}"),
        ]);
    }
    for sql in statements {
        let refused = as_company(&mut app, B, &sql).await;
        assert_eq!(refused, Err("42501".to_owned()), "{sql}");
    }
}
