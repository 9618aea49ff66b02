//! What the catalogue tells of roles, tables, views and functions.

use kernel::error::Result;
use sqlx::{Connection, PgConnection};

/// Tables that belong to no company: only `ally_system` reaches them. Every other table is a tenant's.
pub const GLOBAL_TABLES: &[&str] = &[
    "users",
    "sessions",
    "refresh_tokens",
    "email_tokens",
    "maintenance_runs",
    "_sqlx_migrations",
];

/// Tenant tables that `ally_system` needs too: sign-in reads which companies a user belongs to.
pub const SHARED_TABLES: &[&str] = &["companies", "memberships"];

/// A function that runs with the rights of `ally_search` instead of the caller's.
#[derive(Debug)]
pub struct DefinerFunction {
    /// Name and argument types, as `regprocedure` writes them.
    pub signature: &'static str,
    /// The table whose columns it reads, across companies as far as PostgreSQL is concerned.
    pub table: &'static str,
    /// Why it cannot run with the caller's rights, and what keeps it to the caller's company.
    pub reason: &'static str,
}

/// The audited ones; any other `SECURITY DEFINER` function is a fault.
pub const DEFINER_FUNCTIONS: &[DefinerFunction] = &[DefinerFunction {
    signature: "ally.search_products(text,boolean)",
    table: "products",
    reason: "LIKE is not leakproof, so no index serves it under row security; filters by app_tenant()",
}];

const FAULTS: &str = include_str!("catalogue.sql");

/// Checks roles, tables, views and functions against the rules of row-level security; one line per
/// fault, `C2 products.products_brand_not_found: …`, none when all is well. Any role may ask, and
/// the login itself is checked: it must be `ally_system`. Leaves no trace on the connection.
///
/// # Errors
/// Those of the database; the schema must exist.
pub async fn catalogue_faults(conn: &mut PgConnection) -> Result<Vec<String>> {
    let mut tx = conn.begin().await?;
    // So that everything that is not PostgreSQL's own is printed with its schema; and planned as is,
    // for it runs once.
    sqlx::raw_sql("set local search_path = pg_catalog; set local jit = off")
        .execute(&mut *tx)
        .await?;
    let faults = sqlx::query_scalar(FAULTS)
        .persistent(false)
        .bind(GLOBAL_TABLES)
        .bind(SHARED_TABLES)
        .bind(DEFINER_FUNCTIONS.iter().map(|f| f.table).collect::<Vec<_>>())
        .bind(DEFINER_FUNCTIONS.iter().map(|f| f.signature).collect::<Vec<_>>())
        .fetch_all(&mut *tx)
        .await?;
    tx.rollback().await?;
    Ok(faults)
}
