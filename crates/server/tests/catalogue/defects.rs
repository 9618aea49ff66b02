//! Every kind of fault is planted, each in a transaction of its own, and must be reported.

use server::doctor::{DEFINER_FUNCTIONS, catalogue_faults};
use sqlx::{Connection, PgConnection};

use crate::{database, execute};

/// Well made, and the base of some defects.
const NOTES: &str = "create table notes (tenant_id uuid not null references companies, id uuid not null, primary key (tenant_id, id));
    select tenant_table('notes');";
const PARTITIONED: &str = "create table notes (tenant_id uuid not null references companies, id uuid not null, primary key (tenant_id, id))
      partition by hash (tenant_id);
    select tenant_table('notes');
    create table notes_0 partition of notes for values with (modulus 1, remainder 0);
    alter table notes_0 enable row level security, force row level security;";

/// What is planted, as `ally_owner` unless it says `reset role`, and how the report must begin.
const DEFECTS: &[(&str, &str)] = &[
    // C1
    ("create table notes (id uuid primary key)", "C1 notes: neither a listed global table nor one with tenant_id"),
    ("create table notes (tenant_id text not null primary key)", "C1 notes: neither a listed global table nor one with tenant_id"),
    ("create table notes (tenant_id uuid primary key references companies)", "C1 notes: row security is off"),
    ("alter table brands disable row level security", "C1 brands: row security is off"),
    ("alter table brands no force row level security", "C1 brands: row security is not forced"),
    ("alter table brands alter tenant_id drop default", "C1 brands: the default of tenant_id"),
    ("drop policy tenant_isolation on brands", "C1 brands: the policy tenant_isolation"),
    ("alter policy tenant_isolation on brands to ally_system", "C1 brands: the policy tenant_isolation"),
    ("alter policy tenant_isolation on brands using (tenant_id = (select app_tenant()) or name = 'x')", "C1 brands: the policy tenant_isolation"),
    ("alter policy tenant_isolation on brands with check (true)", "C1 brands: the policy tenant_isolation"),
    ("drop policy tenant_guard on brands", "C1 brands: the restrictive policy tenant_guard"),
    ("alter policy tenant_guard on brands to ally_app", "C1 brands: the restrictive policy tenant_guard"),
    ("create policy everybody on brands using (true)", "C1 brands.everybody: a permissive policy"),
    ("create policy reading on brands for select to ally_app using (name <> '')", "C1 brands.reading: a permissive policy"),
    ("create policy system_access on brands to ally_system using (true)", "C1 brands.system_access: a permissive policy"),
    ("create policy search_access on brands for select to ally_search using (true)", "C1 brands.search_access: a permissive policy"),
    ("create policy more on products for update to ally_search using (true)", "C1 products.more: a permissive policy"),
    ("create table notes (tenant_id uuid not null references companies); select tenant_table('notes')", "C1 notes: no valid index"),
    (
        "create table notes (tenant_id uuid not null references companies); select tenant_table('notes');
         create index on notes (tenant_id) where tenant_id is null",
        "C1 notes: no valid index",
    ),
    ("alter table brands drop constraint brands_tenant_id_fkey", "C1 brands: tenant_id does not reference companies"),
    // C2
    (
        "create unique index brands_id on brands (id);
         alter table products add constraint products_brand_alone foreign key (brand_id) references brands (id)",
        "C2 products.products_brand_alone: ",
    ),
    (
        "create unique index brands_crossed on brands (id, tenant_id);
         alter table products add constraint products_crossed foreign key (tenant_id, brand_id) references brands (id, tenant_id)",
        "C2 products.products_crossed: ",
    ),
    // C3
    ("create unique index brands_everywhere on brands (name)", "C3 brands.brands_everywhere: "),
    ("create unique index brands_expression on brands (lower(name), tenant_id)", "C3 brands.brands_expression: "),
    ("alter table brands add constraint brands_excluded exclude using btree (name with =)", "C3 brands.brands_excluded: "),
    // C4
    ("create view all_brands as select * from brands", "C4 all_brands: view without security_invoker"),
    ("create view all_brands with (security_invoker = off) as select * from brands", "C4 all_brands: view without security_invoker"),
    (
        "create materialized view all_brands as select * from brands with no data; grant select on all_brands to ally_app",
        "C4 all_brands: has no row security and is granted to ally_app",
    ),
    (
        "create materialized view all_brands as select * from brands with no data; grant select (name) on all_brands to public",
        "C4 all_brands: has no row security and is granted to public",
    ),
    (
        "reset role; create foreign data wrapper files; create server elsewhere foreign data wrapper files;
         create foreign table far (tenant_id uuid) server elsewhere; grant select on far to ally_app",
        "C4 far: has no row security and is granted to ally_app",
    ),
    (
        "create function peek() returns bigint language sql security definer as 'select count(*) from ally.brands'",
        "C4 ally.peek(): SECURITY DEFINER, and not on the list",
    ),
    (
        "reset role; create function public.peek() returns bigint language sql security definer as 'select 1::bigint'",
        "C4 public.peek(): SECURITY DEFINER with the rights of postgres",
    ),
    ("reset role; alter function search_products owner to postgres", "C4 ally.search_products(text,boolean): SECURITY DEFINER with the rights of postgres"),
    ("reset role; alter function search_products reset search_path", "C4 ally.search_products(text,boolean): SECURITY DEFINER whose search_path"),
    (
        "reset role; alter function search_products set search_path = ally, public",
        "C4 ally.search_products(text,boolean): SECURITY DEFINER whose search_path",
    ),
    ("reset role; grant execute on function search_products to public", "C4 ally.search_products(text,boolean): SECURITY DEFINER that everybody"),
    (
        "create function mine() returns text language sql immutable as $$ select current_setting('app.tenant_id') $$",
        "C4 ally.mine(): IMMUTABLE",
    ),
    ("create function mine() returns uuid language sql immutable return app_tenant()", "C4 ally.mine(): IMMUTABLE"),
    (
        "create or replace function app_tenant() returns uuid language sql stable
         as $$ select current_setting('app.tenant_id', true)::uuid $$",
        "C4 ally.app_tenant(): is not the function",
    ),
    // C5
    ("reset role; alter role ally_app bypassrls", "C5 ally_app: bypasses row security"),
    ("reset role; alter role ally_system superuser", "C5 ally_system: is a superuser"),
    ("reset role; alter role ally_app createrole", "C5 ally_app: may create roles"),
    ("reset role; alter role ally_app createdb", "C5 ally_app: may create databases"),
    ("reset role; alter role ally_app replication", "C5 ally_app: may replicate"),
    ("reset role; alter role ally_owner login", "C5 ally_owner: may log in"),
    ("reset role; alter role ally_search rename to somebody", "C5 ally_search: the role does not exist"),
    ("reset role; grant ally_owner to ally_app", "C5 ally_app: is a member of ally_owner"),
    ("reset role; grant pg_read_all_data to ally_system", "C5 ally_system: is a member of pg_read_all_data"),
    ("reset role; alter table brands owner to ally_app", "C5 ally_app: owns table ally.brands"),
    ("reset role; alter table brands owner to postgres", "C5 brands: belongs to postgres"),
    ("grant select on users to ally_app", "C5 users: ally_app may SELECT"),
    ("grant select (email) on users to ally_app", "C5 users: ally_app may SELECT"),
    ("grant select on brands to ally_system", "C5 brands: ally_system may SELECT"),
    ("grant select on products to ally_search", "C5 products: ally_search may SELECT"),
    ("grant update (name) on products to ally_search", "C5 products: ally_search may UPDATE"),
    ("grant select (name) on brands to ally_search", "C5 brands: ally_search may SELECT"),
    ("grant select on brands to public", "C5 brands: public may SELECT"),
    ("reset role; create table public.export (id uuid); grant select on public.export to ally_app", "C5 public.export: is granted to ally_app"),
    ("reset session authorization", "C5 postgres: is the login of the system pool"),
    // C6
    ("grant truncate on brands to ally_app", "C6 brands: ally_app may TRUNCATE"),
    ("grant references on users to ally_system", "C6 users: ally_system may REFERENCES"),
    ("grant trigger on brands to ally_app", "C6 brands: ally_app may TRIGGER"),
    ("grant update (tenant_id) on brands to ally_app", "C6 brands: ally_app may UPDATE tenant_id"),
    ("grant update on brands to ally_app", "C6 brands: ally_app may UPDATE every column"),
    ("grant create on schema ally to ally_app", "C6 ally_app: may create objects in the schema ally"),
    ("reset role; grant create on schema public to public", "C6 ally_system: may create objects in the schema public"),
    // C8
    ("drop trigger audit_row on brands", "C8 brands: its changes are not audited"),
    ("alter table brands disable trigger audit_row", "C8 brands: its changes are not audited"),
    ("alter table brands enable replica trigger audit_row", "C8 brands: its changes are not audited"),
    (
        "create or replace trigger audit_row after insert or update on brands for each row
           execute function audit_row('brands', '{id}', '{}', '{}')",
        "C8 brands: its changes are not audited",
    ),
    (
        "create or replace trigger audit_row after insert or update of name or delete on brands for each row
           execute function audit_row('brands', '{id}', '{}', '{}')",
        "C8 brands: its changes are not audited",
    ),
    (
        "create or replace trigger audit_row after insert or update or delete on brands for each row
           when (pg_trigger_depth() = 1) execute function audit_row('brands', '{id}', '{}', '{}')",
        "C8 brands: its changes are not audited",
    ),
    ("alter table brands add api_secret text", "C8 brands.api_secret: is a secret by its name"),
    ("drop trigger security_users on users", "C8 users: no trigger security_"),
    ("alter table sessions disable trigger user", "C8 sessions: no trigger security_"),
    ("reset role; do $$ begin execute format('grant temporary on database %I to public', current_database()); end $$", "C6 ally_app: may use TEMPORARY"),
];

