//! The accept loop: HTTP/1.1 and HTTP/2 (prior knowledge) over plain TCP, with a limit on every wait.
//!
//! `axum::serve` holds a connection with a half-sent header for ever, accepts without bound and has no drain
//! deadline. This loop adds those three and nothing else; routing, body limits and the time a request may take
//! belong to the service. Connection upgrades (WebSocket) are not served.

mod activity;
mod admission;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{ConnectInfo, Request};
use axum::response::Response;
use http::{HeaderValue, Version, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use kernel::app::App;
use kernel::places::Place;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::util::ServiceExt;
use tower::{BoxError, Service};

use activity::{Activity, Paced, Watched};
use admission::Admission;

/// Bounds the state one HTTP/1 request may build up in the header parser.
const MAX_HEADERS: usize = 64;
/// Smallest buffer hyper accepts for HTTP/1; a lower `max_header_bytes` is raised to it.
const MIN_HEADER_BYTES: usize = 8 * 1024;
const H2_MAX_STREAMS: u32 = 100;
/// Streams the peer reset before we accepted them; more closes the connection (rapid reset, CVE-2023-44487).
const H2_MAX_PENDING_RESETS: usize = 20;
/// Streams we reset because the peer broke the protocol; more closes the connection (CVE-2025-8671).
const H2_MAX_ERROR_RESETS: usize = 64;
const H2_PING_INTERVAL: Duration = Duration::from_secs(20);
const H2_PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Response bytes buffered per stream; small, because the body counts as taken once it is buffered.
const H2_SEND_BUFFER: usize = 64 * 1024;
/// File descriptors or memory ran out: time for other connections to close before `accept` is tried again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Limits of the listener. The time a handler takes, including its reading of the request body, is not among them.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Open connections; more are answered `503` and closed.
    pub max_connections: usize,
    /// Open connections of one address (IPv6: one /64); 0 is unlimited, the default, because a reverse proxy is
    /// one address.
    pub max_connections_per_ip: usize,
    /// Time for a request's header: the first from the accept, a later one on HTTP/1 from its first byte.
    pub header_timeout: Duration,
    /// Time the server waits after its last work was done: on a kept-alive connection for the next request, on
    /// HTTP/2 also for a peer that takes no more of its responses. Longer than the proxy's own, so that the proxy
    /// closes first and no request meets a closing connection.
    pub idle_timeout: Duration,
    /// Time the socket may refuse bytes: a peer that does not read.
    pub write_timeout: Duration,
    /// Time for open requests to finish after the shutdown began.
    pub drain_timeout: Duration,
    /// Size of a request's header, request line included; above it HTTP/1 answers `431`.
    pub max_header_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 2_000,
            max_connections_per_ip: 0,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(25),
            max_header_bytes: 64 * 1024,
        }
    }
}

/// How a shutdown ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections closed by force because they were still open after [`Limits::drain_timeout`].
    pub cut: usize,
}

/// When the listener ends, in two steps.
#[derive(Clone, Debug)]
pub struct Stop {
    /// Serves on, but keeps no connection: each answer on HTTP/1 is the last one of its connection, so that no
    /// balancer sends a request on one that is being closed. HTTP/2 needs no notice, it has GOAWAY.
    pub leaving: CancellationToken,
    /// Accepts no more.
    pub now: CancellationToken,
}

impl From<&App> for Stop {
    fn from(app: &App) -> Stop {
        Stop {
            leaving: app.leaving.clone(),
            now: app.stopping.clone(),
        }
    }
}

/// Serves connections until it has to [`Stop`]; then stops accepting, closes connections at rest, announces
/// the end on the others (`Connection: close`, GOAWAY), waits [`Limits::drain_timeout`] and closes the rest.
///
/// `service` is cloned per request; an axum `Router`, bare or inside tower layers, fits. Each request carries
/// [`ConnectInfo`] with the peer's address. Handlers end with their connection. Dropping the future closes all
/// connections at once.
pub async fn serve<S, B>(listener: TcpListener, service: S, limits: Limits, stop: Stop) -> Drained
where
    S: Service<Request, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let drain_timeout = limits.drain_timeout;
    let admission = Admission::new(limits.max_connections, limits.max_connections_per_ip);
    let tasks = TaskTracker::new();
    let cut = CancellationToken::new();
    let _cut_when_dropped = cut.clone().drop_guard();
    let server = Server {
        service,
        limits: Arc::new(limits),
        tasks: tasks.clone(),
        stop: stop.clone(),
        cut: cut.clone(),
    };

    while let Some((stream, peer)) = stop.now.run_until_cancelled(accept(&listener)).await {
        match admission.admit(peer.ip()) {
            Some(place) => drop(tasks.spawn(server.clone().connection(stream, peer, place))),
            None => admission.refuse(stream, &tasks),
        }
    }
    drop(listener);

    tasks.close();
    let drained = timeout(drain_timeout, tasks.wait()).await;
    let open = if drained.is_ok() { 0 } else { admission.open() };
    cut.cancel();
    tasks.wait().await;
    Drained { cut: open }
}

