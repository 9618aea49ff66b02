//! What a store is asked for when a process starts.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use storage::{Error, Storage, StorageConfig};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use crate::support::{config, sha256};

struct Asked {
    method: Method,
    path: String,
    query: String,
    headers: http::HeaderMap,
    body: Bytes,
}

/// A server without buckets that makes every one, and answers to lifecycle rules as told.
async fn server(rules: (u16, &'static str)) -> (Storage, Arc<Mutex<Vec<Asked>>>) {
    let asked = Arc::<Mutex<Vec<Asked>>>::default();
    let seen = Arc::clone(&asked);
    let answer = move |request: Request<Incoming>| {
        let seen = Arc::clone(&seen);
        async move {
            let (head, body) = request.into_parts();
            let query = head.uri.query().unwrap_or_default().to_owned();
            let (status, code) = match head.method {
                Method::HEAD => (404, ""),
                _ if query.starts_with("lifecycle") || query.contains("&lifecycle=") => rules,
                _ => (200, ""),
            };
            let body = body.collect().await.expect("a body").to_bytes();
            seen.lock().expect("whole").push(Asked {
                method: head.method,
                path: head.uri.path().to_owned(),
                query,
                headers: head.headers,
                body,
            });
            let error = format!("<Error><Code>{code}</Code></Error>");
            let mut response = Response::new(Full::new(Bytes::from(error)));
            *response.status_mut() = StatusCode::from_u16(status).expect("a status");
            Ok::<_, Infallible>(response)
        }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let tasks = TaskTracker::new();
    tasks.clone().spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let connection =
                http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer.clone()));
            tasks.spawn(connection);
        }
    });
    let config = StorageConfig {
        minio_host: Some("127.0.0.1".to_owned()),
        minio_port: port,
        minio_access_key: "access".to_owned(),
        minio_secret_key: "secret".to_owned(),
        ..config()
    };
    (Storage::external(&config).expect("a client"), asked)
}

#[tokio::test]
async fn quarantine_expires_by_a_rule_of_the_store_and_nothing_else_does() {
    let (storage, asked) = server((200, "")).await;
    storage.ensure_buckets().await.expect("buckets");
    let asked = asked.lock().expect("whole");
    let made: Vec<&str> = asked
        .iter()
        .filter(|asked| asked.method == Method::PUT && !asked.query.contains("lifecycle"))
        .map(|asked| asked.path.as_str())
        .collect();
    assert_eq!(made, ["/ally360/", "/ally360-quarantine/"]);
    let rules: Vec<&Asked> = asked
        .iter()
        .filter(|asked| asked.query.contains("lifecycle"))
        .collect();
    let [rule] = rules[..] else {
        panic!("{} rules", rules.len())
    };
    assert_eq!(
        (&rule.method, rule.path.as_str()),
        (&Method::PUT, "/ally360-quarantine/")
    );
    let text = std::str::from_utf8(&rule.body).expect("text");
    assert!(
        text.contains("<Status>Enabled</Status><Expiration><Days>1</Days></Expiration>"),
        "{text}"
    );
    assert_eq!(
        rule.headers["x-amz-checksum-sha256"],
        BASE64_STANDARD.encode(sha256(&rule.body))
    );
    assert!(rule.headers.contains_key("content-md5"));
}

#[tokio::test]
async fn a_store_without_such_rules_will_do_and_one_that_is_away_will_not() {
    for refusal in [
        (501, "NotImplemented"),
        (400, "InvalidRequest"),
        (403, "AccessDenied"),
    ] {
        let (storage, asked) = server(refusal).await;
        storage.ensure_buckets().await.expect("buckets");
        let asked = asked.lock().expect("whole");
        assert!(asked.iter().any(|asked| asked.query.contains("lifecycle")));
    }
    let (storage, _) = server((503, "SlowDown")).await;
    let away = storage.ensure_buckets().await;
    assert!(matches!(away, Err(Error::Unavailable(_))), "{away:?}");
}
