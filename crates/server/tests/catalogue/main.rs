//! The database keeps companies apart, and the doctor notices when it does not.

mod defects;
mod doctor;
mod isolation;
mod rows;

use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection};
use testkit::TestDb;

/// A database with all migrations, as `ally360 migrate up` leaves it.
async fn database() -> TestDb {
    let db = TestDb::create().await;
    as_migrated(&db).await;
    db
}

/// A copy of a database does not take over who may use the original.
async fn as_migrated(db: &TestDb) {
    let revoke = format!("revoke temporary on database {} from public", db.name());
    execute(&mut db.superuser().await, &revoke).await.expect("revoke");
}

/// Runs statements; the number of rows that the last one returned or changed.
#[expect(clippy::disallowed_methods, reason = "tests make statements for every table")]
async fn execute(conn: &mut PgConnection, sql: &str) -> sqlx::Result<u64> {
    Ok(sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(conn)
        .await?
        .rows_affected())
}

/// SQLSTATE of a database error.
fn code(error: &sqlx::Error) -> String {
    let database = error
        .as_database_error()
        .unwrap_or_else(|| panic!("not an error of the database: {error}"));
    database.code().expect("SQLSTATE").into_owned()
}

/// A connection as this role, as the program has it; the test cluster asks for no password.
async fn log_in(db: &TestDb, role: &str) -> PgConnection {
    db.options()
        .clone()
        .username(role)
        .connect()
        .await
        .unwrap_or_else(|error| panic!("login of {role}: {error}"))
}
