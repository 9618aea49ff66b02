//! `ally360 doctor` against a database: what it prints and how it exits.

use std::process::{Command, Output};

use testkit::{TestApp, TestDb};

use crate::{as_migrated, database, execute};

const SECRET: &str = "a secret of the tests, 32 bytes long";

fn doctor(secret: &str, url: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ally360"))
        .arg("doctor")
        .env_clear()
        .env("APP_SECRET_STRING", secret)
        .env("DATABASE_URL", url)
        .current_dir(std::env::temp_dir())
        .output()
        .expect("ally360 doctor")
}

fn url(db: &TestDb) -> String {
    let options = db.options();
    let socket = options
        .get_socket()
        .map_or(options.get_host().to_owned(), |dir| dir.display().to_string());
    format!(
        "postgres://{}@localhost:{}/{}?host={socket}",
        options.get_username(),
        options.get_port(),
        db.name()
    )
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

#[tokio::test]
async fn a_sound_installation_passes_and_a_fault_fails() {
    let db = database().await;
    let healthy = doctor(SECRET, &url(&db));
    let report = text(&healthy.stdout);
    assert!(healthy.status.success(), "{report}{}", text(&healthy.stderr));
    for topic in [
        "settings",
        "secret",
        "database",
        "clock",
        "extensions",
        "migrations",
        "roles",
        "catalogue",
    ] {
        assert!(
            report
                .lines()
                .any(|line| line.starts_with(&format!("ok    {topic} "))),
            "{topic} is not ok:\n{report}"
        );
    }
    assert!(report.contains("warn  mail        no server is set"), "{report}");
    assert!(!report.contains(SECRET));

    let sample = doctor("your-super-secret-key-change-in-production", &url(&db));
    assert!(sample.status.success());
    assert!(
        text(&sample.stdout).contains("warn  secret "),
        "{}",
        text(&sample.stdout)
    );

    execute(
        &mut db.superuser().await,
        "drop policy tenant_guard on ally.brands",
    )
    .await
    .expect("defect");
    let faulty = doctor(SECRET, &url(&db));
    assert_eq!(faulty.status.code(), Some(1));
    assert!(
        text(&faulty.stdout).contains("FAIL  catalogue   C1 brands: the restrictive policy tenant_guard"),
        "{}",
        text(&faulty.stdout)
    );
}

#[tokio::test]
async fn pending_migrations_and_a_missing_extension_fail() {
    let db = database().await;
    let mut conn = db.superuser().await;
    execute(
        &mut conn,
        "delete from ally._sqlx_migrations where version = (select max(version) from ally._sqlx_migrations)",
    )
    .await
    .expect("defect");
    execute(&mut conn, "drop extension pg_trgm cascade")
        .await
        .expect("defect");
    let output = doctor(SECRET, &url(&db));
    let report = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        report.contains("FAIL  migrations  1 pending: run `ally360 migrate up`"),
        "{report}"
    );
    assert!(
        report.contains("FAIL  extensions  pg_trgm is missing"),
        "{report}"
    );
    assert!(report.contains("warn  catalogue   not examined"), "{report}");
}

#[test]
fn a_server_that_cannot_be_reached_fails_with_advice() {
    let output = doctor(SECRET, "postgres://ally@127.0.0.1:1/ally");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stdout).contains("FAIL  database    cannot be reached: "),
        "{}",
        text(&output.stdout)
    );
}

#[tokio::test]
async fn a_process_with_a_fault_is_never_ready() {
    let app = TestApp::new(server::service).await;
    as_migrated(app.database()).await;
    app.anonymous().get("/health/ready").await.status(200);

    let app = TestApp::new(server::service).await;
    as_migrated(app.database()).await;
    execute(
        &mut app.superuser().await,
        "grant truncate on ally.brands to ally_app",
    )
    .await
    .expect("defect");
    let answer = app.anonymous().get("/health/ready").await.status(503);
    // The fault itself is told to who runs the doctor.
    let reason = answer.json["reasons"][0].as_str().unwrap_or_default();
    assert_eq!(
        reason,
        "the database has a fault in its roles or tables: run `ally360 doctor`"
    );
}

/// A process is asked by whoever likes; the database is not.
#[tokio::test]
async fn the_database_is_asked_twice_a_second_however_often_health_is() {
    let app = TestApp::new(server::service).await;
    as_migrated(app.database()).await;
    let ready = async || app.anonymous().get("/health/ready").await.status.as_u16();
    let asked = std::time::Instant::now();
    assert_eq!(ready().await, 200);
    let removed =
        "delete from ally._sqlx_migrations where version = (select max(version) from ally._sqlx_migrations)";
    execute(&mut app.superuser().await, removed)
        .await
        .expect("removed");
    let again = ready().await;
    // On a machine that took longer the database may have been asked anew.
    assert!(again == 200 || asked.elapsed() > std::time::Duration::from_millis(450));
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    assert_eq!(ready().await, 503);
}

/// After an upgrade that had to be taken back: what the newer program has added, the older one does not know.
#[tokio::test]
async fn a_program_serves_the_schema_of_a_newer_one() {
    let app = TestApp::new(server::service).await;
    as_migrated(app.database()).await;
    let newer = "insert into ally._sqlx_migrations (version, description, success, checksum, execution_time)
                   values (999901010000, 'later', true, '', 0);
                 create table ally.later (id integer);
                 create function ally.later() returns integer language sql security definer as 'select 1'";
    execute(&mut app.superuser().await, newer).await.expect("newer");
    app.anonymous().get("/health/ready").await.status(200);
    let told = doctor(SECRET, &url(app.database()));
    let report = text(&told.stdout);
    assert!(told.status.success(), "{report}");
    assert!(
        report.contains("warn  catalogue   of a newer program"),
        "{report}"
    );
    let url = url(app.database()).parse().expect("a URL");
    let roles = kernel::db::RolePasswords {
        app: vec!["app".to_owned()],
        system: vec!["system".to_owned()],
    };
    let applied = kernel::db::migrate::up(&url, &roles)
        .await
        .expect("it does not mind");
    assert_eq!(applied, 0);

    // What it does know is its own concern.
    let app = TestApp::new(server::service).await;
    as_migrated(app.database()).await;
    let exposed =
        "insert into ally._sqlx_migrations (version, description, success, checksum, execution_time)
                     values (999901010000, 'later', true, '', 0);
                   alter table ally.brands disable row level security";
    execute(&mut app.superuser().await, exposed)
        .await
        .expect("exposed");
    app.anonymous().get("/health/ready").await.status(503);
}
