//! What a client still sends of a request that is refused already.
//!
//! Answered before it was sent, the connection has to be closed, and what arrives then resets it: the client gets a
//! broken pipe in place of the reason. So the rest is read, within limits, and the answer follows it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::oneshot;
use tokio::time::{Sleep, sleep, timeout};

/// More is not waited for: as much as the largest upload has.
const MAX_BYTES: u64 = 64 * 1024 * 1024;
const MAX_TIME: Duration = Duration::from_secs(10);
/// A body takes no longer than this and, on top, what it takes at the slowest pace: in bytes per second.
const PATIENCE: Duration = Duration::from_secs(60);
const SLOWEST: u64 = 4 * 1024;

/// A request's body, on loan to who answers it. Comes back when it is dropped.
pub(super) struct Lent {
    body: Option<(Incoming, oneshot::Sender<Incoming>)>,
    /// One that trickles keeps a place from others, and its upload open.
    deadline: Pin<Box<Sleep>>,
}

/// What comes back.
pub(super) struct Rest {
    body: oneshot::Receiver<Incoming>,
    /// The client sends nothing before it is told to.
    waits: bool,
}

pub(super) fn lend(body: Incoming, headers: &HeaderMap) -> (Lent, Rest) {
    let (back, rest) = oneshot::channel();
    let rest = Rest {
        body: rest,
        waits: headers.contains_key(header::EXPECT),
    };
    let slowest = Duration::from_secs(body.size_hint().lower() / SLOWEST);
    let lent = Lent {
        body: Some((body, back)),
        deadline: Box::pin(sleep(PATIENCE + slowest)),
    };
    (lent, rest)
}

impl Body for Lent {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err("the body came too slowly".into())));
        }
        match &mut self.body {
            Some((body, _)) => Pin::new(body)
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(Into::into))),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(|(body, _)| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let hint = self.body.as_ref().map(|(body, _)| body.size_hint());
        hint.unwrap_or_else(|| SizeHint::with_exact(0))
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some((body, back)) = self.body.take() {
            // Nobody waits for it when the request was dropped with its connection.
            drop(back.send(body));
        }
    }
}

impl Rest {
    /// Reads it to its end. Returns whether that was reached, so that another request can follow.
    pub async fn discard(mut self) -> bool {
        let Ok(mut body) = self.body.try_recv() else {
            return false;
        };
        if body.is_end_stream() {
            return true;
        }
        if self.waits || body.size_hint().lower() > MAX_BYTES {
            return false;
        }
        let read = async {
            let mut left = MAX_BYTES;
            while let Some(frame) = body.frame().await {
                let length = frame.ok()?.data_ref().map_or(0, Bytes::len);
                left = left.checked_sub(u64::try_from(length).ok()?)?;
            }
            Some(())
        };
        matches!(timeout(MAX_TIME, read).await, Ok(Some(())))
    }
}
