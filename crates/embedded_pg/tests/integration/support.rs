//! Connections, processes and a second process that owns a server.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use embedded_pg::{EmbeddedPg, Options};
use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgConnection};

pub fn quick(data_dir: &Path) -> Options {
    Options {
        durable: false,
        ..Options::new(data_dir)
    }
}

pub async fn start(data_dir: &Path) -> EmbeddedPg {
    EmbeddedPg::start(quick(data_dir))
        .await
        .expect("the server starts")
}

pub fn connect_options(server: &EmbeddedPg) -> PgConnectOptions {
    options(server.socket_dir(), server.superuser_password())
}

fn options(socket_dir: &Path, password: &str) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass()
        .socket(socket_dir)
        .port(5432)
        .username("ally_root")
        .password(password)
        .database("postgres")
}

/// Connects, trying for half a minute.
pub async fn connect(server: &EmbeddedPg) -> PgConnection {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match connect_options(server).connect().await {
            Ok(connection) => return connection,
            Err(error) if Instant::now() > deadline => panic!("no connection: {error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

pub async fn execute(server: &EmbeddedPg, sql: &'static str) {
    let mut connection = connect(server).await;
    sqlx::raw_sql(sql).execute(&mut connection).await.expect(sql);
}

/// The number in the first column of the only row.
pub async fn number(server: &EmbeddedPg, sql: &'static str) -> i64 {
    let mut connection = connect(server).await;
    sqlx::query_scalar(sql)
        .fetch_one(&mut connection)
        .await
        .expect(sql)
}

pub async fn setting(server: &EmbeddedPg, name: &str) -> String {
    let mut connection = connect(server).await;
    sqlx::query_scalar("select current_setting($1)")
        .bind(name)
        .fetch_one(&mut connection)
        .await
        .expect(name)
}

pub fn postmaster_pid(data_dir: &Path) -> u32 {
    let content = fs::read_to_string(data_dir.join("postgres/postmaster.pid")).expect("a pid file");
    content
        .lines()
        .next()
        .expect("a first line")
        .parse()
        .expect("a pid")
}

pub fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid.try_into().expect("a pid")).expect("not 0");
    rustix::process::kill_process(pid, signal).expect("the process is there");
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether the process exists and is not a zombie.
pub fn is_alive(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status
        .lines()
        .any(|line| line.starts_with("State:") && !line.contains('Z'))
}

/// Waits until `condition` holds.
pub fn wait_until(what: &str, limit: Duration, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < deadline, "{what} took longer than {limit:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A process that starts a server and holds it; killed (-9) when dropped.
pub struct Owner {
    process: Child,
    outcome: PathBuf,
}

impl Owner {
    /// Runs this test binary again with only [`owner_process`]. `wrapper` is a command line to run it through.
    pub fn spawn(data_dir: &Path, wrapper: &[&str], environment: &[(&str, &str)]) -> Self {
        let name = format!("ally360-outcome{}", data_dir.to_string_lossy().replace('/', "-"));
        let outcome = std::env::temp_dir().join(name);
        let _ = fs::remove_file(&outcome);
        let executable = std::env::current_exe().expect("this binary");
        let mut words = wrapper
            .iter()
            .map(std::ffi::OsStr::new)
            .chain([executable.as_os_str()]);
        let process = Command::new(words.next().expect("a program"))
            .args(words)
            .args(["--exact", "support::owner_process", "--ignored"])
            .env("OWNER_DATA_DIR", data_dir)
            .env("OWNER_OUTCOME", &outcome)
            .envs(environment.iter().copied())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a process");
        Self { process, outcome }
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Waits for `started` or the error's message.
    pub fn outcome(&self) -> String {
        let read = || {
            fs::read_to_string(&self.outcome)
                .ok()
                .filter(|text| text.ends_with('\n'))
        };
        wait_until("the owner's start", Duration::from_secs(30), || read().is_some());
        read().expect("it was there").trim_end().to_owned()
    }

    pub fn kill(&mut self) {
        let _ = self.process.kill();
        self.process.wait().expect("it ends");
        let _ = fs::remove_file(&self.outcome);
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.kill();
    }
}

#[tokio::test]
#[ignore = "the other process of the tests that need one"]
async fn owner_process() {
    let (Some(data_dir), Some(outcome)) = (
        std::env::var_os("OWNER_DATA_DIR"),
        std::env::var_os("OWNER_OUTCOME"),
    ) else {
        return;
    };
    let started = EmbeddedPg::start(quick(Path::new(&data_dir))).await;
    let text = started
        .as_ref()
        .map_or_else(ToString::to_string, |_| "started".to_owned());
    fs::write(outcome, text + "\n").expect("the outcome is written");
    if started.is_ok() {
        std::future::pending::<()>().await;
    }
}
