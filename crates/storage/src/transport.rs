//! Requests to the store, with a limit on every wait and a few attempts.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::{Frame, Incoming};
use kernel::trace;
use metrics::histogram;
use tokio::time::{sleep, timeout};
use tracing::{Instrument, Span, field, trace_span};
use url::Url;

use crate::http_client::{HttpClient, http_client};
use crate::presign::Action;
use crate::sigv4::Signer;
use crate::{Content, Error};

type Body = BoxBody<Bytes, io::Error>;

/// Longest time without a byte in either direction.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Of our own signatures: each attempt is signed anew, so this only has to cover clock differences.
const SIGNATURE_LIFETIME: Duration = Duration::from_mins(15);
/// Between attempts; one more attempt than pauses.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(500)];
/// Read of an error response.
const MAX_ERROR_BODY: usize = 8 * 1024;
/// Of a list: 1,000 keys of 1,024 bytes, each percent-encoded.
const MAX_TEXT: usize = 8 * 1024 * 1024;

/// An HTTP client that signs.
#[derive(Debug)]
pub(crate) struct Transport {
    client: HttpClient<Body>,
    signer: Signer,
}

impl Transport {
    /// A client for `endpoint`; this machine's trusted certificates are only read when the endpoint needs them.
    pub fn new(endpoint: &Url, signer: Signer) -> Result<Self, Error> {
        Ok(Self {
            client: http_client(endpoint.scheme() == "https")?,
            signer,
        })
    }

    pub fn signer(&self) -> &Signer {
        &self.signer
    }

    /// Sends an idempotent request and tries again while the store is unavailable. The response has a status of
    /// success and its body is not read yet.
    pub async fn send(
        &self,
        action: &Action,
        content: Option<&Content>,
    ) -> Result<Response<Incoming>, Error> {
        let mut pauses = PAUSES.into_iter();
        loop {
            match (self.attempt(action, content).await, pauses.next()) {
                (Err(Error::Unavailable(cause)), Some(pause)) => {
                    let method = action.method.to_str();
                    tracing::debug!(
                        method,
                        path = action.url.path(),
                        cause,
                        "object store unavailable, trying again"
                    );
                    sleep(pause).await;
                }
                (result, _) => return result,
            }
        }
    }

    /// As [`Transport::send`], but once.
    pub async fn attempt(
        &self,
        action: &Action,
        content: Option<&Content>,
    ) -> Result<Response<Incoming>, Error> {
        let started = Instant::now();
        let method = action.method.to_str();
        let span = trace_span!(
            target: trace::TARGET, "S3", otel.name = format!("S3 {method}"), otel.kind = "client", otel.status_code = field::Empty,
            rpc.system = "aws-api", rpc.service = "S3", http.request.method = method, server.address = action.url.host_str(),
            server.port = action.url.port_or_known_default(), outcome = field::Empty
        );
        let response = self.exchange(action, content).instrument(span.clone()).await;
        let outcome = match &response {
            Ok(_) | Err(Error::NotFound | Error::PreconditionFailed) => "answered",
            Err(Error::Unavailable(_)) => "unavailable",
            Err(_) => "failed",
        };
        span.record("outcome", outcome);
        if outcome != "answered" {
            span.record("otel.status_code", "error");
        }
        histogram!("ally360_storage_request_duration_seconds", "method" => method, "outcome" => outcome)
            .record(started.elapsed());
        response
    }

    async fn exchange(
        &self,
        action: &Action,
        content: Option<&Content>,
    ) -> Result<Response<Incoming>, Error> {
        let url = action.sign(&self.signer, SIGNATURE_LIFETIME);
        let mut request = Request::builder().method(action.method.to_str()).uri(url);
        for (name, value) in &action.headers {
            request = request.header(*name, value);
        }
        if let (Some(here), Some(headers)) = (trace::of(&Span::current()), request.headers_mut()) {
            here.write(headers);
        }
        let sent = Arc::new(AtomicU64::new(0));
        let unreadable = Arc::new(OnceLock::new());
        let body = match content {
            None => Empty::new().map_err(|never| match never {}).boxed(),
            Some(content) => {
                // Without it the body would be sent in chunks, which S3 does not take.
                request = request.header(CONTENT_LENGTH, content.length());
                body(content, Arc::clone(&sent), Arc::clone(&unreadable))
            }
        };
        let request = request
            .body(body)
            .map_err(|error| Error::Protocol(error.to_string()))?;

        let mut response = self.client.request(request);
        let mut seen = 0;
        let response = loop {
            match timeout(STALL_TIMEOUT, &mut response).await {
                Ok(Ok(response)) => break response,
                Ok(Err(error)) => {
                    return Err(unreadable
                        .get()
                        .cloned()
                        .map_or_else(|| unavailable(&error), Error::Content));
                }
                Err(_) if sent.load(Ordering::Relaxed) == seen => return Err(stalled()),
                Err(_) => seen = sent.load(Ordering::Relaxed),
            }
        };
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let code = error_code(response).await?;
        Err(Error::from_response(status.as_u16(), code))
    }
}

/// The content as a body that counts what was taken of it and keeps why it could not be read.
fn body(content: &Content, sent: Arc<AtomicU64>, unreadable: Arc<OnceLock<String>>) -> Body {
    let pieces = content.stream().inspect(move |piece| match piece {
        Ok(piece) => {
            sent.fetch_add(u64::try_from(piece.len()).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
        Err(error) => drop(unreadable.set(error.to_string())),
    });
    BodyExt::boxed(StreamBody::new(pieces.map_ok(Frame::data)))
}

/// The `Code` of an S3 error document; empty for `HEAD`, whose responses have no body.
async fn error_code(response: Response<Incoming>) -> Result<String, Error> {
    let xml = response
        .headers()
        .get(CONTENT_TYPE)
        .is_none_or(|kind| kind.as_bytes().ends_with(b"xml"));
    let mut response = response.into_body();
    let mut document = Vec::new();
    while xml && document.len() < MAX_ERROR_BODY {
        match chunk(&mut response).await? {
            Some(chunk) => document.extend_from_slice(&chunk),
            None => break,
        }
    }
    let document = String::from_utf8_lossy(&document);
    let code = document
        .split_once("<Code>")
        .and_then(|(_, rest)| rest.split_once("</Code>"));
    Ok(code.map_or_else(String::new, |(code, _)| code.to_owned()))
}

/// Reads a text response of bounded size to its end.
pub(crate) async fn text(response: Response<Incoming>) -> Result<String, Error> {
    let mut response = response.into_body();
    let mut text = Vec::new();
    while let Some(chunk) = chunk(&mut response).await? {
        text.extend_from_slice(&chunk);
        if text.len() > MAX_TEXT {
            return Err(Error::Protocol(format!("more than {MAX_TEXT} bytes of text")));
        }
    }
    String::from_utf8(text).map_err(|error| Error::Protocol(error.to_string()))
}

/// The next bytes of a response; `None` at its end.
pub(crate) async fn chunk(body: &mut Incoming) -> Result<Option<Bytes>, Error> {
    loop {
        match timeout(STALL_TIMEOUT, body.frame())
            .await
            .map_err(|_| stalled())?
        {
            None => return Ok(None),
            Some(Err(error)) => return Err(unavailable(&error)),
            // Trailers carry nothing for us.
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

fn stalled() -> Error {
    Error::Unavailable(format!("no byte moved for {} seconds", STALL_TIMEOUT.as_secs()))
}

/// An error with its causes.
fn unavailable(error: &dyn std::error::Error) -> Error {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        message = format!("{message}: {error}");
        cause = error.source();
    }
    Error::Unavailable(message)
}
