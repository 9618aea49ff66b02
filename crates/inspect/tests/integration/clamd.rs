//! The real clamd, with a signature database of two lines.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use inspect::{InspectConfig, Inspector, Verdict, reason};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::zip::Zip;
use crate::{assert_clean, assert_rejected, corpus, find_command, inspect, on_disk, verdict_of};

const MALWARE: &[u8] = b"ally360 test malware";

/// A clamd of this test; ends when dropped.
struct Daemon {
    directory: TempDir,
    process: Child,
}

impl Daemon {
    /// `None` without clamd on this host, which only continuous integration takes for an error.
    fn start(settings: &str) -> Option<Self> {
        let Some(command) = find_command("clamd") else {
            assert!(
                std::env::var_os("CI").is_none(),
                "clamd not found: install the Debian package clamav-daemon"
            );
            eprintln!("skipped: clamd not found (Debian package clamav-daemon)");
            return None;
        };
        let directory = TempDir::with_prefix("clamd").expect("a directory");
        let path = directory.path();
        let hex: String = MALWARE.iter().map(|byte| format!("{byte:02x}")).collect();
        std::fs::write(path.join("test.ndb"), format!("Ally360.Test:0:*:{hex}\n")).expect("written");
        let config = format!(
            "Foreground yes\nLocalSocket {0}/socket\nDatabaseDirectory {0}\nAlertExceedsMax yes\nAlertEncrypted yes\n{settings}",
            path.display()
        );
        std::fs::write(path.join("clamd.conf"), config).expect("written");
        let process = Command::new(command)
            .arg(format!("--config-file={}/clamd.conf", path.display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("clamd starts");
        let daemon = Self { directory, process };
        let deadline = Instant::now() + Duration::from_secs(30);
        while std::os::unix::net::UnixStream::connect(daemon.socket()).is_err() {
            assert!(Instant::now() < deadline, "clamd listens within 30 s");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(daemon)
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    fn config(&self) -> InspectConfig {
        InspectConfig {
            clamd_address: Some(format!("unix:{}", self.socket().display())),
            clamd_timeout_seconds: 30,
            ..InspectConfig::default()
        }
    }

    fn inspector(&self) -> Inspector {
        Inspector::new(&self.config()).expect("settings")
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).expect("own child");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

#[tokio::test]
async fn clean_and_infected_files_are_told_apart() {
    let Some(daemon) = Daemon::start("") else { return };
    let inspector = daemon.inspector();
    let scanner = inspector.scanner().await.expect("a version");
    assert!(
        scanner.starts_with("clamd 1.") || scanner.starts_with("clamd 0."),
        "{scanner}"
    );
    for (bytes, declared, name) in corpus::all() {
        let clean = assert_clean(verdict_of(&inspector, &bytes, declared, name).await, name);
        assert_eq!(clean.scanned_by, scanner);
    }
    let infected = Verdict::Infected {
        name: "Ally360.Test.UNOFFICIAL".to_owned(),
    };
    assert_eq!(
        verdict_of(&inspector, MALWARE, "text/plain", "a.txt").await,
        infected
    );
    let zip = Zip::default().deflated("a.txt", MALWARE).build();
    assert_eq!(
        verdict_of(&inspector, &zip, "application/zip", "a.zip").await,
        infected
    );
    // Across the border of two chunks, in the middle of many.
    let split = [&vec![b'x'; 65_536 * 3 - 10], MALWARE, &vec![b'y'; 1_000_000]].concat();
    assert_eq!(
        verdict_of(&inspector, &split, "text/plain", "a.txt").await,
        infected
    );
    assert_clean(
        inspect(MALWARE, "text/plain", "a.txt").await,
        "the built-in check knows no signatures",
    );
}

#[tokio::test]
async fn twenty_files_at_a_time_share_the_connections() {
    let Some(daemon) = Daemon::start("MaxThreads 2\n") else {
        return;
    };
    let inspector = daemon.inspector();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let inspector = inspector.clone();
        tasks.spawn(async move { verdict_of(&inspector, MALWARE, "text/plain", "a.txt").await });
    }
    for verdict in tasks.join_all().await {
        assert!(matches!(verdict, Verdict::Infected { .. }), "{verdict:?}");
    }
}

#[tokio::test]
async fn what_clamd_does_not_look_into_is_not_clean() {
    let Some(daemon) = Daemon::start("StreamMaxLength 1M\n") else {
        return;
    };
    let text = [&vec![b'x'; 3_000_000], MALWARE].concat();
    for _ in 0..10 {
        let verdict = verdict_of(&daemon.inspector(), &text, "text/plain", "a.txt").await;
        assert_rejected(&verdict, reason::UNSCANNABLE, "beyond StreamMaxLength");
    }
    let config = InspectConfig {
        clamd_max_bytes: 1_000_000,
        ..daemon.config()
    };
    let inspector = Inspector::new(&config).expect("settings");
    let verdict = verdict_of(&inspector, &text, "text/plain", "a.txt").await;
    assert_rejected(&verdict, reason::UNSCANNABLE, "beyond CLAMD_MAX_BYTES");
    let noise: Vec<u8> = (0..400_000_u32)
        .flat_map(|i| (i.wrapping_mul(2_654_435_761) >> 16).to_le_bytes())
        .collect();
    let large = Zip::default().deflated("a.dat", &noise).build();
    let verdict = verdict_of(&inspector, &large, "application/zip", "a.zip").await;
    assert_rejected(&verdict, reason::UNSCANNABLE, "an entry beyond CLAMD_MAX_BYTES");
}

#[tokio::test]
async fn limits_that_clamd_reports_are_not_infections() {
    let Some(daemon) = Daemon::start("MaxFileSize 100K\nMaxScanSize 100K\n") else {
        return;
    };
    let verdict = verdict_of(&daemon.inspector(), &vec![b'x'; 500_000], "text/plain", "a.txt").await;
    assert_rejected(&verdict, reason::UNSCANNABLE, "beyond MaxFileSize");
}

#[tokio::test]
async fn without_clamd_there_is_no_verdict() {
    let Some(mut daemon) = Daemon::start("") else {
        return;
    };
    let config = InspectConfig {
        clamd_timeout_seconds: 2,
        ..daemon.config()
    };
    let inspector = Inspector::new(&config).expect("settings");
    let file = on_disk(b"hola");
    let started = Instant::now();
    daemon.signal(Signal::STOP);
    let stalled = inspector
        .inspect(file.path(), "text/plain", "a.txt")
        .await
        .expect_err("no verdict");
    assert!(stalled.to_string().contains("no answer in 2 s"), "{stalled}");
    assert!(started.elapsed() < Duration::from_secs(6));
    daemon.signal(Signal::CONT);
    assert_clean(
        inspector
            .inspect(file.path(), "text/plain", "a.txt")
            .await
            .expect("a verdict"),
        "awake",
    );
    daemon.process.kill().expect("own child");
    daemon.process.wait().expect("own child");
    inspector
        .inspect(file.path(), "text/plain", "a.txt")
        .await
        .expect_err("gone");
    inspector.scanner().await.expect_err("gone");
}

/// A server in place of clamd that answers the version and then whatever it is told to.
#[expect(
    clippy::disallowed_methods,
    reason = "the server ends with the test's runtime"
)]
async fn impostor(reply: &'static [u8]) -> Inspector {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut command = [0; 9];
            connection.read_exact(&mut command).await.ok();
            if &command == b"zVERSION\0" {
                connection
                    .write_all(b"ClamAV 1.4.6/27800/Mon Nov 23 09:00:00 2026\0")
                    .await
                    .ok();
            } else if reply == b"early" {
                connection.write_all(b"stream: OK\0").await.ok();
                tokio::time::sleep(Duration::from_millis(200)).await;
            } else {
                let mut rest = vec![0; "\0".len() + 4 + "hola".len() + 4];
                connection.read_exact(&mut rest).await.ok();
                connection.write_all(reply).await.ok();
            }
        }
    });
    let config = InspectConfig {
        clamd_address: Some(format!("tcp://{address}")),
        ..InspectConfig::default()
    };
    Inspector::new(&config).expect("settings")
}

#[tokio::test]
async fn only_the_exact_reply_counts() {
    let file = on_disk(b"hola");
    for reply in [
        &b""[..],
        b"stream: OK",
        b"OK\0",
        b"stream: Can't open file ERROR\0",
        b"\xff\0",
    ] {
        let inspector = impostor(reply).await;
        inspector
            .inspect(file.path(), "text/plain", "a.txt")
            .await
            .expect_err("no verdict");
    }
    let clean = verdict_of(&impostor(b"stream: OK\0").await, b"hola", "text/plain", "a.txt").await;
    assert_eq!(assert_clean(clean, "over TCP").scanned_by, "clamd 1.4.6/27800");
    let large = on_disk(&vec![b'x'; 20_000_000]);
    let early = impostor(b"early").await;
    early
        .inspect(large.path(), "text/plain", "a.txt")
        .await
        .expect_err("OK before the end");
}
