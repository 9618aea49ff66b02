//! What the database tells: version, clock, extensions, migrations, roles, catalogue.

use std::time::Duration;

use anyhow::Context;
use kernel::clock::Clock;
use kernel::db::{APP_ROLE, SYSTEM_ROLE, migrate};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection};

use super::examine_catalogue;
use super::report::{Report, Verdict};
use crate::run::Database;
use crate::settings::Settings;

/// Longer than this, and the server counts as not reached.
const PATIENCE: Duration = Duration::from_secs(5);
/// Leases and tokens are compared with both clocks.
const CLOCK_TOLERANCE_MS: u64 = 5000;
/// API, worker, scheduler, and one that is being replaced.
const FEWEST_PROCESSES: u32 = 4;
/// Row-security holes are closed by minor releases: the newest of each major version known to be out.
const NEWEST_MINORS: &[(i32, i32)] = &[(15, 20), (16, 14), (17, 10), (18, 4)];

/// Adds what can be learnt from the database; what needs something that failed is left out.
pub(super) async fn examine(database: &Database, settings: &Settings, report: &mut Report) {
    let mut conn = match connect(&database.login).await {
        Ok(conn) => conn,
        Err(error) => {
            return report.fail(
                "database",
                format!(
                    "cannot be reached: {error}. Check DATABASE_URL or POSTGRES_*, and that the server runs"
                ),
            );
        }
    };
    if let Err(error) = server(&mut conn, database, settings, report).await {
        report.fail("database", format!("does not answer: {error}"));
    }
    let current = migrations(&mut conn, database.embedded.is_some(), report).await;

    let passwords = settings.role_passwords(&database.keys);
    log_in(&database.login, APP_ROLE, &passwords.app[0], report).await;
    match log_in(&database.login, SYSTEM_ROLE, &passwords.system[0], report).await {
        Some(mut conn) if current => catalogue(&mut conn, report).await,
        _ => report.warn(
            "catalogue",
            "not examined: it needs current migrations and the login of ally_system",
        ),
    }
    if let Some(pooler) = &settings.config.database.db_pooler {
        let server = kernel::db::behind(pooler, &database.login);
        for (role, passwords) in [(APP_ROLE, &passwords.app), (SYSTEM_ROLE, &passwords.system)] {
            match connect(&server.clone().username(role).password(&passwords[0])).await {
                Ok(_) => report.ok("pooler", format!("{role} can log in through ALLY360_DB_POOLER")),
                Err(error) => report.fail(
                    "pooler",
                    format!(
                        "{role} cannot log in through ALLY360_DB_POOLER: {error}. Check its user list, its address, and \
                         that both sides agree on TLS (PGSSLMODE)"
                    ),
                ),
            }
        }
    }
}

async fn log_in(
    server: &PgConnectOptions,
    role: &str,
    password: &str,
    report: &mut Report,
) -> Option<PgConnection> {
    match connect(&server.clone().username(role).password(password)).await {
        Ok(conn) => {
            report.ok("roles", format!("{role} can log in"));
            Some(conn)
        }
        Err(error) => {
            report.fail(
                "roles",
                format!(
                    "{role} cannot log in: {error}. `ally360 migrate up` makes the role and sets its password"
                ),
            );
            None
        }
    }
}

async fn connect(login: &PgConnectOptions) -> anyhow::Result<PgConnection> {
    Ok(tokio::time::timeout(PATIENCE, login.connect())
        .await
        .context("no answer within 5 s")??)
}

async fn server(
    conn: &mut PgConnection,
    database: &Database,
    settings: &Settings,
    report: &mut Report,
) -> sqlx::Result<()> {
    let (version, now_ms, extensions, connections): (i32, i64, Vec<String>, i32) = sqlx::query_as(
        "select current_setting('server_version_num')::integer,
                (extract(epoch from clock_timestamp()) * 1000)::bigint,
                array(select extname::text from pg_extension),
                current_setting('max_connections')::integer
                  - current_setting('superuser_reserved_connections')::integer",
    )
    .fetch_one(conn)
    .await?;
    report.add("database", patch_level(version));
    // An embedded server is one process's own; before others a pooler shares out what there is.
    if database.embedded.is_none() && settings.config.database.db_pooler.is_none() {
        let pools = settings.pool_size();
        report.add("database", room(connections, pools.app + pools.system + 1));
    }

    let ahead = Clock::default().now().as_millisecond() - now_ms;
    report.add("clock", clock(ahead));

    for wanted in ["pg_trgm", "btree_gin"] {
        if extensions.iter().any(|there| there == wanted) {
            report.ok("extensions", wanted);
        } else {
            report.fail(
                "extensions",
                format!("{wanted} is missing: run `ally360 migrate up` as a login that may create it"),
            );
        }
    }
    Ok(())
}

