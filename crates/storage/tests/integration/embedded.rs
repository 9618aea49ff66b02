//! What only the embedded store promises.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::Method;
use storage::{
    Arrival, Bucket, EmbeddedStore, Error, GetOptions, Presigned, StartError, Storage, StorageConfig,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tracing_subscriber::fmt::MakeWriter;

use crate::support::{Subject, conditions, config, directory, files, keys, options, put, read, send};

#[tokio::test]
async fn browsers_may_upload_from_any_origin() {
    let subject = Subject::embedded().await;
    let presigned = subject
        .storage
        .presign_put("k", &conditions(b"x"))
        .expect("a URL");
    let client = reqwest::Client::new();
    let preflight = client
        .request(Method::OPTIONS, &presigned.url)
        .header("origin", "https://shop.example.com")
        .header("access-control-request-method", "PUT")
        .header(
            "access-control-request-headers",
            "content-type,if-none-match,x-amz-checksum-sha256",
        );
    let answer = preflight.send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["access-control-allow-origin"], "*");
    assert!(
        answer.headers()["access-control-allow-methods"]
            .to_str()
            .expect("text")
            .contains("PUT")
    );
    assert_eq!(answer.headers()["access-control-allow-headers"], "*");

    let answer = send(&presigned, "x").await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["access-control-allow-origin"], "*");
    assert!(
        answer.headers()["access-control-expose-headers"]
            .to_str()
            .expect("text")
            .contains("etag")
    );
}

#[tokio::test]
async fn what_users_stored_cannot_run() {
    let subject = Subject::embedded().await;
    put(&subject.storage, Bucket::Clean, "page", b"<script>")
        .await
        .expect("stored");
    let options = GetOptions {
        expires: Duration::from_mins(1),
        ..GetOptions::default()
    };
    let answer = send(&subject.storage.presign_get("page", &options).expect("a URL"), "").await;
    assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
    assert_eq!(
        answer.headers()["content-security-policy"],
        "sandbox; default-src 'none'"
    );
}

#[tokio::test]
async fn nothing_is_served_without_a_signature() {
    let subject = Subject::embedded().await;
    put(&subject.storage, Bucket::Clean, "k", b"x")
        .await
        .expect("stored");
    let client = reqwest::Client::new();
    let url = |path: &str| format!("{}{path}", subject.endpoint());
    for path in ["/", "/ally360", "/ally360/k", "/ally360?list-type=2"] {
        let status = client.get(url(path)).send().await.expect("an answer").status();
        assert_eq!(status, 403, "{path}");
    }
    assert_eq!(
        client
            .put(url("/ally360/new"))
            .body("x")
            .send()
            .await
            .expect("an answer")
            .status(),
        403
    );
    assert_eq!(
        client
            .delete(url("/ally360/k"))
            .send()
            .await
            .expect("an answer")
            .status(),
        403
    );
    let form = client
        .post(url("/ally360"))
        .header("content-type", "multipart/form-data; boundary=b")
        .body("--b");
    assert_eq!(form.send().await.expect("an answer").status(), 405);

    let addr = subject.store().addr();
    let stranger = StorageConfig {
        minio_host: Some(addr.to_string()),
        minio_access_key: subject.store().credentials().access_key.clone(),
        minio_secret_key: "guessed".to_owned(),
        ..config()
    };
    let stranger = Storage::external(&stranger).expect("a client");
    let refused = read(&stranger, Bucket::Clean, "k").await;
    assert!(matches!(refused, Err(Error::Denied(_))), "{refused:?}");
}

#[tokio::test]
async fn paths_that_climb_reach_nothing() {
    let subject = Subject::embedded().await;
    let before = files(subject.dir.path()).len();
    for path in [
        "/ally360/../../../escaped",
        "/ally360/..%2f..%2fescaped",
        "/..%2fescaped/k",
        "/%2e%2e/escaped",
    ] {
        let mut stream = TcpStream::connect(subject.store().addr())
            .await
            .expect("a connection");
        let request =
            format!("PUT {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\nconnection: close\r\n\r\nx");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 4"), "{path}: {answer}");
    }
    assert_eq!(files(subject.dir.path()).len(), before);
}

