//! Drives the loop over real sockets, with limits short enough to watch them pass.

use std::io::ErrorKind;
use std::pin::pin;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use futures::{StreamExt, stream};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tower_http::catch_panic::CatchPanicLayer;

use super::*;

/// What a limit may be late by on a busy machine.
const LATE: Duration = Duration::from_secs(1);
const LARGE: usize = 64 << 20;
/// Three times the idle timeout of [`short`].
const SLOW: Duration = Duration::from_millis(1_500);

fn short() -> Limits {
    Limits {
        header_timeout: Duration::from_millis(400),
        idle_timeout: Duration::from_millis(500),
        write_timeout: Duration::from_millis(500),
        drain_timeout: Duration::from_millis(600),
        ..Limits::default()
    }
}

struct TestServer {
    address: SocketAddr,
    shutdown: CancellationToken,
    ended: JoinHandle<Drained>,
    /// Signalled when the handler of `/stuck` is dropped.
    stuck_dropped: Arc<Notify>,
}

impl TestServer {
    async fn start(limits: Limits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let stuck_dropped = Arc::new(Notify::new());
        let shutdown = CancellationToken::new();
        // An outer layer, as the real server has them.
        let service = tower::Layer::layer(&CatchPanicLayer::new(), router(&stuck_dropped));
        let ended = spawn(serve(listener, service, limits, shutdown.clone()));
        Self {
            address,
            shutdown,
            ended,
            stuck_dropped,
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address)
            .await
            .expect("the server accepts")
    }

    /// Status of `GET /quick` on a connection of its own.
    async fn quick(&self) -> u16 {
        let mut stream = self.connect().await;
        send(
            &mut stream,
            "GET /quick HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        )
        .await;
        status(&rest(&mut stream).await)
    }

    async fn http2(&self) -> (http2::SendRequest<Empty<Bytes>>, JoinHandle<hyper::Result<()>>) {
        let io = TokioIo::new(self.connect().await);
        let (client, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(Duration::from_millis(100))
            .keep_alive_while_idle(true)
            .handshake(io)
            .await
            .expect("HTTP/2 by prior knowledge");
        (client, spawn(connection))
    }

    async fn drained(self) -> Drained {
        self.shutdown.cancel();
        self.ended.await.expect("the loop does not panic")
    }
}

fn router(stuck_dropped: &Arc<Notify>) -> Router {
    struct SignalDrop(Arc<Notify>);
    impl Drop for SignalDrop {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }
    let stuck_dropped = Arc::clone(stuck_dropped);
    Router::new()
        .route("/quick", get(|| async { "quick" }))
        .route(
            "/peer",
            get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() }),
        )
        .route("/slow", get(|| async { sleep(SLOW).await }))
        .route("/large", get(|| async { Bytes::from_owner(vec![b'x'; LARGE]) }))
        .route(
            "/events",
            get(|| async {
                Body::from_stream(stream::iter(0..2).then(|_| async {
                    sleep(SLOW).await;
                    Ok::<_, Infallible>("event\n")
                }))
            }),
        )
        .route(
            "/stuck",
            get(|| async move {
                let _signal = SignalDrop(stuck_dropped);
                std::future::pending::<()>().await;
            }),
        )
}

fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    TaskTracker::new().spawn(future)
}

async fn send(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.expect("the server reads");
}

/// All the peer sends until it closes; a reset is a close.
async fn rest(stream: &mut TcpStream) -> String {
    let mut data = Vec::new();
    match timeout(Duration::from_secs(20), stream.read_to_end(&mut data))
        .await
        .expect("the server closes")
    {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}"),
        _ => String::from_utf8(data).expect("text"),
    }
}

/// Sends a request and reads one response with a `content-length` body, leaving the connection open.
async fn exchange(stream: &mut TcpStream, path: &str) -> String {
    send(stream, &format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
    let mut response = String::new();
    loop {
        response.push(char::from(stream.read_u8().await.expect("a whole response")));
        if let Some((head, body)) = response.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .expect("a length");
            if body.len() == length.parse::<usize>().expect("a number") {
                return response;
            }
        }
    }
}

fn status(response: &str) -> u16 {
    response
        .get(9..12)
        .and_then(|code| code.parse().ok())
        .unwrap_or_else(|| panic!("no response: {response:?}"))
}

fn request(path: &str) -> http::Request<Empty<Bytes>> {
    http::Request::get(format!("http://x{path}"))
        .body(Empty::new())
        .expect("a request")
}

#[track_caller]
fn assert_near(elapsed: Duration, limit: Duration) {
    assert!(
        elapsed + Duration::from_millis(20) >= limit,
        "closed after {elapsed:?}, before its {limit:?}"
    );
    assert!(
        elapsed <= limit + LATE,
        "closed after {elapsed:?}, limit {limit:?}"
    );
}

