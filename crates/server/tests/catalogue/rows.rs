//! Two companies with one row in every tenant table.

use std::collections::BTreeSet;

use server::doctor::GLOBAL_TABLES;
use sqlx::PgConnection;

use crate::execute;

pub const A: &str = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa";
pub const B: &str = "bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb";

/// Per tenant table, in the order of their references: a row of the company $T. Ids are the same in
/// both companies, so that only the company tells them apart.
const ROWS: &[(&str, &str)] = &[
    (
        "companies",
        "insert into companies (tenant_id, name, nit, nit_check_digit, phone_number)
         values ('$T', 'Café', '900123456', '8', '+573001234567')",
    ),
    (
        "memberships",
        "insert into users (id, email, password_hash, first_name, last_name) values ('$T', '$T@example.com', '', 'Ana', 'Paz');
         insert into memberships (tenant_id, user_id, role) values ('$T', '$T', 'owner')",
    ),
    (
        "invitations",
        "insert into invitations (tenant_id, id, email, role, invited_by, token_hash, expires_at)
         values ('$T', '00000000-0000-4000-8000-000000000001', 'luz@example.com', 'seller', '$T', sha256('$T'), now())",
    ),
    ("brands", "insert into brands (tenant_id, id, name) values ('$T', '00000000-0000-4000-8000-000000000001', 'Café')"),
    ("categories", "insert into categories (tenant_id, id, name) values ('$T', '00000000-0000-4000-8000-000000000001', 'Café')"),
    (
        "products",
        "insert into products (tenant_id, id, name, sku, brand_id)
         values ('$T', '00000000-0000-4000-8000-000000000001', 'Café', 'C-1', '00000000-0000-4000-8000-000000000001')",
    ),
    (
        "jobs",
        "insert into jobs (tenant_id, id, name, payload) values ('$T', '00000000-0000-4000-8000-000000000001', 'test', '{}')",
    ),
    (
        "job_runs",
        "insert into job_runs (tenant_id, job_id, attempt, queue, name, outcome, enqueued_at, started_at, finished_at)
         values ('$T', '00000000-0000-4000-8000-000000000001', 1, 'default', 'test', 'done', now(), now(), now())",
    ),
    (
        "files",
        "insert into files (tenant_id, id, module, filename, content_type, state, key, size, sha256, scanned_by, variants,
                            upload_key, upload_expires_at, reserved, uploaded_by)
         values ('$T', '00000000-0000-4000-8000-000000000001', 'test', 'a.png', 'image/png', 'ready', '$T/b', 1, sha256(''),
                 'test', '[{}]', '$T/a', now(), 0, '$T')",
    ),
    (
        "api_keys",
        "insert into api_keys (tenant_id, id, name, token_hash, prefix, permissions, created_by, expires_at)
         values ('$T', '00000000-0000-4000-8000-000000000001', 'Tienda', sha256('$T'), 'ak_live_', '{brands.read}', '$T', now())",
    ),
    (
        "api_key_uses",
        "insert into api_key_uses (tenant_id, key_id, last_used_at) values ('$T', '00000000-0000-4000-8000-000000000001', now())",
    ),
    (
        "idempotency_keys",
        "insert into idempotency_keys (tenant_id, caller_id, key_hash, fingerprint)
         values ('$T', '00000000-0000-4000-8000-000000000001', sha256('key'), sha256('request'))",
    ),
    (
        "product_images",
        "insert into product_images (tenant_id, id, product_id, file_id, position, is_primary)
         values ('$T', '00000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-000000000001',
                 '00000000-0000-4000-8000-000000000001', 1, true)",
    ),
    (
        "malware_alarms",
        "insert into malware_alarms (tenant_id, user_id, told_at) values ('$T', '$T', now())",
    ),
    ("storage_usage", "insert into storage_usage (tenant_id, quota_bytes) values ('$T', 1)"),
];

/// Comes after all others, for they leave entries of their own.
const TRAIL: (&str, &str) = (
    "audit_entries",
    "delete from audit_entries where tenant_id = '$T';
     insert into audit_entries (tenant_id, id, actor_kind, entity, entity_id, action)
     values ('$T', '00000000-0000-4000-8000-000000000001', 'system', 'brands', '1', 'create')",
);

/// What the catalogue tells of a tenant table.
#[derive(Debug, sqlx::FromRow)]
pub struct Table {
    pub name: String,
    /// Columns that an insert may name, comma separated.
    pub columns: String,
    /// Columns of the primary key, comma separated.
    pub key: String,
    /// A column that `ally_app` may update, if any.
    pub updatable: Option<String>,
    pub insertable: bool,
    pub deletable: bool,
}

/// Every table of the schema but the global ones and partitions.
pub async fn tables(conn: &mut PgConnection) -> Vec<Table> {
    let tables: Vec<Table> = sqlx::query_as(
        "select c.relname::text as name,
                string_agg(quote_ident(a.attname), ', ' order by a.attnum) filter (where a.attgenerated = '') as columns,
                string_agg(quote_ident(a.attname), ', ') filter (where a.attnum = any(p.conkey)) as key,
                min(quote_ident(a.attname)) filter (where has_column_privilege('ally_app', c.oid, a.attnum, 'update')) as updatable,
                has_table_privilege('ally_app', c.oid, 'insert') as insertable,
                has_table_privilege('ally_app', c.oid, 'delete') as deletable
           from pg_class as c join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
                left join pg_constraint as p on p.conrelid = c.oid and p.contype = 'p'
          where c.relnamespace = 'ally'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition and c.relname <> all($1)
          group by c.oid, c.relname",
    )
    .bind(GLOBAL_TABLES)
    .fetch_all(conn)
    .await
    .expect("catalogue");
    let there: BTreeSet<_> = tables.iter().map(|table| table.name.as_str()).collect();
    let known: BTreeSet<_> = ROWS.iter().chain([&TRAIL]).map(|(table, _)| *table).collect();
    assert_eq!(
        there,
        known,
        "give each tenant table a row in ROWS of {}",
        file!()
    );
    tables
}

/// Creates the rows of both companies.
pub async fn plant(conn: &mut PgConnection) {
    execute(conn, "set search_path = ally, public")
        .await
        .expect("search_path");
    for company in [A, B] {
        for (table, insert) in ROWS.iter().chain([&TRAIL]) {
            execute(conn, &insert.replace("$T", company))
                .await
                .unwrap_or_else(|error| panic!("row of {table}: {error}"));
        }
    }
}