/// By how many milliseconds this machine is ahead of the database.
fn clock(ahead: i64) -> (Verdict, String) {
    let difference = ahead.unsigned_abs();
    if difference < CLOCK_TOLERANCE_MS {
        return (Verdict::Ok, format!("{difference} ms from the database's"));
    }
    let which = if ahead > 0 { "ahead of" } else { "behind" };
    (
        Verdict::Fail,
        format!(
            "{} s {which} the database's: synchronise both with NTP",
            difference / 1000
        ),
    )
}

/// For how many processes the server has connections, each of which takes so many at most: its pools, and one to listen.
fn room(connections: i32, each: u32) -> (Verdict, String) {
    let processes = connections.max(0).unsigned_abs() / each;
    let text = format!("{connections} connections, enough for {processes} processes like this");
    if processes >= FEWEST_PROCESSES {
        return (Verdict::Ok, text);
    }
    (
        Verdict::Warn,
        format!(
            "{text}: raise max_connections, lower ALLY360_DB_APP_CONNECTIONS, or put PgBouncer before the server \
             (ALLY360_DB_POOLER)"
        ),
    )
}

/// `version` as `server_version_num` has it: 150020 is 15.20.
fn patch_level(version: i32) -> (Verdict, String) {
    let (major, minor) = (version / 10_000, version % 10_000);
    let newest = NEWEST_MINORS
        .iter()
        .find(|(known, _)| *known == major)
        .map_or(0, |(_, minor)| *minor);
    if major < 15 {
        (
            Verdict::Fail,
            format!("PostgreSQL {major}.{minor} is too old: upgrade to 15 or later"),
        )
    } else if minor < newest {
        (
            Verdict::Warn,
            format!("PostgreSQL {major}.{minor} has known holes: upgrade to {major}.{newest} or later"),
        )
    } else {
        (Verdict::Ok, format!("PostgreSQL {major}.{minor}"))
    }
}

/// Whether all migrations are applied. An embedded database gets them at the next start.
async fn migrations(conn: &mut PgConnection, embedded: bool, report: &mut Report) -> bool {
    let status = match migrate::status(conn).await {
        Ok(status) => status,
        Err(error) => {
            report.fail("migrations", format!("cannot be read: {error}"));
            return false;
        }
    };
    match status.iter().filter(|m| !m.applied).count() {
        0 => report.ok("migrations", format!("all {} applied", status.len())),
        pending if embedded => report.warn(
            "migrations",
            format!("{pending} pending: the next start applies them"),
        ),
        pending => report.fail(
            "migrations",
            format!("{pending} pending: run `ally360 migrate up`"),
        ),
    }
    status.iter().all(|m| m.applied)
}

async fn catalogue(conn: &mut PgConnection, report: &mut Report) {
    match examine_catalogue(conn).await {
        Ok(faults) => {
            if faults.known.is_empty() {
                report.ok(
                    "catalogue",
                    "roles, tables, views and functions keep companies apart",
                );
            }
            faults
                .known
                .iter()
                .for_each(|fault| report.fail("catalogue", fault));
            if !faults.newer.is_empty() {
                report.warn(
                    "catalogue",
                    format!(
                        "of a newer program, which knows what this one does not: {}",
                        faults.newer.join("; ")
                    ),
                );
            }
        }
        Err(error) => report.fail("catalogue", format!("cannot be read: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_may_differ_by_seconds_and_no_more() {
        assert_eq!(clock(4999).0, Verdict::Ok);
        assert_eq!(clock(-4999).0, Verdict::Ok);
        assert_eq!(
            clock(-3_600_000),
            (
                Verdict::Fail,
                "3600 s behind the database's: synchronise both with NTP".to_owned()
            )
        );
        assert!(clock(5000).1.starts_with("5 s ahead of"));
    }

    #[test]
    fn a_server_with_connections_for_few_processes_is_warned_of() {
        assert_eq!(
            room(97, 23),
            (
                Verdict::Ok,
                "97 connections, enough for 4 processes like this".to_owned()
            )
        );
        let (verdict, text) = room(97, 33);
        assert_eq!(verdict, Verdict::Warn);
        assert!(
            text.contains("enough for 2 processes") && text.contains("max_connections"),
            "{text}"
        );
        assert_eq!(room(-3, 23).0, Verdict::Warn);
    }

    #[test]
    fn old_servers_fail_and_unpatched_ones_are_warned_of() {
        let verdict = |version| patch_level(version).0;
        assert_eq!(verdict(140_099), Verdict::Fail);
        assert_eq!(verdict(150_019), Verdict::Warn);
        assert_eq!(verdict(150_020), Verdict::Ok);
        assert_eq!(verdict(170_009), Verdict::Warn);
        assert_eq!(verdict(190_000), Verdict::Ok);
    }
}
