//! A database of its own on the shared test cluster.

use std::str::FromStr;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

use super::{Home, Program};

/// The roles belong to the whole cluster and their passwords follow from the secret, so that all
/// tests on the cluster use this one.
pub const SECRET: &str = "a secret of the tests, 32 bytes long";

/// A database, empty at first, that goes with this value.
pub struct External {
    pub home: Home,
    pub name: String,
    /// Directory of the cluster's socket.
    pub host: String,
    login: String,
    superuser: PgConnectOptions,
}

impl External {
    /// A new database. With `plain_login` it belongs to a login that is no superuser but may create roles.
    pub async fn create(plain_login: bool) -> External {
        let url = std::env::var("ALLY360_TEST_PG")
            .expect("ALLY360_TEST_PG: run script/test, or set it to `script/test-cluster url`");
        let superuser = PgConnectOptions::from_str(&url).expect("a URL");
        let host = superuser.get_socket().expect("a socket").display().to_string();
        let name = format!("binary_{}", uuid::Uuid::new_v4().simple());
        let login = if plain_login {
            format!("login_{name}")
        } else {
            superuser.get_username().to_owned()
        };
        let external = External {
            home: Home::empty(),
            name,
            host,
            login,
            superuser,
        };
        if plain_login {
            external
                .administer(&format!(
                    "create role {} login createrole password 'plain'",
                    external.login
                ))
                .await;
        }
        external
            .administer(&format!(
                "create database {} owner {}",
                external.name, external.login
            ))
            .await;
        external
    }

    /// `ally360 ARGUMENTS` on this database.
    pub fn program<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Program {
        let mut program = self.home.program(arguments);
        // `script/test-pgbouncer` runs these tests too.
        if let Ok(pooler) = std::env::var("ALLY360_TEST_PG_POOLER") {
            program = program.env("ALLY360_DB_POOLER", pooler);
        }
        program.envs([
            // No balancer has to notice.
            ("ALLY360_STOP_NOTICE_SECONDS", "0"),
            ("POSTGRES_HOST", self.host.as_str()),
            ("POSTGRES_USER", &self.login),
            ("POSTGRES_PASSWORD", "plain"),
            ("POSTGRES_DB", &self.name),
            ("APP_SECRET_STRING", SECRET),
        ])
    }

    /// Connects to it as superuser.
    pub async fn connect(&self) -> PgConnection {
        self.superuser
            .clone()
            .database(&self.name)
            .connect()
            .await
            .expect("a connection")
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "databases and roles are named by the test itself"
    )]
    async fn administer(&self, statement: &str) {
        let mut conn = self
            .superuser
            .clone()
            .connect()
            .await
            .expect("the test cluster runs");
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(&mut conn)
            .await
            .expect(statement);
        conn.close().await.expect("closed");
    }
}

impl Drop for External {
    /// Drops the database, and its login with what belongs to that.
    fn drop(&mut self) {
        let tidy = async {
            self.administer(&format!("drop database {} with (force)", self.name))
                .await;
            if self.login.starts_with("login_") {
                self.administer(&format!("drop role {}", self.login)).await;
            }
        };
        // A thread of its own, because a test's runtime cannot be blocked on from within.
        std::thread::scope(|scope| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            scope.spawn(move || runtime.block_on(tidy));
        });
    }
}
