use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use embedded_pg::{EmbeddedPg, Options, StartError};
use tempfile::TempDir;

use crate::support::{Owner, is_root, number, quick, start};

async fn refused(options: Options) -> StartError {
    let error = EmbeddedPg::start(options).await.expect_err("it must be refused");
    assert_eq!(error.to_string().lines().count(), 1, "{error}");
    error
}

#[tokio::test]
async fn a_cluster_of_a_newer_version_is_left_alone() {
    let dir = TempDir::new().expect("a directory");
    start(dir.path()).await.stop().await;
    let version = dir.path().join("postgres/PG_VERSION");
    let original = fs::read_to_string(&version).expect("a version");
    fs::write(&version, "99\n").expect("a newer version");
    let error = refused(quick(dir.path())).await;
    assert!(
        matches!(error, StartError::NewerCluster { cluster: 99, .. }),
        "{error}"
    );
    fs::write(&version, "9\n").expect("an older version");
    let error = refused(quick(dir.path())).await;
    assert!(
        matches!(error, StartError::OlderCluster { cluster: 9, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("pg_upgrade"), "{error}");
    fs::write(&version, original).expect("its version");
    start(dir.path()).await.stop().await;
}

#[tokio::test]
async fn somebody_elses_directory_is_left_alone() {
    let dir = TempDir::new().expect("a directory");
    let foreign = dir.path().join("postgres");
    fs::create_dir(&foreign).expect("a directory");
    fs::write(foreign.join("notes.txt"), "mine").expect("a file");
    let error = refused(quick(dir.path())).await;
    assert!(matches!(error, StartError::Foreign { .. }), "{error}");
    fs::write(foreign.join("PG_VERSION"), "15\n").expect("a file");
    let error = refused(quick(dir.path())).await;
    assert!(
        matches!(error, StartError::Foreign { .. }),
        "a cluster we did not create: {error}"
    );
    assert_eq!(
        fs::read_to_string(foreign.join("notes.txt")).expect("untouched"),
        "mine"
    );
}

/// A directory whose `postgres` program claims to be `version`.
fn fake_binaries(version: &str) -> TempDir {
    let dir = TempDir::new().expect("a directory");
    for name in ["postgres", "initdb"] {
        let program = dir.path().join(name);
        fs::write(
            &program,
            format!("#!/bin/sh\necho 'postgres (PostgreSQL) {version}'\n"),
        )
        .expect("a program");
        fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).expect("executable");
    }
    dir
}

#[tokio::test]
async fn missing_and_old_binaries_are_named() {
    let dir = TempDir::new().expect("a directory");
    let with = |bin_dir: &Path| Options {
        bin_dir: Some(bin_dir.to_owned()),
        ..quick(dir.path())
    };
    let error = refused(with(Path::new("/nowhere"))).await;
    assert!(matches!(error, StartError::NotIn { .. }), "{error}");
    let old = fake_binaries("14.9");
    let error = refused(with(old.path())).await;
    assert!(
        matches!(&error, StartError::TooOld { found, .. } if found == "14.9"),
        "{error}"
    );
    assert!(!dir.path().join("postgres").exists());
}

#[tokio::test]
async fn the_binaries_of_the_environment_are_used() {
    let (dir, old) = (TempDir::new().expect("a directory"), fake_binaries("14.9"));
    let bin_dir = old.path().to_str().expect("UTF-8");
    let owner = Owner::spawn(dir.path(), &[], &[("ALLY360_PG_BIN", bin_dir)]);
    let outcome = owner.outcome();
    assert!(
        outcome.contains(&format!(
            "PostgreSQL 14.9 in {bin_dir} is too old, 15 or later is needed"
        )),
        "{outcome}"
    );
}

#[tokio::test]
async fn a_wrong_setting_is_quoted_from_the_log() {
    let dir = TempDir::new().expect("a directory");
    let settings = vec![("no_such_setting".to_owned(), "1".to_owned())];
    let error = refused(Options {
        settings,
        ..quick(dir.path())
    })
    .await;
    assert!(matches!(error, StartError::Exited { .. }), "{error}");
    assert!(error.to_string().contains("no_such_setting"), "{error}");
    assert!(error.to_string().contains("postgres.log"), "{error}");
    // A failed start holds nothing.
    start(dir.path()).await.stop().await;
}

#[tokio::test]
async fn a_place_without_permission_is_named() {
    let error = refused(quick(Path::new("/proc/ally360/data"))).await;
    assert!(error.to_string().contains("/proc/ally360"), "{error}");
    let error = refused(quick(Path::new("/dev/null/data"))).await;
    assert!(error.to_string().contains("/dev/null"), "{error}");
}

/// A command line that mounts a file system of its own on `dir` for what follows.
fn with_mount<'a>(script: &'a str, dir: &'a Path) -> Vec<&'a str> {
    vec![
        "unshare",
        "--mount",
        "sh",
        "-c",
        script,
        dir.to_str().expect("UTF-8"),
    ]
}

#[tokio::test]
async fn a_read_only_disk_is_named() {
    if !is_root() {
        return;
    }
    let dir = TempDir::new().expect("a directory");
    let script = r#"mount -t tmpfs -o ro tmpfs "$0" && exec "$@""#;
    let outcome = Owner::spawn(dir.path(), &with_mount(script, dir.path()), &[]).outcome();
    assert!(outcome.contains("is on a read-only file system"), "{outcome}");
}

#[tokio::test]
async fn a_full_disk_is_named_and_leaves_nothing() {
    if !is_root() {
        return;
    }
    let dir = TempDir::new().expect("a directory");
    let script = r#"mount -t tmpfs -o size=20m,mode=711 tmpfs "$0" && exec "$@""#;
    let owner = Owner::spawn(dir.path(), &with_mount(script, dir.path()), &[]);
    let outcome = owner.outcome();
    assert!(outcome.contains("is full"), "{outcome}");

    // An existing cluster whose disk is full.
    start(dir.path()).await.stop().await;
    let script = r#"size=$(($(du -sk "$0" | cut -f1) + 40))
        mkdir /tmp/ally360-copy-$$ && mount -t tmpfs tmpfs /tmp/ally360-copy-$$ && cp -a "$0/." /tmp/ally360-copy-$$ &&
        mount -t tmpfs -o size=${size}k,mode=711 tmpfs "$0" && cp -a /tmp/ally360-copy-$$/. "$0" &&
        umount /tmp/ally360-copy-$$ && rmdir /tmp/ally360-copy-$$
        dd if=/dev/zero of="$0/ballast" bs=4k 2>/dev/null; exec "$@""#;
    let outcome = Owner::spawn(dir.path(), &with_mount(script, dir.path()), &[]).outcome();
    assert!(outcome.contains("is full"), "{outcome}");
    let server = start(dir.path()).await;
    assert_eq!(number(&server, "select 1::bigint").await, 1);
    server.stop().await;
}