#[tokio::test]
async fn arrivals_are_told() {
    let subject = Subject::embedded().await;
    let mut arrivals = subject.store().subscribe();
    let presigned = subject
        .storage
        .presign_put("t/f", &conditions(b"hello"))
        .expect("a URL");
    assert_eq!(send(&presigned, "hallo").await.status(), 400);
    assert_eq!(send(&presigned, "hello").await.status(), 200);
    let etag = subject
        .storage
        .head(Bucket::Quarantine, "t/f")
        .await
        .expect("it is there")
        .etag;
    let bucket = "ally360-quarantine".to_owned();
    let arrival = arrivals.recv().await.expect("an arrival");
    assert_eq!(
        arrival,
        Arrival {
            bucket,
            key: "t/f".to_owned(),
            size: 5,
            etag
        }
    );
    assert!(arrivals.try_recv().is_err(), "refused uploads do not arrive");
}

#[tokio::test]
async fn a_restart_keeps_objects_and_credentials() {
    let subject = Subject::embedded().await;
    put(&subject.storage, Bucket::Clean, "kept", b"x")
        .await
        .expect("stored");
    put(&subject.storage, Bucket::Clean, "dropped", b"x")
        .await
        .expect("stored");
    subject
        .storage
        .delete(Bucket::Clean, "dropped")
        .await
        .expect("deleted");
    let before = subject.store().credentials().clone();

    let second = EmbeddedStore::start(options(subject.dir.path())).await;
    assert!(
        matches!(second, Err(StartError::InUse(_))),
        "two processes on one directory"
    );

    let Subject { embedded, dir, .. } = subject;
    embedded.expect("the embedded store").stop().await;
    let objects = dir.path().join("objects");
    let mode = |path| fs::metadata(path).expect("metadata").permissions().mode() & 0o777;
    assert_eq!(mode(objects.clone()), 0o700);
    assert_eq!(mode(objects.join("credentials.json")), 0o600);

    // What a crash may leave: an upload under way and, on file systems without order, a torn file.
    fs::write(objects.join("incoming/half"), "half").expect("written");
    let torn = objects.join("buckets/ally360/00/00");
    fs::create_dir_all(&torn).expect("a directory");
    fs::write(torn.join("0000"), "torn").expect("written");

    let store = EmbeddedStore::start(options(dir.path()))
        .await
        .expect("it starts again");
    assert_eq!(*store.credentials(), before);
    let storage = Storage::embedded(&config(), &store).expect("a client");
    assert_eq!(keys(&storage, Bucket::Clean, "").await, ["kept"]);
    assert_eq!(
        read(&storage, Bucket::Clean, "kept").await.expect("readable"),
        "x"
    );
    assert!(files(&objects.join("incoming")).is_empty());
}

#[tokio::test]
async fn two_data_directories_have_two_key_pairs() {
    let (one, other) = (Subject::embedded().await, Subject::embedded().await);
    assert_ne!(one.store().credentials(), other.store().credentials());
    assert!(!format!("{:?}", one.store()).contains(&one.store().credentials().secret_key));
}