/// Plants `sql` and asks as `ally_system`, as readiness does; nothing stays.
async fn faults_with(conn: &mut PgConnection, sql: &str) -> Vec<String> {
    let mut tx = conn.begin().await.expect("begin");
    execute(
        &mut tx,
        "set local search_path = ally, public; set local role ally_owner",
    )
    .await
    .expect("role");
    execute(&mut tx, sql)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
    if sql != "reset session authorization" {
        execute(&mut tx, "reset role; set local session authorization ally_system")
            .await
            .expect("ally_system");
    }
    let faults = catalogue_faults(&mut tx)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    tx.rollback().await.expect("rollback");
    faults
}

#[tokio::test]
async fn the_migrated_database_has_no_faults() {
    let db = database().await;
    let mut conn = crate::log_in(&db, "ally_system").await;
    assert_eq!(
        catalogue_faults(&mut conn).await.expect("catalogue"),
        [] as [&str; 0]
    );
    let setting: String = sqlx::query_scalar("show search_path")
        .fetch_one(&mut conn)
        .await
        .expect("search_path");
    assert_eq!(
        setting, "ally, public",
        "the connection goes back to its pool as it was"
    );
}

#[tokio::test]
async fn what_is_well_made_is_no_fault() {
    let db = database().await;
    let mut conn = db.superuser().await;
    let good_view = "create view my_brands with (security_invoker = true) as select * from brands; grant select on my_brands to ally_app";
    let secret = "alter table brands add api_secret text; select audited('brands')";
    let private = "create materialized view totals as select * from brands with no data";
    let global = "drop table schedule_slots; create table schedule_slots (slot timestamptz primary key) partition by range (slot);
        create table schedule_slots_0 partition of schedule_slots default";
    for sql in [NOTES, PARTITIONED, good_view, secret, private, global] {
        assert_eq!(faults_with(&mut conn, sql).await, [] as [&str; 0], "{sql}");
    }
}

