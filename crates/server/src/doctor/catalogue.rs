//! What the catalogue tells of roles, tables, views and functions.

use kernel::db::migrate;
use kernel::error::Result;
use sqlx::{Connection, PgConnection};

/// Tables that belong to no company: only `ally_system` reaches them. Every other table is a tenant's.
pub const GLOBAL_TABLES: &[&str] = &[
    "users",
    "sessions",
    "refresh_tokens",
    "email_tokens",
    "company_states",
    "company_limits",
    "email_changes",
    "mail_requests",
    "known_devices",
    "attempts",
    "allowances",
    "user_idempotency_keys",
    "avatars",
    "schedule_slots",
    "mails",
    "mail_suppressions",
    "unreferenced_objects",
    "audit_heads",
    "audit_links",
    "audit_progress",
    "security_events",
    "_sqlx_migrations",
];

/// Tenant tables that `ally_system` needs too: sign-in reads which companies a user belongs to, an API key
/// tells its company, workers claim the jobs of all, operators grant room, the trails of all are chained.
pub const SHARED_TABLES: &[&str] = &[
    "companies",
    "memberships",
    "invitations",
    "api_keys",
    "api_key_uses",
    "jobs",
    "job_runs",
    "storage_usage",
    "audit_entries",
];

/// Tenant tables that need no company: with rows of the installation itself, under the nil UUID, or with rows
/// that outlive what they tell of.
pub const INSTALLATION_TABLES: &[&str] = &["jobs", "job_runs", "audit_entries"];

/// Tables whose changes leave no trace in the audit trail or among the security events, and why. Every other
/// table has the trigger of `audited()`, or if it is a global one a trigger that records security events.
pub const UNAUDITED_TABLES: &[(&str, &str)] = &[
    ("jobs", "work to be done; what it changes is audited"),
    ("job_runs", "a history itself"),
    ("company_states", "a history itself"),
    ("company_limits", "how much operators allow a company"),
    ("api_key_uses", "when an API key was last used"),
    ("malware_alarms", "when a member was last told of malware"),
    (
        "idempotency_keys",
        "answers once given; what was done is recorded",
    ),
    (
        "user_idempotency_keys",
        "answers once given; what was done is recorded",
    ),
    ("mails", "a history itself"),
    ("mail_suppressions", "what mail servers answered"),
    ("unreferenced_objects", "what sweeps of the store have found"),
    (
        "refresh_tokens",
        "change with every refresh; their sessions are recorded",
    ),
    ("email_tokens", "what they are used for is recorded"),
    ("email_changes", "what becomes of them is recorded"),
    ("mail_requests", "what they lead to is recorded"),
    ("known_devices", "sign-ins are recorded"),
    ("attempts", "failed sign-ins are recorded"),
    ("allowances", "how often something may be asked for"),
    ("avatars", "a picture that nobody but its owner changes"),
    ("schedule_slots", "planning of the installation's own jobs"),
    ("audit_entries", "the trail itself"),
    ("audit_links", "the chain over it"),
    ("audit_heads", "follows from the chain"),
    ("audit_progress", "how far chaining has come"),
    ("security_events", "a trail itself"),
    ("_sqlx_migrations", "a history itself"),
];

/// A function that runs with the rights of its owner instead of the caller's.
#[derive(Debug)]
pub struct DefinerFunction {
    /// Name and argument types, as `regprocedure` writes them.
    pub signature: &'static str,
    /// `ally_search`, who may read what is searched; `ally_owner` only for what changes no row.
    pub owner: &'static str,
    /// The tables that `ally_search` reads columns of, across companies as far as PostgreSQL is concerned.
    pub tables: &'static [&'static str],
    /// Why it cannot run with the caller's rights, and what keeps it from doing harm.
    pub reason: &'static str,
}

/// The audited ones; any other `SECURITY DEFINER` function is a fault.
pub const DEFINER_FUNCTIONS: &[DefinerFunction] = &[
    DefinerFunction {
        signature: "ally.search_products(text,boolean)",
        owner: "ally_search",
        tables: &["products"],
        reason: "LIKE is not leakproof, so no index serves it under row security; filters by app_tenant()",
    },
    DefinerFunction {
        signature: "ally.search_files(text,text,boolean)",
        owner: "ally_search",
        tables: &["files"],
        reason: "neither LIKE nor @> is leakproof; filters by app_tenant()",
    },
    DefinerFunction {
        signature: "ally.company_people()",
        owner: "ally_search",
        tables: &["memberships", "users"],
        reason: "users belong to no company, so requests cannot read them; filters memberships by app_tenant()",
    },
    DefinerFunction {
        signature: "ally.has_acting_owner(uuid)",
        owner: "ally_search",
        tables: &["memberships", "users"],
        reason: "the trigger that keeps owners cannot read users in a request; answers for app_tenant() alone where it is set",
    },
    DefinerFunction {
        signature: "ally.job_runs_rotate(integer)",
        owner: "ally_owner",
        tables: &[],
        reason: "partitions belong to the owner; makes and drops whole days, never today's, and reads no row",
    },
    DefinerFunction {
        signature: "ally.audit_rotate(integer)",
        owner: "ally_owner",
        tables: &[],
        reason: "partitions belong to the owner; drops whole months, never of the last year, and reads no row",
    },
];

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
        .bind(
            DEFINER_FUNCTIONS
                .iter()
                .flat_map(|f| f.tables)
                .collect::<Vec<_>>(),
        )
        .bind(DEFINER_FUNCTIONS.iter().map(|f| f.signature).collect::<Vec<_>>())
        .bind(DEFINER_FUNCTIONS.iter().map(|f| f.owner).collect::<Vec<_>>())
        .bind(INSTALLATION_TABLES)
        .bind(
            UNAUDITED_TABLES
                .iter()
                .map(|(table, _)| *table)
                .collect::<Vec<_>>(),
        )
        .fetch_all(&mut *tx)
        .await?;
    tx.rollback().await?;
    Ok(faults)
}

/// What the catalogue has that it should not, as far as this program can tell.
pub struct Faults {
    /// Of what it knows.
    pub known: Vec<String>,
    /// Of what a newer program has added, and answers for.
    pub newer: Vec<String>,
}

/// As [`catalogue_faults`], with those apart that an older program finds in the schema of a newer one.
///
/// # Errors
/// When the catalogue cannot be read.
pub async fn examine(conn: &mut PgConnection) -> Result<Faults> {
    let faults = catalogue_faults(conn).await?;
    let is_newer = migrate::is_newer(conn).await?;
    let (newer, known) = faults
        .into_iter()
        .partition(|fault| is_newer && !is_of_ours(fault));
    Ok(Faults { known, newer })
}

/// Whether the fault is of a table or function that this program's own migrations name: `C1 brands.brands_all: …`,
/// `C4 ally.peek(): …`.
fn is_of_ours(fault: &str) -> bool {
    let place = fault.split_whitespace().nth(1).unwrap_or_default();
    let object = place.trim_start_matches("ally.").trim_end_matches(':');
    let name = object.split(['.', '(']).next().unwrap_or_default();
    let is_in = |sql: &str| {
        let code = sql.lines().filter_map(|line| line.split("--").next());
        let mut words = code.flat_map(|code| code.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'));
        words.any(|word| word == name)
    };
    migrate::MIGRATIONS
        .iter()
        .any(|migration| is_in(migration.sql.as_str()))
}
