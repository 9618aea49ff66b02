//! What a process talks to in these tests: a collector of traces, a relay before the object store that listens, and
//! a mail server that takes everything.

#![expect(clippy::disallowed_methods, reason = "servers of a test end with its runtime")]

use std::collections::BTreeMap;
use std::io::Read;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use http::{HeaderMap, StatusCode};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use prost::Message;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

/// A span as it arrived. Ids are hexadecimal.
#[derive(Clone, Debug)]
pub struct Span {
    pub trace: String,
    pub id: String,
    pub parent: String,
    pub name: String,
    /// 2 a server, 3 a client, 5 a consumer.
    pub kind: i32,
    /// 2 an error.
    pub status: i32,
    pub state: String,
    pub attributes: BTreeMap<String, String>,
    /// Attributes of its process.
    pub process: BTreeMap<String, String>,
    pub took: Duration,
}

/// Takes spans that come with the header `key: s3cret`.
#[derive(Clone, Default)]
pub struct Collector(Arc<Mutex<Vec<Span>>>);

impl Collector {
    pub async fn start() -> (Collector, String) {
        let collector = Collector::default();
        let (listener, address) = listen().await;
        let router = Router::new()
            .route("/v1/traces", post(take))
            .with_state(collector.clone());
        tokio::task::spawn(async move { axum::serve(listener, router).await });
        (collector, format!("http://{address}"))
    }

    pub fn spans(&self) -> Vec<Span> {
        lock(&self.0).clone()
    }

    /// Waits for a span of this trace and name.
    pub async fn wait_for(&self, trace: &str, name: &str) -> Span {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let spans = self.spans();
            let found = spans.iter().find(|span| span.trace == trace && span.name == name);
            if let Some(span) = found {
                return span.clone();
            }
            let names: Vec<_> = spans.iter().map(|span| (&span.trace, &span.name)).collect();
            assert!(Instant::now() < deadline, "no span {name}: {names:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

async fn take(State(collector): State<Collector>, headers: HeaderMap, body: Bytes) -> StatusCode {
    if headers.get("key").is_none_or(|key| key != "s3cret") {
        return StatusCode::UNAUTHORIZED;
    }
    assert_eq!(headers["content-type"], "application/x-protobuf");
    let body = if headers
        .get("content-encoding")
        .is_some_and(|coding| coding == "gzip")
    {
        let mut plain = Vec::new();
        let read = flate2::read::GzDecoder::new(&*body).read_to_end(&mut plain);
        read.expect("gzip");
        plain.into()
    } else {
        body
    };
    let request = ExportTraceServiceRequest::decode(body).expect("spans");
    for process in request.resource_spans {
        let of_process = attributes(process.resource.map(|r| r.attributes).unwrap_or_default());
        for span in process.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            lock(&collector.0).push(Span {
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                name: span.name,
                kind: span.kind,
                status: span.status.map_or(0, |status| status.code),
                state: span.trace_state,
                attributes: attributes(span.attributes),
                process: of_process.clone(),
                took: Duration::from_nanos(span.end_time_unix_nano - span.start_time_unix_nano),
            });
        }
    }
    StatusCode::OK
}

fn attributes(list: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value: Option<AnyValue>| match value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    list.into_iter()
        .map(|entry| (entry.key, text(entry.value)))
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Passes connections on to `target`, and keeps what clients said.
pub async fn relay(target: SocketAddr) -> (SocketAddr, Arc<Mutex<Vec<u8>>>) {
    let (listener, address) = listen().await;
    let heard = Arc::new(Mutex::new(Vec::new()));
    let said = heard.clone();
    tokio::task::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::task::spawn(pass_on(client, target, said.clone()));
        }
    });
    (address, heard)
}

async fn pass_on(client: TcpStream, target: SocketAddr, said: Arc<Mutex<Vec<u8>>>) -> std::io::Result<()> {
    let server = TcpStream::connect(target).await?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let answers = tokio::task::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
    let mut piece = [0; 16 * 1024];
    loop {
        let length = from_client.read(&mut piece).await?;
        if length == 0 {
            answers.abort();
            return Ok(());
        }
        lock(&said).extend_from_slice(&piece[..length]);
        to_server.write_all(&piece[..length]).await?;
    }
}

pub fn text(heard: &Mutex<Vec<u8>>) -> String {
    String::from_utf8_lossy(&lock(heard)).into_owned()
}

/// A mail server that says yes to all.
pub async fn mail_server() -> SocketAddr {
    let (listener, address) = listen().await;
    tokio::task::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::task::spawn(talk(client));
        }
    });
    address
}

async fn talk(client: TcpStream) -> std::io::Result<()> {
    let (read, mut write) = client.into_split();
    let mut lines = BufReader::new(read).lines();
    write.write_all(b"220 ready\r\n").await?;
    let mut content = false;
    while let Some(line) = lines.next_line().await? {
        let answer: &[u8] = match line.as_str() {
            "." => b"250 taken\r\n",
            _ if content => continue,
            "DATA" => b"354 go on\r\n",
            "QUIT" => b"221 bye\r\n",
            _ => b"250 yes\r\n",
        };
        content = answer.starts_with(b"354");
        write.write_all(answer).await?;
    }
    Ok(())
}