/// Sends the beginning of an upload.
async fn begin(subject: &Subject, presigned: &Presigned, bytes: &[u8]) -> TcpStream {
    let path = presigned
        .url
        .strip_prefix(&subject.endpoint())
        .expect("our address");
    let addr = subject.store().addr();
    let mut head = format!("PUT {path} HTTP/1.1\r\nhost: {addr}\r\n");
    for (name, value) in &presigned.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let mut stream = TcpStream::connect(addr).await.expect("a connection");
    stream
        .write_all(format!("{head}\r\n").as_bytes())
        .await
        .expect("sent");
    stream.write_all(bytes).await.expect("sent");
    stream
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_nothing() {
    let subject = Subject::embedded().await;
    let presigned = subject
        .storage
        .presign_put("half", &conditions(&[b'x'; 100_000]))
        .expect("a URL");
    let stream = begin(&subject, &presigned, &[b'x'; 50_000]).await;
    let incoming = subject.dir.path().join("objects/incoming");
    until(|| files(&incoming).len() == 1).await;
    drop(stream);
    until(|| files(&incoming).is_empty()).await;
    assert!(keys(&subject.storage, Bucket::Quarantine, "").await.is_empty());
}

/// A client sends the whole file before it looks for an answer, and goes on with the same connection.
#[tokio::test]
async fn a_refused_upload_is_told_why_and_the_connection_goes_on() {
    let subject = Subject::embedded().await;
    let addr = subject.store().addr();
    let mut stream = TcpStream::connect(addr).await.expect("a connection");
    let body = vec![b'x'; 3_000_000];
    for method in ["PUT", "POST", "PUT"] {
        let head = format!(
            "{method} /ally360-quarantine/a HTTP/1.1\r\nhost: {addr}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.expect("sent");
        // An answer that does not wait would be out by now, and the connection closed.
        tokio::time::sleep(Duration::from_millis(300)).await;
        stream.write_all(&body).await.expect("sent");
        let mut answer = Vec::new();
        while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
            assert!(
                stream.read_buf(&mut answer).await.expect("an answer") > 0,
                "closed"
            );
        }
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let expected = if method == "PUT" {
            "HTTP/1.1 403"
        } else {
            "HTTP/1.1 405"
        };
        assert!(
            answer.starts_with(expected) && !answer.contains("connection: close"),
            "{answer}"
        );
        let length: usize = answer
            .split("content-length: ")
            .nth(1)
            .and_then(|rest| rest.split("\r\n").next())
            .map_or(0, |length| length.parse().expect("a number"));
        let (_, read) = answer.split_once("\r\n\r\n").expect("a head");
        let mut rest = vec![0; length - read.len()];
        stream.read_exact(&mut rest).await.expect("the reason");
    }
    // Whoever asks first is told at once, and sends nothing.
    let head = format!(
        "PUT /ally360-quarantine/a HTTP/1.1\r\nhost: {addr}\r\nexpect: 100-continue\r\ncontent-length: 9\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .await
        .expect("closed after the answer");
    assert!(
        answer.starts_with("HTTP/1.1 403") && answer.contains("connection: close"),
        "{answer}"
    );
}

#[tokio::test]
async fn large_objects_are_refused_at_once() {
    let dir = directory();
    let mut options = options(dir.path());
    options.max_object_bytes = 10;
    let store = EmbeddedStore::start(options).await.expect("the store starts");
    let storage = Storage::embedded(&config(), &store).expect("a client");
    storage.ensure_buckets().await.expect("buckets");
    put(&storage, Bucket::Clean, "fits", &[0; 10])
        .await
        .expect("stored");
    let refused = put(&storage, Bucket::Clean, "large", &[0; 11]).await;
    assert!(
        matches!(&refused, Err(Error::Refused { code, .. }) if code == "EntityTooLarge"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn uploads_have_a_limit_of_their_own() {
    let dir = directory();
    let mut options = options(dir.path());
    options.max_upload_bytes = 10;
    let store = EmbeddedStore::start(options).await.expect("the store starts");
    let storage = Storage::embedded(&config(), &store).expect("a client");
    storage.ensure_buckets().await.expect("buckets");
    put(&storage, Bucket::Quarantine, "fits", &[0; 10])
        .await
        .expect("stored");
    let refused = put(&storage, Bucket::Quarantine, "large", &[0; 11]).await;
    assert!(
        matches!(&refused, Err(Error::Refused { code, .. }) if code == "EntityTooLarge"),
        "{refused:?}"
    );
    put(&storage, Bucket::Clean, "large", &[0; 11])
        .await
        .expect("what a worker stores is no upload");
}

#[tokio::test]
async fn a_store_that_is_gone_is_unavailable() {
    let subject = Subject::embedded().await;
    let Subject {
        storage, embedded, ..
    } = subject;
    embedded.expect("the embedded store").stop().await;
    let error = storage
        .head(Bucket::Clean, "k")
        .await
        .expect_err("nobody listens");
    assert!(error.is_transient(), "{error}");
    assert!(!error.to_string().contains("Signature"), "{error}");
}

#[tokio::test]
async fn a_server_without_tls_is_unavailable_over_tls() {
    let subject = Subject::embedded().await;
    let config = StorageConfig {
        minio_host: Some(subject.store().addr().to_string()),
        minio_access_key: "a".to_owned(),
        minio_secret_key: "s".to_owned(),
        minio_use_ssl: true,
        ..config()
    };
    let storage = Storage::external(&config).expect("a client");
    let error = storage.head(Bucket::Clean, "k").await.expect_err("no TLS there");
    assert!(error.is_transient(), "{error}");
}

#[tokio::test]
async fn the_public_address_is_the_one_signed() {
    let subject = Subject::embedded().await;
    let addr = subject.store().addr();
    let config = StorageConfig {
        minio_public_host: Some("localhost".to_owned()),
        minio_public_port: Some(addr.port()),
        ..config()
    };
    let storage = Storage::embedded(&config, subject.store()).expect("a client");
    let presigned = storage.presign_put("public", &conditions(b"x")).expect("a URL");
    assert!(
        presigned
            .url
            .starts_with(&format!("http://localhost:{}/", addr.port()))
    );
    let elsewhere = presigned.url.replacen("localhost", "127.0.0.1", 1);
    let elsewhere = storage::Presigned {
        url: elsewhere,
        ..presigned.clone()
    };
    assert_eq!(send(&elsewhere, "x").await.status(), 403, "the host is signed");
    assert_eq!(send(&presigned, "x").await.status(), 200);
}

async fn until(condition: impl Fn() -> bool) {
    for _ in 0..500 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it took longer than five seconds");
}

#[test]
fn logs_carry_no_signature() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(log.clone())
        .finish();
    // One thread, so that its default subscriber sees everything.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    tracing::subscriber::with_default(subscriber, || {
        runtime.block_on(async {
            let subject = Subject::embedded().await;
            let presigned = subject
                .storage
                .presign_put("t/f", &conditions(b"hello"))
                .expect("a URL");
            assert_eq!(send(&presigned, "hallo").await.status(), 400);
            assert_eq!(send(&presigned, "hello").await.status(), 200);
            read(&subject.storage, Bucket::Clean, "missing")
                .await
                .expect_err("missing");
            let Subject {
                storage, embedded, ..
            } = subject;
            embedded.expect("the embedded store").stop().await;
            storage
                .head(Bucket::Clean, "k")
                .await
                .expect_err("nobody listens");
        });
    });
    let log = String::from_utf8(log.0.lock().expect("a log").clone()).expect("text");
    assert!(
        log.contains("object store unavailable, trying again"),
        "nothing was logged: {log}"
    );
    let leak = log.lines().find(|line| line.contains("X-Amz-Signature"));
    assert!(leak.is_none(), "{leak:?}");
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("a log").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// One URL takes no more of the disk than twice what it was signed for.
#[tokio::test]
async fn a_third_upload_to_one_key_is_refused_while_two_are_under_way() {
    let subject = Subject::embedded().await;
    let presigned = subject
        .storage
        .presign_put("k", &conditions(&[b'x'; 1000]))
        .expect("a URL");
    let mut open = Vec::new();
    for _ in 0..2 {
        open.push(begin(&subject, &presigned, b"xx").await);
    }
    let incoming = subject.dir.path().join("objects/incoming");
    until(|| files(&incoming).len() == 2).await;
    assert_eq!(send(&presigned, [b'x'; 1000].to_vec()).await.status(), 503);
    drop(open.pop());
    until(|| files(&incoming).len() == 1).await;
    assert_eq!(send(&presigned, [b'x'; 1000].to_vec()).await.status(), 200);
}

/// Clients that take all places keep the process itself from nothing.
#[tokio::test]
async fn the_process_has_a_way_of_its_own() {
    let subject = Subject::embedded().await;
    let addr = subject.store().addr();
    let mut clients = Vec::new();
    for _ in 0..520 {
        clients.push(TcpStream::connect(addr).await.expect("a connection"));
    }
    put(&subject.storage, Bucket::Clean, "k", b"x")
        .await
        .expect("stored");
    assert_eq!(
        read(&subject.storage, Bucket::Clean, "k")
            .await
            .expect("readable"),
        "x"
    );
}
