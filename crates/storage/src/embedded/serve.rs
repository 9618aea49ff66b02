//! The listener: HTTP/1.1 with a limit on every wait, and what browsers need.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_SECURITY_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use kernel::places::Places;
use metrics::counter;
use s3s::Body;
use s3s::service::S3Service;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::{Layer, Service, service_fn};
use tower_http::cors::{Any, CorsLayer};
use tracing::instrument::WithSubscriber;
use tracing::subscriber::NoSubscriber;

use super::idle::Idle;
use super::lent::lend;

/// As many open connections. When more than half are taken, one address has no more than a quarter, so that nobody
/// alone keeps all others out; who comes from this machine is a proxy.
const MAX_CONNECTIONS: usize = 512;
const MAX_OF_ONE: usize = MAX_CONNECTIONS / 4;
const MAX_HEADERS: usize = 64;
const MAX_HEADER_BYTES: usize = 64 * 1024;
/// For a request's header, and for the next request on a connection at rest.
const HEADER_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest time without a byte in either direction.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// For open requests after the shutdown began.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a browser remembers the answer to its preflight.
const PREFLIGHT_MAX_AGE: Duration = Duration::from_hours(1);
/// File descriptors or memory ran out: time for other connections to close before `accept` is tried again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `shutdown`, then lets open requests finish.
pub(super) async fn serve(
    listener: TcpListener,
    service: S3Service,
    tasks: TaskTracker,
    shutdown: CancellationToken,
) {
    let service = cors().layer(service_fn(move |request| answer(service.clone(), request)));
    let free = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let places = Places::new(MAX_CONNECTIONS, MAX_OF_ONE);
    // More clients than that wait in the kernel's queue.
    while let Some(Ok(slot)) = shutdown
        .run_until_cancelled(Arc::clone(&free).acquire_owned())
        .await
    {
        let Some(accepted) = shutdown.run_until_cancelled(listener.accept()).await else {
            break;
        };
        match accepted {
            Ok((stream, peer)) => {
                let place = places.take(peer.ip());
                let is_crowded = free.available_permits() < MAX_CONNECTIONS / 2;
                if place.is_none() && is_crowded && !peer.ip().to_canonical().is_loopback() {
                    counter!("ally360_limits_hit_total", "limit" => "store_connections").increment(1);
                    continue;
                }
                let connection = connection(stream, service.clone(), shutdown.clone());
                tasks.spawn(async move {
                    connection.await;
                    drop((slot, place));
                });
            }
            Err(error) => {
                tracing::debug!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection<S>(stream: TcpStream, service: S, shutdown: CancellationToken)
where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Clone,
{
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let io = TokioIo::new(Idle::new(stream, IDLE_TIMEOUT));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEADER_BYTES)
        .serve_connection(io, TowerToHyperService::new(service));
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = &mut connection => result,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            timeout(DRAIN_TIMEOUT, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "connection to the object store closed");
    }
}

/// One request. `POST` is refused before `s3s` sees it: forms are read before their signature is checked, and no
/// operation here needs one.
async fn answer(service: S3Service, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let method = request.method().clone();
    let (head, body) = request.into_parts();
    let (body, rest) = lend(body, &head.headers);
    let mut response = if matches!(method, Method::GET | Method::HEAD | Method::PUT | Method::DELETE) {
        let path = head.uri.path().to_owned();
        // s3s logs whole requests, signatures included, and every 404 as an error.
        let answer = service
            .call(Request::from_parts(head, Body::http_body(body)))
            .with_subscriber(NoSubscriber::new());
        answer.await.unwrap_or_else(|error| {
            tracing::error!(%method, path, ?error, "the object store failed");
            status(StatusCode::INTERNAL_SERVER_ERROR)
        })
    } else {
        drop(body);
        status(StatusCode::METHOD_NOT_ALLOWED)
    };
    let headers = response.headers_mut();
    if !rest.discard().await {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    // What is stored came from users: it never runs, whatever its type says.
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("sandbox; default-src 'none'"),
    );
    Ok(response)
}

fn status(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// The signature is the permission, so every origin may try.
fn cors() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::HEAD, Method::PUT])
        .allow_headers(Any)
        .expose_headers([header::ETAG, header::CONTENT_RANGE, header::CONTENT_DISPOSITION])
        .max_age(PREFLIGHT_MAX_AGE)
}