/// Runs an ignored test of this module alone in a process with its own bound on open files.
fn in_process_with_files(files: u32, test: &str) {
    let output = std::process::Command::new("sh")
        .arg("-c")
        .arg(format!(
            "ulimit -S -n {files} && exec \"$0\" --exact --ignored --nocapture \"$1\""
        ))
        .arg(std::env::current_exe().expect("this binary"))
        .arg(format!(
            "{}::{test}",
            module_path!().split_once("::").expect("a crate name").1
        ))
        .output()
        .expect("sh runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}\n{errors}"
    );
}

#[tokio::test]
async fn unfinished_first_header_is_cut() {
    let limits = short();
    let server = TestServer::start(Limits {
        idle_timeout: Duration::from_secs(60),
        ..limits.clone()
    })
    .await;
    for begin in [
        "",
        "GET /quick HT",
        "GET /quick HTTP/1.1\r\nhost: x\r\n",
        "PRI * HTTP/2",
    ] {
        let began = Instant::now();
        let mut stream = server.connect().await;
        send(&mut stream, begin).await;
        assert_eq!(rest(&mut stream).await, "", "after {begin:?}");
        assert_near(began.elapsed(), limits.header_timeout);
    }
}

#[tokio::test]
async fn header_sent_byte_by_byte_is_cut() {
    let limits = short();
    let server = TestServer::start(Limits {
        idle_timeout: Duration::from_secs(60),
        ..limits.clone()
    })
    .await;
    let mut stream = server.connect().await;
    for kept_alive in [false, true] {
        if kept_alive {
            stream = server.connect().await;
            assert_eq!(status(&exchange(&mut stream, "/quick").await), 200);
        }
        let began = Instant::now();
        let (mut read, mut write) = stream.split();
        let mut byte = [0];
        let mut closed = pin!(read.read(&mut byte));
        for sent in "GET /quick HTTP/1.1\r\nhost: a-long-enough-name\r\n".bytes() {
            let _ = write.write_u8(sent).await;
            if let Ok(end) = timeout(Duration::from_millis(100), &mut closed).await {
                assert!(matches!(end, Ok(0) | Err(_)), "no answer to half a header");
                break;
            }
        }
        assert_near(began.elapsed(), limits.header_timeout);
    }
}

#[tokio::test]
async fn connection_at_rest_lives_for_the_idle_timeout() {
    let limits = Limits {
        header_timeout: Duration::from_millis(200),
        ..short()
    };
    let server = TestServer::start(Limits {
        idle_timeout: Duration::from_secs(1),
        ..limits.clone()
    })
    .await;
    let mut stream = server.connect().await;
    exchange(&mut stream, "/quick").await;
    sleep(Duration::from_millis(700)).await;
    assert_eq!(
        status(&exchange(&mut stream, "/quick").await),
        200,
        "at rest for longer than a header may take"
    );
    let began = Instant::now();
    assert_eq!(rest(&mut stream).await, "");
    assert_near(began.elapsed(), Duration::from_secs(1));
}

