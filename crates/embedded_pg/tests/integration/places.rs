//! Where the data directory may be, and as whom the server runs there.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use crate::support::{Owner, is_alive, is_root, number, postmaster_pid, start, wait_until};

const NOBODY: u32 = 65_534;
const AS_NOBODY: &[&str] = &[
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--",
];

fn make(path: &Path, mode: u32) {
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("ours");
}

fn status_field(pid: u32, field: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find(|line| line.starts_with(field)).expect(field);
    line[field.len() + 1..].trim().to_owned()
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_works() {
    let dir = TempDir::new().expect("a directory");
    let long = dir.path().join("x".repeat(100)).join("y".repeat(100));
    let server = start(&long).await;
    assert_eq!(number(&server, "select 1::bigint").await, 1);
    let socket_dir = server.socket_dir().to_owned();
    assert!(
        socket_dir.starts_with(std::env::temp_dir()),
        "{}",
        socket_dir.display()
    );
    assert_eq!(
        fs::metadata(&socket_dir).expect("a directory").mode() & 0o777,
        0o700
    );
    server.stop().await;
    let again = start(&long).await;
    assert_eq!(again.socket_dir(), socket_dir, "the same at every start");
    again.stop().await;
    fs::remove_dir(&socket_dir).expect("nothing is left in it");
}

#[tokio::test]
async fn a_path_with_a_comma_and_a_space_works() {
    let dir = TempDir::new().expect("a directory");
    let server = start(&dir.path().join("datos, año 'uno'")).await;
    assert_eq!(number(&server, "select 1::bigint").await, 1);
    let socket_dir = server.socket_dir().to_owned();
    server.stop().await;
    fs::remove_dir(&socket_dir).expect("nothing is left in it");
}

#[tokio::test]
async fn root_runs_the_server_as_another_user_without_privileges() {
    if !is_root() {
        return;
    }
    let dir = TempDir::new().expect("a directory");
    make(dir.path(), 0o700);
    let server = start(&dir.path().join("data")).await;
    // Root's private directory is on the way, which takes CAP_DAC_READ_SEARCH, bit 2, and nothing else.
    let pid = postmaster_pid(&dir.path().join("data"));
    assert!(!status_field(pid, "Uid:").split_whitespace().any(|uid| uid == "0"));
    assert_eq!(status_field(pid, "Groups:"), "");
    assert_eq!(status_field(pid, "CapEff:"), "0000000000000004");
    server.stop().await;

    make(dir.path(), 0o755);
    let server = start(&dir.path().join("data")).await;
    let pid = postmaster_pid(&dir.path().join("data"));
    for set in ["CapEff:", "CapPrm:", "CapInh:", "CapAmb:"] {
        assert_eq!(status_field(pid, set), "0000000000000000", "{set}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_directory_below_roots_home_works_and_dies_with_its_owner() {
    if !is_root() {
        return;
    }
    let home = TempDir::new_in("/root").expect("a directory");
    make(home.path(), 0o700);
    let data_dir = home.path().join("data");
    let server = start(&data_dir).await;
    assert_eq!(number(&server, "select 1::bigint").await, 1);
    server.stop().await;
    let mut owner = Owner::spawn(&data_dir, &[], &[]);
    assert_eq!(owner.outcome(), "started");
    let postmaster = postmaster_pid(&data_dir);
    owner.kill();
    wait_until("the server's end", Duration::from_secs(5), || {
        !is_alive(postmaster)
    });
}

/// Root as containers have it by default: without reading everything and without looking into other processes.
const AS_CONTAINER_ROOT: &[&str] = &["setpriv", "--bounding-set=-dac_read_search,-sys_ptrace", "--"];

#[tokio::test]
async fn root_of_a_container_works_where_the_server_may_go() {
    if !is_root() {
        return;
    }
    let dir = TempDir::new().expect("a directory");
    make(dir.path(), 0o755);
    for _ in 0..2 {
        // The second takes over from the server of the first, whose working directory it cannot see.
        let mut owner = Owner::spawn(dir.path(), AS_CONTAINER_ROOT, &[]);
        assert_eq!(owner.outcome(), "started");
        owner.kill();
    }
    start(dir.path()).await.stop().await;

    make(dir.path(), 0o700);
    let data_dir = dir.path().join("private");
    let outcome = Owner::spawn(&data_dir, AS_CONTAINER_ROOT, &[]).outcome();
    assert!(outcome.contains("cannot reach"), "{outcome}");
}

#[tokio::test]
async fn an_ordinary_user_runs_the_server_and_root_goes_on_with_it() {
    if !is_root() {
        return;
    }
    let dir = TempDir::new().expect("a directory");
    chown(dir.path(), Some(NOBODY), Some(NOBODY)).expect("somebody's directory");
    let mut owner = Owner::spawn(dir.path(), AS_NOBODY, &[]);
    assert_eq!(owner.outcome(), "started");
    let postmaster = postmaster_pid(dir.path());
    assert!(status_field(postmaster, "Uid:").starts_with("65534"));
    owner.kill();
    wait_until("the server's end", Duration::from_secs(5), || {
        !is_alive(postmaster)
    });

    let server = start(dir.path()).await;
    assert_eq!(
        fs::metadata(dir.path().join("postgres"))
            .expect("a cluster")
            .uid(),
        NOBODY
    );
    server.stop().await;
}

#[tokio::test]
async fn another_users_data_is_named_as_such() {
    if !is_root() {
        return;
    }
    let dir = TempDir::new().expect("a directory");
    make(dir.path(), 0o777);
    start(dir.path()).await.stop().await;
    make(&dir.path().join("postgres.lock"), 0o666);
    let outcome = Owner::spawn(dir.path(), AS_NOBODY, &[]).outcome();
    assert!(outcome.contains("belongs to another user (uid "), "{outcome}");
}

#[tokio::test]
async fn a_copy_made_by_root_works() {
    if !is_root() {
        return;
    }
    let dir = TempDir::new().expect("a directory");
    start(dir.path()).await.stop().await;
    give_to_root(&dir.path().join("postgres"));
    let server = start(dir.path()).await;
    assert_eq!(number(&server, "select 1::bigint").await, 1);
    server.stop().await;
}

fn give_to_root(path: &Path) {
    if path.is_dir() {
        for entry in fs::read_dir(path).expect("a directory") {
            give_to_root(&entry.expect("an entry").path());
        }
    }
    chown(path, Some(0), Some(0)).expect("root may");
}
