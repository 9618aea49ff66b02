//! Roles and migrations: `ally360 migrate`, and the start of an embedded database.

use std::sync::LazyLock;
use std::time::Duration;

use sqlx::migrate::{Migrate, Migrator};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};

use super::{APP_ROLE, RolePasswords, SYSTEM_ROLE};

/// All migrations, embedded in the binary.
///
/// What a newer program has applied is none of our business: an older one may be started again on its schema.
pub static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| {
    let mut migrations = sqlx::migrate!("../../migrations");
    migrations.set_ignore_missing(true);
    migrations
});

/// Roles, schema and extensions.
pub const BOOTSTRAP: &str = include_str!("bootstrap.sql");

/// As owner, so that objects belong to it. `row_security = off` makes a data migration that row
/// security would silently cut to nothing an error instead.
const AS_OWNER: &str = "set role ally_owner; set row_security = off; set search_path = ally, public;
    set lock_timeout = '2s'; set client_min_messages = warning";

/// Creates roles, schema and extensions, then applies what is missing. Any number of processes may
/// do it at once: they wait for each other. Returns how many migrations were applied.
///
/// # Errors
/// When the login may not create roles, or a migration fails; a failed one leaves nothing behind.
pub async fn up(login: &PgConnectOptions, roles: &RolePasswords) -> anyhow::Result<usize> {
    // A statement that has to wait would be logged as slow, and one of them holds a password.
    let mut conn = login.clone().disable_statement_logging().connect().await?;
    take_turn(&mut conn).await?;
    bootstrap(&mut conn).await?;
    for (role, passwords) in [(APP_ROLE, &roles.app), (SYSTEM_ROLE, &roles.system)] {
        set_password(&mut conn, role, &passwords[0]).await?;
    }
    sqlx::raw_sql(AS_OWNER).execute(&mut conn).await?;
    let before = applied(&mut conn).await?;
    MIGRATIONS.run_direct(None, &mut conn, false).await?;
    let after = applied(&mut conn).await?;
    // Writing needs the partition of the month: also after a long sleep, before any worker runs.
    sqlx::raw_sql("select audit_rotate(1200)")
        .execute(&mut conn)
        .await?;
    // Readiness compares what is applied with what this program knows.
    sqlx::raw_sql("grant select on _sqlx_migrations to ally_system")
        .execute(&mut conn)
        .await?;
    conn.close().await?;
    Ok(after - before)
}

/// One process at a time in this database, until its connection ends. Polled: a session waiting inside
/// PostgreSQL would hold up `create index concurrently` of the one that migrates.
async fn take_turn(conn: &mut PgConnection) -> sqlx::Result<()> {
    let lock = "select pg_try_advisory_lock(hashtext('ally360 migrate'))";
    while !sqlx::query_scalar::<_, bool>(lock).fetch_one(&mut *conn).await? {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Roles belong to the cluster and locks to a database: against another installation that starts at
/// the same moment helps only trying again.
async fn bootstrap(conn: &mut PgConnection) -> sqlx::Result<()> {
    let mut attempts = 20;
    loop {
        match sqlx::raw_sql(BOOTSTRAP).execute(&mut *conn).await {
            // "tuple concurrently updated", or a role or membership that has just been made
            Err(sqlx::Error::Database(e))
                if attempts > 0 && matches!(e.code().as_deref(), Some("XX000" | "23505" | "42710")) =>
            {
                attempts -= 1;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            result => return result.map(drop),
        }
    }
}

/// A migration and whether the database has it.
#[derive(Debug)]
pub struct Status {
    pub version: i64,
    pub description: String,
    pub applied: bool,
}

/// All known migrations, oldest first.
///
/// # Errors
/// When the database cannot be read.
pub async fn status(conn: &mut PgConnection) -> sqlx::Result<Vec<Status>> {
    let applied: Vec<i64> =
        match sqlx::query_scalar("select version from ally._sqlx_migrations where success")
            .fetch_all(conn)
            .await
        {
            Err(sqlx::Error::Database(e)) if e.code().as_deref() == Some("42P01") => Vec::new(),
            result => result?,
        };
    Ok(MIGRATIONS
        .iter()
        .map(|m| Status {
            version: m.version,
            description: m.description.to_string(),
            applied: applied.contains(&m.version),
        })
        .collect())
}

/// Whether a newer program has migrated the database: it has what this one does not know.
///
/// # Errors
/// When the database cannot be read.
pub async fn is_newer(conn: &mut PgConnection) -> sqlx::Result<bool> {
    let known: Vec<i64> = MIGRATIONS.iter().map(|migration| migration.version).collect();
    sqlx::query_scalar(
        "select exists (select from ally._sqlx_migrations where success and version <> all($1))",
    )
    .bind(known)
    .fetch_one(conn)
    .await
}

async fn applied(conn: &mut PgConnection) -> anyhow::Result<usize> {
    conn.ensure_migrations_table(&MIGRATIONS.table_name).await?;
    Ok(conn.list_applied_migrations(&MIGRATIONS.table_name).await?.len())
}

#[expect(
    clippy::disallowed_methods,
    reason = "ALTER ROLE takes no parameters; the password is quoted here"
)]
async fn set_password(conn: &mut PgConnection, role: &str, password: &str) -> sqlx::Result<()> {
    let quoted = password.replace('\'', "''").replace('\\', "\\\\");
    let statement = format!("alter role {role} with login password E'{quoted}'");
    // Another process may be doing the same this moment: the row is then already right.
    match sqlx::raw_sql(AssertSqlSafe(statement)).execute(conn).await {
        Err(sqlx::Error::Database(e)) if e.message().contains("concurrently updated") => Ok(()),
        result => result.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::MIGRATIONS;

    #[test]
    fn every_migration_file_is_in_the_program() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations");
        let mut files: Vec<String> = std::fs::read_dir(directory)
            .expect("the migrations")
            .map(|file| file.expect("an entry").file_name().into_string().expect("text"))
            .filter(|name| name.ends_with(".sql"))
            .collect();
        files.sort();
        let known = MIGRATIONS
            .iter()
            .map(|m| format!("{}_{}.sql", m.version, m.description.replace(' ', "_")));
        assert_eq!(known.collect::<Vec<_>>(), files);
    }
}
