use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use embedded_pg::{EmbeddedPg, Options, StartError};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::{
    Owner, connect, execute, is_alive, is_root, number, postmaster_pid, quick, signal, start, wait_until,
};

#[tokio::test]
async fn a_killed_postmaster_comes_back_with_the_data() {
    let dir = TempDir::new().expect("a directory");
    let server = start(dir.path()).await;
    execute(&server, "create table kept (n int)").await;
    for n in 1..=3 {
        execute(&server, "insert into kept values (1)").await;
        let killed = postmaster_pid(dir.path());
        signal(killed, Signal::KILL);
        wait_until("the end of the killed server", Duration::from_secs(5), || {
            !is_alive(killed)
        });
        let died = Instant::now();
        assert_eq!(number(&server, "select count(*) from kept").await, n);
        assert!(
            died.elapsed() < Duration::from_secs(5),
            "down for {:?}",
            died.elapsed()
        );
        assert_ne!(postmaster_pid(dir.path()), killed);
    }
    server.stop().await;
}

#[tokio::test]
async fn no_acknowledged_write_is_lost_when_the_postmaster_is_killed() {
    const KILLS: usize = 4;
    let dir = TempDir::new().expect("a directory");
    let server = EmbeddedPg::start(Options::new(dir.path()))
        .await
        .expect("the server starts");
    execute(
        &server,
        "create table kept (writer bigint, n bigint, primary key (writer, n))",
    )
    .await;
    let stop = AtomicBool::new(false);
    // How many writes of each writer were acknowledged: all of them up to there must be in the table.
    let write = async |writer: i64| {
        let mut acknowledged = 0;
        while !stop.load(Ordering::Relaxed) {
            let mut connection = connect(&server).await;
            let insert = "insert into kept values ($1, $2) on conflict do nothing";
            while !stop.load(Ordering::Relaxed) {
                let row = sqlx::query(insert).bind(writer).bind(acknowledged + 1);
                if row.execute(&mut connection).await.is_err() {
                    break;
                }
                acknowledged += 1;
            }
        }
        acknowledged
    };
    let kill = async {
        for _ in 0..KILLS {
            tokio::time::sleep(Duration::from_millis(700)).await;
            connect(&server).await;
            signal(postmaster_pid(dir.path()), Signal::KILL);
        }
        stop.store(true, Ordering::Relaxed);
    };
    let (a, b, c, d, ()) = tokio::join!(write(1), write(2), write(3), write(4), kill);
    assert!(a + b + c + d > 100, "the writers wrote");
    for (writer, acknowledged) in [(1_i64, a), (2, b), (3, c), (4, d)] {
        let count = "select count(*) from kept where writer = $1 and n <= $2";
        let count = sqlx::query_scalar(count).bind(writer).bind(acknowledged);
        let kept: i64 = count
            .fetch_one(&mut connect(&server).await)
            .await
            .expect("a count");
        assert_eq!(kept, acknowledged, "writer {writer}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_backend_too_busy_to_notice_does_not_delay_the_restart() {
    let dir = TempDir::new().expect("a directory");
    let server = start(dir.path()).await;
    let mut connection = connect(&server).await;
    let backend: i32 = sqlx::query_scalar("select pg_backend_pid()")
        .fetch_one(&mut connection)
        .await
        .expect("a pid");
    let busy = sqlx::raw_sql("do $$ declare i bigint := 0; begin loop i := i + 1; end loop; end $$");
    let kill = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        signal(postmaster_pid(dir.path()), Signal::KILL);
    };
    let (ended, ()) = tokio::join!(busy.execute(&mut connection), kill);
    ended.expect_err("the session ends");
    assert_eq!(number(&server, "select 1::bigint").await, 1);
    assert!(!is_alive(backend.try_into().expect("a pid")));
    server.stop().await;
}

#[tokio::test]
async fn a_server_that_cannot_start_again_is_reported() {
    let dir = TempDir::new().expect("a directory");
    let server = start(dir.path()).await;
    let failed = server.failed();
    fs::write(
        dir.path().join("postgres/postgresql.conf"),
        "no_such_setting = 1\n",
    )
    .expect("a broken file");
    signal(postmaster_pid(dir.path()), Signal::KILL);
    let error = tokio::time::timeout(Duration::from_secs(30), failed)
        .await
        .expect("it gives up");
    assert!(error.to_string().contains("configuration file"), "{error}");
    server.stop().await;
}

#[tokio::test]
async fn a_killed_owner_takes_the_server_with_it() {
    let dir = TempDir::new().expect("a directory");
    let mut owner = Owner::spawn(dir.path(), &[], &[]);
    assert_eq!(owner.outcome(), "started");
    let postmaster = postmaster_pid(dir.path());
    let refused = EmbeddedPg::start(quick(dir.path()))
        .await
        .expect_err("another process holds it");
    assert!(
        matches!(refused, StartError::InUse { pid: Some(pid), .. } if pid == owner.pid()),
        "{refused}"
    );
    assert!(is_alive(postmaster));
    owner.kill();
    wait_until("the server's end", Duration::from_secs(5), || {
        !is_alive(postmaster)
    });
    start(dir.path()).await.stop().await;
}

#[tokio::test]
async fn the_server_of_a_killed_owner_is_waited_for() {
    let dir = TempDir::new().expect("a directory");
    let server = start(dir.path()).await;
    execute(&server, "create table kept as select 42::bigint as answer").await;
    server.stop().await;
    for _ in 0..3 {
        let mut owner = Owner::spawn(dir.path(), &[], &[]);
        assert_eq!(owner.outcome(), "started");
        owner.kill();
        let server = start(dir.path()).await;
        assert_eq!(number(&server, "select answer from kept").await, 42);
        server.stop().await;
    }
}

#[tokio::test]
async fn a_server_without_supervisor_is_ended_first() {
    let dir = TempDir::new().expect("a directory");
    let server = start(dir.path()).await;
    let executable = fs::read_link(format!("/proc/{}/exe", postmaster_pid(dir.path()))).expect("the program");
    let socket_dir = server.socket_dir().to_owned();
    server.stop().await;

    let pgdata = dir.path().join("postgres");
    let mut command = Command::new(executable);
    command
        .arg("-D")
        .arg(&pgdata)
        .args(["-c", "listen_addresses=", "-c"]);
    command.arg(format!("unix_socket_directories={}", socket_dir.display()));
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .current_dir("/");
    if is_root() {
        let owner = fs::metadata(&pgdata).expect("its owner");
        command.uid(owner.uid()).gid(owner.gid());
        fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o711))
            .expect("open to the server");
    }
    let mut orphan = command.spawn().expect("a server");
    let socket = socket_dir.join(".s.PGSQL.5432");
    wait_until("the server without supervisor", Duration::from_secs(10), || {
        socket.exists()
    });

    let server = start(dir.path()).await;
    assert!(
        orphan.wait().expect("it ended").success(),
        "it was shut down, not killed"
    );
    server.stop().await;
}

