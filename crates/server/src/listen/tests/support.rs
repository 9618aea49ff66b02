//! A server on a port of its own, and the plain-socket client of the tests.

use std::io::ErrorKind;

use axum::Router;
use axum::routing::get;
use futures::{StreamExt, stream};
use http_body_util::Empty;
use hyper::client::conn::http2;
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tower_http::catch_panic::CatchPanicLayer;

use super::super::*;

/// What a limit may be late by on a busy machine.
pub(super) const LATE: Duration = Duration::from_secs(1);
pub(super) const LARGE: usize = 64 << 20;
/// Three times the idle timeout of [`short`].
pub(super) const SLOW: Duration = Duration::from_millis(1_500);

pub(super) fn short() -> Limits {
    Limits {
        header_timeout: Duration::from_millis(400),
        idle_timeout: Duration::from_millis(500),
        write_timeout: Duration::from_millis(500),
        drain_timeout: Duration::from_millis(600),
        ..Limits::default()
    }
}

pub(super) struct TestServer {
    pub(super) address: SocketAddr,
    pub(super) leaving: CancellationToken,
    pub(super) shutdown: CancellationToken,
    ended: JoinHandle<Drained>,
    /// Signalled when the handler of `/stuck` is dropped.
    pub(super) stuck_dropped: Arc<Notify>,
}

impl TestServer {
    pub(super) async fn start(limits: Limits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let stuck_dropped = Arc::new(Notify::new());
        let stop = Stop {
            leaving: CancellationToken::new(),
            now: CancellationToken::new(),
        };
        let (leaving, shutdown) = (stop.leaving.clone(), stop.now.clone());
        // An outer layer, as the real server has them.
        let service = tower::Layer::layer(&CatchPanicLayer::new(), router(&stuck_dropped));
        let ended = spawn(serve(listener, service, limits, stop));
        Self {
            address,
            leaving,
            shutdown,
            ended,
            stuck_dropped,
        }
    }

    pub(super) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address)
            .await
            .expect("the server accepts")
    }

    /// Status of `GET /quick` on a connection of its own.
    pub(super) async fn quick(&self) -> u16 {
        let mut stream = self.connect().await;
        ask_last(&mut stream, "/quick").await;
        status(&rest(&mut stream).await)
    }

    pub(super) async fn http2(&self) -> (http2::SendRequest<Empty<Bytes>>, JoinHandle<hyper::Result<()>>) {
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

    pub(super) async fn drained(self) -> Drained {
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

pub(super) fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    TaskTracker::new().spawn(future)
}

pub(super) async fn send(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.expect("the server reads");
}

/// Sends a `GET` on a connection to be kept alive.
pub(super) async fn ask(stream: &mut TcpStream, path: &str) {
    send(stream, &format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
}

/// Sends a `GET` after which the server is to close.
pub(super) async fn ask_last(stream: &mut TcpStream, path: &str) {
    let text = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    send(stream, &text).await;
}

/// All the peer sends until it closes; a reset is a close.
pub(super) async fn rest(stream: &mut TcpStream) -> String {
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
pub(super) async fn exchange(stream: &mut TcpStream, path: &str) -> String {
    ask(stream, path).await;
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

pub(super) fn status(response: &str) -> u16 {
    response
        .get(9..12)
        .and_then(|code| code.parse().ok())
        .unwrap_or_else(|| panic!("no response: {response:?}"))
}

pub(super) fn request(path: &str) -> http::Request<Empty<Bytes>> {
    http::Request::get(format!("http://x{path}"))
        .body(Empty::new())
        .expect("a request")
}

#[track_caller]
pub(super) fn assert_near(elapsed: Duration, limit: Duration) {
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
pub(super) fn in_process_with_files(files: u32, test: &str) {
    let path = module_path!().trim_end_matches("::support");
    let (_crate, module) = path.split_once("::").expect("a module");
    let output = std::process::Command::new("sh")
        .arg("-c")
        .arg(format!(
            "ulimit -S -n {files} && exec \"$0\" --exact --ignored --nocapture \"$1\""
        ))
        .arg(std::env::current_exe().expect("this binary"))
        .arg(format!("{}::{test}", module))
        .output()
        .expect("sh runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}\n{errors}"
    );
}
