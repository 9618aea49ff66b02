//! The end of a tenant transaction, decided by the response.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::Instrument;

use super::{Bell, Tx};
use crate::actor::Origin;
use crate::app::App;
use crate::error::{BODY_TIMEOUT, BODY_TOO_LARGE, Error, Result, TIMEOUT};
use crate::idempotency::Attempt;

/// So long after its client was told that it took too long, a write is cut: whatever it waits for, its connection
/// comes back.
const MARGIN: Duration = Duration::from_secs(5);

/// Where a dropped `TenantTx` leaves its transaction for [`scope`] to end.
#[derive(Clone, Default)]
pub(super) struct Slot(Arc<Mutex<Option<Left>>>);

/// What is left of a request for [`scope`].
pub(super) enum Left {
    /// A transaction, the bell to ring once it has committed, and the idempotency key that it claimed.
    Open {
        tx: Tx,
        bell: Option<Bell>,
        attempt: Option<Attempt>,
    },
    /// The answer given to the request with the same idempotency key.
    Answered(Response),
}

impl Slot {
    pub(super) fn put(&self, left: Left) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(left);
    }

    fn take(&self) -> Option<Left> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Route layer: reads the body before anything is taken for the request, and runs writes in a task of their
/// own, so that a client's disconnect cannot cut them.
pub async fn received(State(app): State<App>, request: Request, next: Next) -> Response {
    let read = request.method().is_safe();
    let request = match prepared(&app, request, read).await {
        Ok(request) => request,
        Err(error) => return error.into_response(),
    };
    if read {
        return next.run(request).await;
    }
    let limit = Duration::from_secs(app.config.http.request_timeout_seconds) + MARGIN;
    let work = tokio::time::timeout(limit, next.run(request));
    match app.tasks.spawn(work.in_current_span()).await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => Error::new(&TIMEOUT).into_response(),
        Err(cause) => Error::internal(cause).into_response(),
    }
}

/// Route layer around every handler, within [`received`]: ends the transaction, a success commits, anything
/// else rolls back. With an `Idempotency-Key` the answer is kept in the same transaction, or is the one that
/// was kept. Transactions within know the request's [`Origin`].
pub async fn scope(request: Request, next: Next) -> Response {
    let read = request.method().is_safe();
    let origin = Origin::of(request.extensions());
    origin.during(run(request, next, read)).await
}

async fn run(mut request: Request, next: Next, read: bool) -> Response {
    let slot = Slot::default();
    request.extensions_mut().insert(slot.clone());
    let response = next.run(request).await;
    let (mut tx, bell, attempt) = match slot.take() {
        Some(Left::Open { tx, bell, attempt }) => (tx, bell, attempt),
        Some(Left::Answered(before)) => return before,
        None => return response,
    };
    let success = response.status().is_success() || response.status().is_redirection();
    if read || !success {
        // Dropped, it rolls back in the background while the response is already on its way: a
        // read-only transaction has nothing to commit.
        drop(tx);
        return response;
    }
    let ended = async {
        let response = match attempt {
            Some(attempt) => attempt.keep(&mut tx, response).await?,
            None => response,
        };
        tx.commit().await?;
        Ok::<_, Error>(response)
    };
    match ended.await {
        Ok(response) => {
            bell.inspect(Bell::ring);
            response
        }
        Err(error) => error.into_response(),
    }
}

/// The request with its whole body and, where it writes, its idempotency key.
async fn prepared(app: &App, request: Request, read: bool) -> Result<Request> {
    let (mut parts, body) = request.into_parts();
    let body = buffered(app, body).await?;
    if !read && let Some(attempt) = Attempt::of(&parts, &body)? {
        parts.extensions.insert(attempt);
    }
    Ok(Request::from_parts(parts, Body::from(body)))
}

/// Reads the whole body, within size and time: parts extractors run before the body is read, so a
/// slow client would otherwise hold a transaction open.
async fn buffered(app: &App, body: Body) -> Result<Bytes> {
    let limits = &app.config.http;
    let declared = http_body::Body::size_hint(&body).lower();
    if declared > limits.max_body_bytes as u64 {
        return Err(Error::new(&BODY_TOO_LARGE));
    }
    let read = to_bytes(body, limits.max_body_bytes);
    tokio::time::timeout(Duration::from_secs(limits.body_timeout_seconds), read)
        .await
        .map_err(|_| Error::new(&BODY_TIMEOUT))?
        .map_err(|_| Error::new(&BODY_TOO_LARGE))
}