#[tokio::test]
async fn a_pid_file_naming_an_unrelated_process_stops_nothing() {
    let dir = TempDir::new().expect("a directory");
    start(dir.path()).await.stop().await;
    let pgdata = dir.path().join("postgres");
    let owner = fs::metadata(&pgdata).expect("its owner");
    let mut command = Command::new("sleep");
    command.arg("60");
    if is_root() {
        command.uid(owner.uid()).gid(owner.gid());
    }
    let mut unrelated = command.spawn().expect("a process");
    let content = format!(
        "{}\n{}\n1700000000\n5432\n/tmp\n\n  1 1\n",
        unrelated.id(),
        pgdata.display()
    );
    fs::write(pgdata.join("postmaster.pid"), content).expect("a stale pid file");
    start(dir.path()).await.stop().await;
    assert!(is_alive(unrelated.id()));
    unrelated.kill().expect("ours to end");
    unrelated.wait().expect("it ends");
}

#[tokio::test]
async fn an_interrupted_creation_is_started_over() {
    for pause in [0, 50, 150, 250] {
        let dir = TempDir::new().expect("a directory");
        let unfinished = || {
            let entries = fs::read_dir(dir.path()).expect("a directory").flatten();
            entries
                .filter(|entry| entry.file_name().to_string_lossy().starts_with("postgres.new-"))
                .count()
        };
        let mut owner = Owner::spawn(dir.path(), &[], &[]);
        wait_until("initdb", Duration::from_secs(10), || unfinished() > 0);
        std::thread::sleep(Duration::from_millis(pause));
        owner.kill();
        assert!(
            pause > 50 || !dir.path().join("postgres").exists(),
            "killed too late"
        );
        let server = start(dir.path()).await;
        assert_eq!(number(&server, "select 1::bigint").await, 1);
        server.stop().await;
        // Programs of the killed process may have needed a moment more; the next start is never in their way.
        start(dir.path()).await.stop().await;
        assert_eq!(unfinished(), 0);
    }
}