/// Waits for the next connection. Never fails: what goes wrong concerns one peer, or passes with time.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error)
                if matches!(
                    error.kind(),
                    ConnectionAborted | ConnectionRefused | ConnectionReset
                ) => {}
            Err(error) => {
                tracing::error!(%error, "cannot accept connections, trying again");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// What every connection task shares.
#[derive(Clone)]
struct Server<S> {
    service: S,
    limits: Arc<Limits>,
    tasks: TaskTracker,
    stop: Stop,
    cut: CancellationToken,
}

impl<S, B> Server<S>
where
    S: Service<Request, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    /// Serves one connection to its end; `_place` is its place among the open connections.
    async fn connection(self, stream: TcpStream, peer: SocketAddr, _place: Place) {
        let Self {
            service,
            limits,
            tasks,
            stop,
            cut,
        } = self;
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "connection was gone before it began");
            return;
        }

        let activity = Activity::new(Arc::clone(&limits));
        let builder = builder(&limits, Streams(tasks));
        let io = TokioIo::new(Watched::new(stream, Arc::clone(&activity)));
        let handler = service_fn({
            let activity = Arc::clone(&activity);
            let leaving = stop.leaving.clone();
            move |request: http::Request<Incoming>| {
                let version = request.version();
                let work = activity.request(version);
                let leaving = leaving.clone();
                let mut request = request.map(Body::new);
                request.extensions_mut().insert(ConnectInfo(peer));
                let response = service.clone().oneshot(request);
                async move {
                    let mut response = response.await?;
                    if leaving.is_cancelled() && version < Version::HTTP_2 {
                        let close = HeaderValue::from_static("close");
                        response.headers_mut().insert(header::CONNECTION, close);
                    }
                    Ok::<_, Infallible>(response.map(|body| Paced::new(Body::new(body), work)))
                }
            }
        });

        let mut connection = Box::pin(builder.serve_connection(io, handler));
        let mut overdue = activity.overdue();
        let mut closing = false;
        // In this order: what the connection did in its poll decides when it is overdue, and bytes already here
        // are read before a shutdown declares the connection at rest.
        let result = loop {
            tokio::select! {
                biased;
                result = &mut connection => break result,
                () = cut.cancelled() => break Err("drain timeout".into()),
                limit = &mut overdue => break Err(limit.into()),
                () = stop.now.cancelled(), if !closing => {
                    closing = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        };
        if let Err(error) = result {
            tracing::debug!(%peer, error, "connection closed");
        }
    }
}

/// The protocol's own limits.
fn builder(limits: &Limits, streams: Streams) -> auto::Builder<Streams> {
    let mut builder = auto::Builder::new(streams);
    builder
        .http1()
        // hyper's timer starts when the last response ends, so it cannot tell a connection at rest from a
        // half-sent header, and it does not cover the bytes that decide the version. `Activity` does both.
        .header_read_timeout(None)
        .max_buf_size(limits.max_header_bytes.max(MIN_HEADER_BYTES))
        .max_headers(MAX_HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(H2_MAX_STREAMS)
        .max_header_list_size(u32::try_from(limits.max_header_bytes).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(H2_MAX_PENDING_RESETS)
        .max_local_error_reset_streams(H2_MAX_ERROR_RESETS)
        .max_send_buf_size(H2_SEND_BUFFER)
        .keep_alive_interval(H2_PING_INTERVAL)
        .keep_alive_timeout(H2_PING_TIMEOUT);
    builder
}

/// Runs HTTP/2 streams as tasks that are waited for; hyper ends them with their connection.
#[derive(Clone)]
struct Streams(TaskTracker);

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, stream: F) {
        self.0.spawn(stream);
    }
}
