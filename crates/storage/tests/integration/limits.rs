//! A full disk and a small memory.

use std::fs;
use std::io::{Seek, Write};
use std::path::Path;
use std::process::Command;

use futures::TryStreamExt;
use sha2::{Digest, Sha256};
use storage::{Bucket, Content, EmbeddedStore, Storage};

use crate::support::{Subject, config, files, keys, options, put, read};

const MEGABYTE: usize = 1024 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_and_keeps_what_it_has() {
    let dir = tempfile::tempdir().expect("a directory");
    let Some(_mount) = SmallDisk::mount(dir.path()) else {
        return;
    };
    let store = EmbeddedStore::start(options(dir.path()))
        .await
        .expect("the store starts");
    let storage = Storage::embedded(&config(), &store).expect("a client");
    storage.ensure_buckets().await.expect("buckets");
    put(&storage, Bucket::Clean, "small", b"small")
        .await
        .expect("stored");

    let full = put(&storage, Bucket::Clean, "large", &vec![1; 12 * MEGABYTE])
        .await
        .expect_err("the disk is full");
    assert!(full.is_transient(), "{full}");
    let replaced = put(&storage, Bucket::Clean, "small", &vec![1; 12 * MEGABYTE])
        .await
        .expect_err("still full");
    assert!(replaced.is_transient(), "{replaced}");

    assert_eq!(keys(&storage, Bucket::Clean, "").await, ["small"]);
    assert_eq!(
        read(&storage, Bucket::Clean, "small").await.expect("readable"),
        "small"
    );
    assert!(files(&dir.path().join("objects/incoming")).is_empty());
    put(&storage, Bucket::Clean, "fits", &vec![1; 4 * MEGABYTE])
        .await
        .expect("there is space again");
    store.stop().await;
}

/// Eight megabytes, unmounted when dropped. Only root can have one.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    fn mount(path: &'a Path) -> Option<Self> {
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"])
            .arg(path)
            .output();
        mount
            .is_ok_and(|done| done.status.success())
            .then_some(Self(path))
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_objects_pass_through_a_small_memory() {
    const SIZE: usize = 200 * MEGABYTE;
    let subject = Subject::embedded().await;
    let mut file = tempfile::tempfile().expect("a file");
    let mut hash = Sha256::new();
    for n in 0..SIZE / MEGABYTE {
        let piece = vec![u8::try_from(n).expect("a byte"); MEGABYTE];
        file.write_all(&piece).expect("written");
        hash.update(&piece);
    }
    file.rewind().expect("rewound");
    let sha256 = <[u8; 32]>::from(hash.finalize());
    put(&subject.storage, Bucket::Clean, "warm", b"x")
        .await
        .expect("stored");

    reset_peak();
    let before = peak_kilobytes();
    let content = Content::file(file).expect("content");
    subject
        .storage
        .put(Bucket::Clean, "large", &content, "video/mp4", &sha256)
        .await
        .expect("stored");
    let object = subject
        .storage
        .get_stream(Bucket::Clean, "large", None)
        .await
        .expect("it is there");
    let mut hash = Sha256::new();
    let read = object.body.try_fold(0, |read, piece| {
        hash.update(&piece);
        std::future::ready(Ok(read + piece.len()))
    });
    assert_eq!(read.await.expect("readable"), SIZE);
    assert_eq!(<[u8; 32]>::from(hash.finalize()), sha256);
    let grown = peak_kilobytes() - before;
    assert!(grown < 50 * 1024, "{grown} kB more memory");
}

/// Starts the measurement of the peak anew.
fn reset_peak() {
    fs::write("/proc/self/clear_refs", "5").expect("Linux");
}

/// The largest amount of memory in use since the last reset.
fn peak_kilobytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .expect("a peak");
    line.trim()
        .trim_end_matches(" kB")
        .trim()
        .parse()
        .expect("a number")
}
