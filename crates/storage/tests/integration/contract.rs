//! What jobs do with the store.

use std::io::Write;

use futures::stream::{self, StreamExt, TryStreamExt};
use storage::{Bucket, Content, Error};

use crate::support::{Subject, keys, put, read, sha256};

crate::against_every_store!(
    an_object_is_stored_read_and_deleted,
    content_comes_from_files_of_any_size,
    the_wrong_checksum_is_refused,
    reading_is_bound_to_an_etag,
    lists_come_in_pages,
    keys_are_only_names,
    parallel_uploads_leave_one_whole_object,
    readers_see_whole_objects_while_they_are_replaced,
    buckets_are_created_once,
);

async fn an_object_is_stored_read_and_deleted(subject: &Subject) {
    let storage = &subject.storage;
    for bucket in [Bucket::Clean, Bucket::Quarantine] {
        let missing = read(storage, bucket, "a/b").await;
        assert!(matches!(missing, Err(Error::NotFound)), "{missing:?}");
        let etag = put(storage, bucket, "a/b", b"one").await.expect("stored");
        let info = storage.head(bucket, "a/b").await.expect("it is there");
        assert_eq!(
            (info.size, info.etag, info.content_type.as_deref()),
            (3, etag, Some("text/plain"))
        );
        put(storage, bucket, "a/b", b"other").await.expect("replaced");
        assert_eq!(read(storage, bucket, "a/b").await.expect("readable"), "other");
        storage.delete(bucket, "a/b").await.expect("deleted");
        storage.delete(bucket, "a/b").await.expect("as good as deleted");
        let deleted = storage.head(bucket, "a/b").await;
        assert!(matches!(deleted, Err(Error::NotFound)), "{deleted:?}");
    }
}

async fn content_comes_from_files_of_any_size(subject: &Subject) {
    for size in [0, 1, 256 * 1024, 3_000_000] {
        let bytes: Vec<u8> = (0..size).map(|n: u32| n.to_le_bytes()[n as usize % 3]).collect();
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(&bytes).expect("written");
        let content = Content::file(file).expect("content");
        let key = format!("size/{size}");
        let stored = subject
            .storage
            .put(Bucket::Clean, &key, &content, "image/png", &sha256(&bytes))
            .await;
        stored.expect("stored");
        assert!(
            read(&subject.storage, Bucket::Clean, &key)
                .await
                .expect("readable")
                == bytes,
            "{size} bytes"
        );
    }
}

async fn the_wrong_checksum_is_refused(subject: &Subject) {
    let refused = subject
        .storage
        .put(
            Bucket::Clean,
            "sum",
            &Content::bytes("x"),
            "text/plain",
            &sha256(b"y"),
        )
        .await;
    assert!(
        matches!(refused, Err(Error::Refused { status: 400, .. })),
        "{refused:?}"
    );
}

async fn reading_is_bound_to_an_etag(subject: &Subject) {
    let storage = &subject.storage;
    let scanned = put(storage, Bucket::Quarantine, "q", b"clean")
        .await
        .expect("stored");
    let same = storage.get_stream(Bucket::Quarantine, "q", Some(&scanned)).await;
    assert_eq!(same.map(|object| object.info.etag).ok(), Some(scanned.clone()));
    put(storage, Bucket::Quarantine, "q", b"dirty")
        .await
        .expect("replaced");
    if !subject.is_sample() {
        let changed = storage
            .get_stream(Bucket::Quarantine, "q", Some(&scanned))
            .await
            .map(|object| object.info);
        assert!(matches!(changed, Err(Error::PreconditionFailed)), "{changed:?}");
    }
}

async fn lists_come_in_pages(subject: &Subject) {
    let storage = &subject.storage;
    let stored = stream::iter(0..1500)
        .map(|n| async move { put(storage, Bucket::Clean, &format!("tenant/{n:04}"), &[b'x'; 3]).await });
    stored
        .buffer_unordered(32)
        .try_collect::<Vec<_>>()
        .await
        .expect("stored");
    put(storage, Bucket::Clean, "tenanu", b"x").await.expect("stored");

    let first = storage
        .list(Bucket::Clean, "tenant/", None)
        .await
        .expect("a page");
    assert_eq!(first.objects.len(), 1000);
    assert!(first.continuation.is_some());
    assert_eq!(first.objects[7].key, "tenant/0007");
    assert_eq!(first.objects[7].size, 3);
    let expected: Vec<_> = (0..1500).map(|n| format!("tenant/{n:04}")).collect();
    assert_eq!(keys(storage, Bucket::Clean, "tenant/").await, expected);
    assert_eq!(keys(storage, Bucket::Clean, "").await.len(), 1501);
    assert!(keys(storage, Bucket::Clean, "nobody/").await.is_empty());
    assert!(keys(storage, Bucket::Quarantine, "").await.is_empty());
}

