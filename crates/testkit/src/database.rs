//! A database per test: cloned from a template that has all migrations, dropped at the end.

use std::process::Command;
use std::str::FromStr;

use kernel::db::{RolePasswords, migrate};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection};

/// A migrated database that exists as long as this value.
pub struct TestDb {
    name: String,
    options: PgConnectOptions,
}

impl TestDb {
    /// Clones the template, which the first test of a run with these migrations makes.
    pub async fn create() -> TestDb {
        let server = PgConnectOptions::from_str(&cluster_url())
            .expect("URL of the test cluster")
            .disable_statement_logging();
        let mut conn = server
            .connect()
            .await
            .expect("the test cluster (script/test-cluster start)");
        let template = template(&server, &mut conn).await;
        let name = format!("test_{}", kernel::ids::new_id().simple());
        run(
            &mut conn,
            format!("create database {name} template {template} strategy file_copy"),
        )
        .await;
        // A copy has its template's tables but not its privileges on the database itself.
        run(
            &mut conn,
            format!("revoke temporary on database {name} from public"),
        )
        .await;
        TestDb {
            options: server.database(&name),
            name,
        }
    }

    /// How to connect, as superuser.
    pub fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    /// Name of the database.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A connection as the cluster's superuser.
    pub async fn superuser(&self) -> PgConnection {
        self.options.connect().await.expect("superuser")
    }
}

impl Drop for TestDb {
    fn drop(&mut self) {
        let server = self.options.clone().database("postgres");
        let statement = format!("drop database if exists {} with (force)", self.name);
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("runtime");
            runtime.block_on(async {
                let mut conn = server.connect().await.expect("the test cluster");
                run(&mut conn, statement).await;
            });
        });
        let _ = dropped.join();
    }
}

/// The cluster that `script/test` started, or the one that `script/test-cluster` starts now.
fn cluster_url() -> String {
    if let Ok(url) = std::env::var("ALLY360_TEST_PG") {
        return url;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../script/test-cluster");
    let started = Command::new(script)
        .arg("start")
        .status()
        .expect("script/test-cluster");
    assert!(started.success(), "script/test-cluster start failed");
    let url = Command::new(script)
        .arg("url")
        .output()
        .expect("script/test-cluster")
        .stdout;
    String::from_utf8(url).expect("a URL").trim().to_owned()
}

/// The migrated template for exactly these migrations.
async fn template(server: &PgConnectOptions, conn: &mut PgConnection) -> String {
    let migrations: String = migrate::MIGRATIONS
        .iter()
        .map(|m| format!("{}{:?}", m.version, m.checksum))
        .collect();
    let hash = kernel::keys::sha256(format!("{migrations}{}", migrate::BOOTSTRAP).as_bytes());
    let name = format!(
        "ally_template_{}",
        hash[..6].iter().map(|b| format!("{b:02x}")).collect::<String>()
    );
    let exists = || {
        sqlx::query_scalar::<_, bool>("select exists (select from pg_database where datname = $1)")
            .bind(name.clone())
    };
    if !exists().fetch_one(&mut *conn).await.expect("pg_database") {
        // One test of the run makes it; the others wait.
        run(conn, "select pg_advisory_lock(360)".to_owned()).await;
        if !exists().fetch_one(&mut *conn).await.expect("pg_database") {
            let unfinished = format!("{name}_unfinished");
            run(conn, format!("drop database if exists {unfinished} with (force)")).await;
            run(conn, format!("create database {unfinished}")).await;
            let roles = RolePasswords {
                app: vec!["app".to_owned()],
                system: vec!["system".to_owned()],
            };
            migrate::up(&server.clone().database(&unfinished), &roles)
                .await
                .expect("migrations");
            run(conn, format!("alter database {unfinished} rename to {name}")).await;
        }
        run(conn, "select pg_advisory_unlock(360)".to_owned()).await;
    }
    name
}

#[expect(clippy::disallowed_methods, reason = "database names are made here")]
async fn run(conn: &mut PgConnection, statement: String) {
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(conn)
        .await
        .expect("statement on the test cluster");
}