#[tokio::test]
async fn every_planted_defect_is_reported() {
    let db = database().await;
    let mut conn = db.superuser().await;
    let partitions = [
        (
            format!("{PARTITIONED} grant select on notes_0 to ally_app"),
            "C6 notes_0: ally_app may SELECT the child directly",
        ),
        (
            format!("{PARTITIONED} alter table notes_0 disable row level security"),
            "C1 notes_0: row security is off",
        ),
        (
            format!("{NOTES} create table notes_1 () inherits (notes); grant select on notes_1 to ally_app"),
            "C6 notes_1: ally_app may SELECT the child directly",
        ),
    ];
    let defects = DEFECTS
        .iter()
        .map(|(sql, expected)| ((*sql).to_owned(), *expected))
        .chain(partitions);
    let mut unseen = Vec::new();
    for (sql, expected) in defects {
        let faults = faults_with(&mut conn, &sql).await;
        if !faults.iter().any(|fault| fault.starts_with(expected)) {
            unseen.push(format!("{sql}\n  expected {expected}\n  reported {faults:?}"));
        }
    }
    assert!(
        unseen.is_empty(),
        "{} defects were not reported:\n{}",
        unseen.len(),
        unseen.join("\n")
    );
}

#[tokio::test]
async fn every_audited_function_exists() {
    let db = database().await;
    let mut conn = db.superuser().await;
    for function in DEFINER_FUNCTIONS {
        let exists: bool = sqlx::query_scalar("select to_regprocedure($1) is not null")
            .bind(function.signature)
            .fetch_one(&mut conn)
            .await
            .expect("to_regprocedure");
        assert!(exists, "{} is on the list and nowhere else", function.signature);
    }
}