#[tokio::test]
async fn slow_handler_and_slow_stream_are_not_cut() {
    let server = TestServer::start(short()).await;
    let handler = async {
        let mut stream = server.connect().await;
        assert_eq!(status(&exchange(&mut stream, "/slow").await), 200);
    };
    let events = async {
        let mut stream = server.connect().await;
        send(
            &mut stream,
            "GET /events HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        )
        .await;
        assert_eq!(rest(&mut stream).await.matches("event").count(), 2);
    };
    let handler_http2 = async {
        let (mut client, _connection) = server.http2().await;
        let response = client.send_request(request("/slow")).await.expect("an answer");
        assert_eq!(response.status(), StatusCode::OK);
    };
    let events_http2 = async {
        let (mut client, _connection) = server.http2().await;
        let response = client.send_request(request("/events")).await.expect("an answer");
        let events = response.into_body().collect().await.expect("all events");
        assert_eq!(events.to_bytes(), "event\nevent\n");
    };
    tokio::join!(handler, events, handler_http2, events_http2);
}

#[tokio::test]
async fn peer_that_does_not_read_is_cut() {
    // A stalled connection holds the only slot until it is cut.
    let limits = Limits {
        max_connections: 1,
        idle_timeout: Duration::from_secs(60),
        ..short()
    };
    let server = TestServer::start(limits.clone()).await;
    let mut stream = server.connect().await;
    send(&mut stream, "GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await;
    sleep(limits.write_timeout / 2).await;
    assert_eq!(server.quick().await, 503);
    sleep(limits.write_timeout / 2 + LATE).await;
    assert_eq!(server.quick().await, 200);
}

#[tokio::test]
async fn http2_peer_that_opens_no_window_is_cut() {
    let limits = short();
    let server = TestServer::start(limits.clone()).await;
    let (mut client, connection) = server.http2().await;
    let response = client.send_request(request("/large")).await.expect("a head");
    let began = Instant::now();
    let ended = timeout(Duration::from_secs(10), connection)
        .await
        .expect("the server closes");
    assert_near(began.elapsed(), limits.idle_timeout);
    drop((ended, response));
}

#[tokio::test]
async fn peer_that_reads_slowly_gets_everything() {
    let server = TestServer::start(short()).await;
    let began = Instant::now();
    let mut stream = server.connect().await;
    send(
        &mut stream,
        "GET /large HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    )
    .await;
    let mut chunk = vec![0; 2 << 20];
    let mut received = 0;
    loop {
        let size = stream.read(&mut chunk).await.expect("not cut");
        if size == 0 {
            break;
        }
        received += size;
        sleep(Duration::from_millis(40)).await;
    }
    assert!(received > LARGE, "{received} bytes");
    assert!(
        began.elapsed() > SLOW,
        "the test must outlast the timeouts: {:?}",
        began.elapsed()
    );

    let (mut client, _connection) = server.http2().await;
    let mut body = client
        .send_request(request("/large"))
        .await
        .expect("a head")
        .into_body();
    let (began, mut received) = (Instant::now(), 0);
    while let Some(frame) = body.frame().await {
        received += frame.expect("not cut").into_data().expect("data").len();
        if began.elapsed() < SLOW {
            sleep(Duration::from_millis(100)).await;
        }
    }
    assert_eq!(received, LARGE);
}

#[tokio::test]
async fn connections_above_the_limit_are_refused_until_one_closes() {
    let server = TestServer::start(Limits {
        max_connections: 2,
        ..Limits::default()
    })
    .await;
    let (mut first, mut second) = (server.connect().await, server.connect().await);
    exchange(&mut first, "/quick").await;
    exchange(&mut second, "/quick").await;

    let mut third = server.connect().await;
    send(&mut third, "GET /quick HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let refusal = rest(&mut third).await;
    assert_eq!(status(&refusal), 503);
    assert!(refusal.contains("\r\nRetry-After: 1\r\n"), "{refusal}");
    assert!(
        refusal.contains("\r\nContent-Type: application/problem+json\r\n"),
        "{refusal}"
    );

    assert_eq!(
        status(&exchange(&mut first, "/quick").await),
        200,
        "those inside are served"
    );
    drop(second);
    sleep(Duration::from_millis(100)).await;
    assert_eq!(server.quick().await, 200);
}

#[tokio::test]
async fn one_address_is_limited_apart_from_others() {
    let server = TestServer::start(Limits {
        max_connections_per_ip: 1,
        ..Limits::default()
    })
    .await;
    let mut first = server.connect().await;
    exchange(&mut first, "/quick").await;
    assert_eq!(server.quick().await, 503);

    let socket = TcpSocket::new_v4().expect("a socket");
    socket
        .bind("127.0.0.2:0".parse().expect("an address"))
        .expect("loopback");
    let mut other = socket.connect(server.address).await.expect("the server accepts");
    assert_eq!(status(&exchange(&mut other, "/quick").await), 200);
}

#[tokio::test]
async fn shutdown_finishes_open_requests() {
    let server = TestServer::start(Limits {
        drain_timeout: Duration::from_secs(20),
        ..Limits::default()
    })
    .await;
    let mut at_rest = server.connect().await;
    exchange(&mut at_rest, "/quick").await;
    let mut working = server.connect().await;
    send(&mut working, "GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let (mut client, _connection) = server.http2().await;
    client.ready().await.expect("a connection");
    let working_http2 = client.send_request(request("/slow"));
    sleep(Duration::from_millis(200)).await;

    let began = Instant::now();
    server.shutdown.cancel();
    assert_eq!(rest(&mut at_rest).await, "");
    assert!(began.elapsed() < LATE, "a connection at rest closes at once");
    let refused = TcpStream::connect(server.address)
        .await
        .expect_err("no new connections");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);

    let response = rest(&mut working).await;
    assert_eq!(status(&response), 200);
    assert!(response.contains("\r\nconnection: close\r\n"), "{response}");
    assert_eq!(working_http2.await.expect("an answer").status(), StatusCode::OK);
    assert_eq!(server.drained().await, Drained { cut: 0 });
    assert!(began.elapsed() < SLOW + LATE, "nothing is left to wait for");
}

#[tokio::test]
async fn stuck_requests_are_cut_when_the_drain_ends() {
    let limits = short();
    let server = TestServer::start(limits.clone()).await;
    let mut stuck = server.connect().await;
    send(&mut stuck, "GET /stuck HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let (mut client, connection) = server.http2().await;
    client.ready().await.expect("a connection");
    let stuck_http2 = client.send_request(request("/stuck"));
    sleep(Duration::from_millis(200)).await;

    let began = Instant::now();
    assert_eq!(server.drained().await, Drained { cut: 2 });
    assert_near(began.elapsed(), limits.drain_timeout);
    assert_eq!(rest(&mut stuck).await, "");
    assert!(stuck_http2.await.is_err());
    drop(connection);
}

#[tokio::test]
async fn http2_is_served_and_closed_at_rest() {
    let limits = short();
    let server = TestServer::start(limits.clone()).await;
    let (mut client, connection) = server.http2().await;
    let response = client.send_request(request("/peer")).await.expect("an answer");
    assert_eq!(response.version(), http::Version::HTTP_2);
    let peer = response.into_body().collect().await.expect("a body").to_bytes();
    assert!(peer.starts_with(b"127.0.0.1:"), "{peer:?}");

    // The client's pings, and our answers to them, are no progress.
    let began = Instant::now();
    let _ = timeout(Duration::from_secs(10), connection)
        .await
        .expect("the server closes");
    assert_near(began.elapsed(), limits.idle_timeout);
}

#[tokio::test]
async fn handler_ends_with_its_connection() {
    let server = TestServer::start(short()).await;
    let mut stream = server.connect().await;
    send(&mut stream, "GET /stuck HTTP/1.1\r\nhost: x\r\n\r\n").await;
    sleep(Duration::from_millis(100)).await;
    drop(stream);
    timeout(LATE, server.stuck_dropped.notified())
        .await
        .expect("HTTP/1 handler dropped");

    let (mut client, connection) = server.http2().await;
    client.ready().await.expect("a connection");
    let pending = client.send_request(request("/stuck"));
    sleep(Duration::from_millis(100)).await;
    connection.abort();
    drop((client, pending));
    timeout(LATE, server.stuck_dropped.notified())
        .await
        .expect("HTTP/2 handler dropped");
}

#[tokio::test]
async fn bad_headers_are_answered() {
    let server = TestServer::start(Limits {
        max_header_bytes: 16 * 1024,
        ..Limits::default()
    })
    .await;
    let large = format!(
        "GET / HTTP/1.1\r\nhost: x\r\ncookie: {}\r\n\r\n",
        "x".repeat(20 * 1024)
    );
    let many = format!(
        "GET / HTTP/1.1\r\nhost: x\r\n{}\r\n",
        "a: b\r\n".repeat(MAX_HEADERS)
    );
    for (text, expected) in [(large.as_str(), 431), (&many, 431), ("no request\r\n\r\n", 400)] {
        let mut stream = server.connect().await;
        send(&mut stream, text).await;
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.expect("an answer");
        assert_eq!(status(&String::from_utf8_lossy(&head)), expected);
    }
}

#[test]
fn slow_connections_do_not_stop_others() {
    in_process_with_files(4096, "thousand_slow_connections");
}

#[tokio::test]
#[ignore = "run by slow_connections_do_not_stop_others"]
async fn thousand_slow_connections() {
    let header_timeout = Duration::from_secs(3);
    let server = TestServer::start(Limits {
        header_timeout,
        ..Limits::default()
    })
    .await;
    let mut slow = Vec::new();
    for _ in 0..1_000 {
        let mut stream = server.connect().await;
        send(&mut stream, "GET /quick HTTP/1.1\r\nhost: x\r\n").await;
        slow.push(stream);
    }
    let last = Instant::now();
    assert_eq!(server.quick().await, 200);
    assert!(
        last.elapsed() < Duration::from_millis(500),
        "answered after {:?}",
        last.elapsed()
    );
    for mut stream in slow {
        assert_eq!(rest(&mut stream).await, "");
    }
    assert!(
        last.elapsed() <= header_timeout + LATE,
        "all cut after {:?}",
        last.elapsed()
    );
}

#[test]
fn accepting_survives_a_lack_of_file_descriptors() {
    in_process_with_files(64, "file_descriptors_run_out");
}

#[tokio::test]
#[ignore = "run by accepting_survives_a_lack_of_file_descriptors"]
async fn file_descriptors_run_out() {
    let server = TestServer::start(Limits::default()).await;
    let mut files = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        files.push(file);
    }
    files.pop();
    // The client takes the last descriptor, so the server has none to accept with.
    let mut stream = server.connect().await;
    send(
        &mut stream,
        "GET /quick HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    )
    .await;
    let mut byte = [0];
    assert!(
        timeout(ACCEPT_PAUSE * 3, stream.read(&mut byte)).await.is_err(),
        "not accepted yet"
    );
    drop(files);
    assert_eq!(status(&rest(&mut stream).await), 200);
}
