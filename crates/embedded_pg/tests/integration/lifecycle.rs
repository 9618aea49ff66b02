use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use embedded_pg::{EmbeddedPg, Options, StartError};
use sqlx::ConnectOptions;
use tempfile::TempDir;

use crate::support::{
    connect, connect_options, execute, is_alive, number, postmaster_pid, quick, setting, start, wait_until,
};

#[tokio::test]
async fn a_second_start_keeps_the_data_and_is_quick() {
    let dir = TempDir::new().expect("a directory");
    let server = start(dir.path()).await;
    execute(&server, "create table kept as select 42::bigint as answer").await;
    server.stop().await;

    let began = Instant::now();
    let server = start(dir.path()).await;
    let took = began.elapsed();
    assert_eq!(number(&server, "select answer from kept").await, 42);
    assert!(took < Duration::from_secs(1), "the second start took {took:?}");
    server.stop().await;
}

#[tokio::test]
async fn stop_leaves_no_process_and_ends_open_transactions() {
    let dir = TempDir::new().expect("a directory");
    let server = start(dir.path()).await;
    let mut connection = connect(&server).await;
    sqlx::raw_sql("begin; create table lost ()")
        .execute(&mut connection)
        .await
        .expect("open transaction");
    let pid = postmaster_pid(dir.path());
    server.stop().await;
    assert!(!is_alive(pid));
    assert!(!dir.path().join("postgres/postmaster.pid").exists());
}

/// The kernel ties the signal that ends the server with its owner to one thread.
#[test]
fn the_server_outlives_the_thread_that_asked_for_it() {
    let dir = TempDir::new().expect("a directory");
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
    };
    let data_dir = dir.path().to_owned();
    let server = std::thread::spawn(move || runtime().block_on(start(&data_dir)))
        .join()
        .expect("it starts");
    let pid = postmaster_pid(dir.path());
    std::thread::sleep(Duration::from_millis(500));
    assert!(is_alive(pid));
    runtime().block_on(async {
        assert_eq!(number(&server, "select 1::bigint").await, 1);
        server.stop().await;
    });
}

#[tokio::test]
async fn an_interrupt_typed_at_the_terminal_reaches_only_us() {
    let dir = TempDir::new().expect("a directory");
    let server = start(dir.path()).await;
    let group = |pid| rustix::process::getpgid(pid).expect("the process is there");
    let postmaster = i32::try_from(postmaster_pid(dir.path()))
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    assert_ne!(group(postmaster), group(None));
    server.stop().await;
}

#[tokio::test]
async fn a_dropped_handle_stops_the_server() {
    let dir = TempDir::new().expect("a directory");
    let server = start(dir.path()).await;
    let pid = postmaster_pid(dir.path());
    drop(server);
    wait_until("the shutdown", Duration::from_secs(10), || !is_alive(pid));
}

#[tokio::test]
async fn a_second_start_is_refused_and_harms_nothing() {
    let dir = TempDir::new().expect("a directory");
    let server = start(dir.path()).await;
    let mut connection = connect(&server).await;

    let began = Instant::now();
    let refused = EmbeddedPg::start(quick(dir.path()))
        .await
        .expect_err("it is in use");
    assert!(began.elapsed() < Duration::from_secs(5));
    assert!(
        matches!(refused, StartError::InUse { pid: Some(pid), .. } if pid == std::process::id()),
        "{refused}"
    );
    assert!(
        refused
            .to_string()
            .contains(&format!("another ally360 (pid {}) uses", std::process::id()))
    );

    let one: i32 = sqlx::query_scalar("select 1")
        .fetch_one(&mut connection)
        .await
        .expect("an unharmed session");
    assert_eq!(one, 1);
    server.stop().await;
}

#[tokio::test]
async fn only_the_owner_reaches_server_and_data() {
    let dir = TempDir::new().expect("a directory");
    let server = start(dir.path()).await;
    let mode = |path: &str| fs::metadata(dir.path().join(path)).expect(path).mode() & 0o777;
    assert_eq!(mode("postgres"), 0o700);
    assert_eq!(mode("postgres.run"), 0o700);
    assert_eq!(mode("postgres.run/.s.PGSQL.5432"), 0o700);
    assert_eq!(mode("postgres/ally360.password"), 0o600);
    assert_eq!(mode("postgres.log"), 0o600);
    assert_eq!(setting(&server, "listen_addresses").await, "");
    assert_eq!(server.superuser_password().len(), 64);

    let refused = connect_options(&server)
        .password("wrong")
        .connect()
        .await
        .expect_err("a wrong password");
    let code = refused
        .as_database_error()
        .and_then(|error| error.code().map(std::borrow::Cow::into_owned));
    assert_eq!(code.as_deref(), Some("28P01"));

    let pid = postmaster_pid(dir.path());
    let command_line = fs::read(format!("/proc/{pid}/cmdline")).expect("its command line");
    assert!(!String::from_utf8_lossy(&command_line).contains(server.superuser_password()));
    let environment = fs::read(format!("/proc/{pid}/environ")).expect("its environment");
    assert!(
        !String::from_utf8_lossy(&environment).contains("CARGO"),
        "our environment holds secrets"
    );
    assert!(!format!("{server:?}").contains(server.superuser_password()));
    server.stop().await;
}

#[tokio::test]
async fn settings_are_applied_but_open_no_listener() {
    let dir = TempDir::new().expect("a directory");
    let settings = [("work_mem", "7MB"), ("listen_addresses", "*"), ("fsync", "off")];
    let settings = settings
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
    let server = EmbeddedPg::start(Options {
        settings,
        ..Options::new(dir.path())
    })
    .await
    .expect("it starts");
    for (name, expected) in [
        ("work_mem", "7MB"),
        ("listen_addresses", ""),
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("full_page_writes", "on"),
        ("data_checksums", "on"),
        ("server_encoding", "UTF8"),
        ("TimeZone", "UTC"),
        ("jit", "off"),
        ("log_parameter_max_length_on_error", "0"),
    ] {
        assert_eq!(setting(&server, name).await, expected, "{name}");
    }
    let version = setting(&server, "server_version_num").await;
    assert_eq!(version, server.server_version().to_string());
    let collations = number(
        &server,
        "select count(*) from pg_collation where collprovider = 'i'",
    )
    .await;
    assert!(collations > 0, "ICU collations");
    server.stop().await;
}

#[tokio::test]
async fn a_large_log_is_put_aside() {
    let dir = TempDir::new().expect("a directory");
    let log = fs::File::create(dir.path().join("postgres.log")).expect("a log");
    log.set_len(11 * 1024 * 1024).expect("a large one");
    let server = start(dir.path()).await;
    assert!(
        fs::metadata(dir.path().join("postgres.log"))
            .expect("a new log")
            .len()
            < 100_000
    );
    assert!(dir.path().join("postgres.log.1").exists());
    server.stop().await;
}
