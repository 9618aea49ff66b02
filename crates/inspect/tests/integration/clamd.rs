//! The real clamd, with a signature database of two lines.

use std::time::{Duration, Instant};

use inspect::{InspectConfig, Inspector, Verdict, reason};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::daemon::{Daemon, MALWARE};
use crate::zip::Zip;
use crate::{assert_clean, assert_rejected, corpus, inspect, on_disk, verdict_of};

fn config(daemon: &Daemon) -> InspectConfig {
    InspectConfig {
        clamd_address: Some(daemon.address()),
        clamd_timeout_seconds: 30,
        ..InspectConfig::default()
    }
}

fn inspector(daemon: &Daemon) -> Inspector {
    Inspector::new(&config(daemon)).expect("settings")
}

#[tokio::test]
async fn clean_and_infected_files_are_told_apart() {
    let Some(daemon) = Daemon::start("") else { return };
    let inspector = inspector(&daemon);
    let scanner = inspector.scanner().await.expect("a version").name;
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
    let inspector = inspector(&daemon);
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
        let verdict = verdict_of(&inspector(&daemon), &text, "text/plain", "a.txt").await;
        assert_rejected(&verdict, reason::UNSCANNABLE, "beyond StreamMaxLength");
    }
    let config = InspectConfig {
        clamd_max_bytes: 1_000_000,
        ..config(&daemon)
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
    let verdict = verdict_of(&inspector(&daemon), &vec![b'x'; 500_000], "text/plain", "a.txt").await;
    assert_rejected(&verdict, reason::UNSCANNABLE, "beyond MaxFileSize");
}

#[tokio::test]
async fn without_clamd_there_is_no_verdict() {
    let Some(mut daemon) = Daemon::start("") else {
        return;
    };
    let config = InspectConfig {
        clamd_timeout_seconds: 2,
        ..config(&daemon)
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
    daemon.kill();
    inspector
        .inspect(file.path(), "text/plain", "a.txt")
        .await
        .expect_err("gone");
    inspector.scanner().await.expect_err("gone");
    daemon.restart();
    inspector.scanner().await.expect("back");
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
