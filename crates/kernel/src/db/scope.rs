//! The end of a tenant transaction, decided by the response.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::Instrument;

use super::{Bell, Tx};
use crate::actor::Origin;
use crate::app::App;
use crate::error::{BODY_TIMEOUT, BODY_TOO_LARGE, Error, Result};

/// Where a dropped `TenantTx` leaves its transaction for [`scope`] to end.
#[derive(Clone, Default)]
pub(super) struct Slot(Arc<Mutex<Option<Left>>>);

/// A transaction, and the bell to ring once it has committed.
type Left = (Tx, Option<Bell>);

impl Slot {
    pub(super) fn put(&self, tx: Tx, bell: Option<Bell>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((tx, bell));
    }

    fn take(&self) -> Option<Left> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Route layer around every handler: reads the body before a connection is taken, runs writes in a
/// task of their own so that a client's disconnect cannot cut them, and ends the transaction: a
/// success commits, anything else rolls back. Transactions within know the request's [`Origin`].
pub async fn scope(State(app): State<App>, request: Request, next: Next) -> Response {
    let read = request.method().is_safe();
    let request = match buffered(&app, request).await {
        Ok(request) => request,
        Err(error) => return error.into_response(),
    };
    let origin = Origin::of(request.extensions());
    if read {
        return origin.during(run(request, next, true)).await;
    }
    let work = origin.during(run(request, next, false));
    match app.tasks.spawn(work.in_current_span()).await {
        Ok(response) => response,
        Err(cause) => Error::internal(cause).into_response(),
    }
}

async fn run(mut request: Request, next: Next, read: bool) -> Response {
    let slot = Slot::default();
    request.extensions_mut().insert(slot.clone());
    let response = next.run(request).await;
    let Some((tx, bell)) = slot.take() else {
        return response;
    };
    let success = response.status().is_success() || response.status().is_redirection();
    if read || !success {
        // Dropped, it rolls back in the background while the response is already on its way: a
        // read-only transaction has nothing to commit.
        drop(tx);
        return response;
    }
    match tx.commit().await {
        Ok(()) => {
            bell.inspect(Bell::ring);
            response
        }
        Err(error) => Error::from(error).into_response(),
    }
}

/// Reads the whole body, within size and time: parts extractors run before the body is read, so a
/// slow client would otherwise hold a transaction open.
async fn buffered(app: &App, request: Request) -> Result<Request> {
    let limits = &app.config.http;
    let (parts, body) = request.into_parts();
    let declared = http_body::Body::size_hint(&body).lower();
    if declared > limits.max_body_bytes as u64 {
        return Err(Error::new(&BODY_TOO_LARGE));
    }
    let read = to_bytes(body, limits.max_body_bytes);
    let bytes = tokio::time::timeout(Duration::from_secs(limits.body_timeout_seconds), read)
        .await
        .map_err(|_| Error::new(&BODY_TIMEOUT))?
        .map_err(|_| Error::new(&BODY_TOO_LARGE))?;
    Ok(Request::from_parts(parts, Body::from(bytes)))
}