async fn keys_are_only_names(subject: &Subject) {
    let storage = &subject.storage;
    let long = vec!["ñ".repeat(100); 5].join("/");
    assert!(long.len() > 1000);
    let names = [
        "with space",
        "ñandú/日本/🧾",
        "a+b&c=d",
        "50%25",
        "q?x#y",
        "..a/b..",
        "~!*'();:@$,[]",
    ];
    let long = Some(&*long).filter(|_| !subject.is_sample());
    let mut names: Vec<&str> = names.into_iter().chain(long).collect();
    for name in &names {
        put(storage, Bucket::Clean, name, name.as_bytes())
            .await
            .expect(name);
    }
    for name in &names {
        assert_eq!(read(storage, Bucket::Clean, name).await.expect(name), *name);
    }
    if !subject.is_sample() {
        names.sort_unstable();
        assert_eq!(keys(storage, Bucket::Clean, "").await, names);
    }
    for name in ["../../../../tmp/escaped", "a/../b", "", "."] {
        let refused = put(storage, Bucket::Clean, name, b"x").await;
        assert!(
            matches!(refused, Err(Error::InvalidKey(_))),
            "{name}: {refused:?}"
        );
    }
}

async fn parallel_uploads_leave_one_whole_object(subject: &Subject) {
    let storage = &subject.storage;
    let body = |n: u8| vec![n; 200_000 + usize::from(n)];
    let uploads = (0..32).map(|n| async move { put(storage, Bucket::Clean, "same", &body(n)).await });
    let done = futures::future::join_all(uploads).await;
    assert!(done.iter().all(Result::is_ok), "{done:?}");
    let info = storage.head(Bucket::Clean, "same").await.expect("it is there");
    let stored = read(storage, Bucket::Clean, "same").await.expect("readable");
    assert!(stored == body(stored[0]), "a mixture of {} bytes", stored.len());
    if !subject.is_sample() {
        assert_eq!(done[usize::from(stored[0])].as_ref().ok(), Some(&info.etag));
    }
    let listed = storage
        .list(Bucket::Clean, "", None)
        .await
        .expect("a page")
        .objects;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].size, info.size);
}

async fn readers_see_whole_objects_while_they_are_replaced(subject: &Subject) {
    if subject.is_sample() {
        return;
    }
    let storage = &subject.storage;
    let body = |n: u8| vec![n; 4_000_000 + usize::from(n)];
    put(storage, Bucket::Clean, "busy", &body(0))
        .await
        .expect("stored");
    let writer = async {
        for n in 1..=20 {
            put(storage, Bucket::Clean, "busy", &body(n))
                .await
                .expect("replaced");
        }
    };
    let reader = async {
        let mut whole = 0;
        while whole < 20 {
            match read(storage, Bucket::Clean, "busy").await {
                Ok(seen) => {
                    assert!(seen == body(seen[0]), "a mixture of {} bytes", seen.len());
                    whole += 1;
                }
                // Garage may take away what is replaced while it is read. The reader is told, and asks again.
                Err(Error::Unavailable(_)) if subject.embedded.is_none() => {}
                Err(error) => panic!("{error}"),
            }
        }
    };
    tokio::join!(writer, reader);
}

async fn buckets_are_created_once(subject: &Subject) {
    put(&subject.storage, Bucket::Clean, "kept", b"x")
        .await
        .expect("stored");
    let again = futures::future::join_all((0..4).map(|_| subject.storage.ensure_buckets())).await;
    assert!(again.iter().all(Result::is_ok), "{again:?}");
    assert_eq!(keys(&subject.storage, Bucket::Clean, "").await, ["kept"]);
}
