//! What a connection is waiting for, and until when.
//!
//! Three places report to one [`Activity`]: the socket ([`Watched`]), the handler and the response body
//! ([`Paced`]). The rule they serve: while the server is at work the peer may be silent, in every other state the
//! peer has a deadline. So a slow handler or a stream of events is never cut for want of incoming bytes.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use http::Version;
use hyper::body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use super::Limits;

/// Response data handed over at once. Progress is seen at the body alone (on the socket our own HTTP/2 pings
/// would pass for it), and a body given away in one piece would look finished while most of it waits for the peer.
const MAX_FRAME: usize = 32 * 1024;

/// The clocks of one connection.
pub(super) struct Activity {
    limits: Arc<Limits>,
    state: Mutex<State>,
}

struct State {
    /// Handlers running and bodies that have yet to produce their next frame.
    working: usize,
    /// End of the last work.
    quiet_since: Instant,
    /// Begin of the request header now expected in full.
    header_since: Option<Instant>,
    /// The socket has refused bytes since.
    blocked_since: Option<Instant>,
    http2: bool,
}

impl Activity {
    /// Starts the clocks: the peer owes the header of its first request.
    pub(super) fn new(limits: Arc<Limits>) -> Arc<Self> {
        let now = Instant::now();
        let state = State {
            working: 0,
            quiet_since: now,
            header_since: Some(now),
            blocked_since: None,
            http2: false,
        };
        Arc::new(Self {
            limits,
            state: Mutex::new(state),
        })
    }

    /// A request's header has arrived; the server works until the result is dropped.
    pub(super) fn request(self: &Arc<Self>, version: Version) -> Work {
        self.state().http2 = version == Version::HTTP_2;
        self.work()
    }

    /// Resolves, with the name of the limit, once the peer has kept the server waiting too long.
    ///
    /// To be polled after the connection in the same task, so that a deadline set in that poll is seen.
    pub(super) fn overdue(self: &Arc<Self>) -> impl Future<Output = &'static str> + Unpin + use<> {
        let activity = Arc::clone(self);
        let mut timer = Box::pin(sleep_until(activity.deadline().0));
        poll_fn(move |cx| {
            loop {
                let (deadline, limit) = activity.deadline();
                if deadline <= Instant::now() {
                    return Poll::Ready(limit);
                }
                // A later deadline is left until the timer fires: most are put off again before that.
                if deadline < timer.deadline() || timer.is_elapsed() {
                    timer.as_mut().reset(deadline);
                }
                ready!(timer.as_mut().poll(cx));
            }
        })
    }

    /// The nearest deadline and its name. At work it is `idle_timeout` away, which is never later than the
    /// deadline that holds once the work ends.
    fn deadline(&self) -> (Instant, &'static str) {
        let state = self.state();
        let quiet_since = if state.working > 0 {
            Instant::now()
        } else {
            state.quiet_since
        };
        let idle = (quiet_since + self.limits.idle_timeout, "idle timeout");
        let header = state
            .header_since
            .map(|since| (since + self.limits.header_timeout, "header timeout"));
        let write = state
            .blocked_since
            .map(|since| (since + self.limits.write_timeout, "write timeout"));
        [header, write].into_iter().flatten().fold(idle, std::cmp::min)
    }

    fn work(self: &Arc<Self>) -> Work {
        let mut state = self.state();
        state.working += 1;
        state.header_since = None;
        Work(Arc::clone(self))
    }

    fn has_read(&self) {
        let mut state = self.state();
        // On HTTP/2 bytes between requests are mostly settings, window updates and pings.
        if state.working == 0 && !state.http2 {
            state.header_since.get_or_insert_with(Instant::now);
        }
    }

    fn has_written(&self) {
        self.state().blocked_since = None;
    }

    fn write_blocked(&self) {
        self.state().blocked_since.get_or_insert_with(Instant::now);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// While it lives, the server owes the peer the next bytes.
pub(super) struct Work(Arc<Activity>);

impl Drop for Work {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.working -= 1;
        state.quiet_since = Instant::now();
    }
}

/// A response body that counts as work while it waits for the server's data, not while its data waits for the peer.
pub(super) struct Paced {
    body: Body,
    /// Data of the current frame beyond [`MAX_FRAME`].
    rest: Bytes,
    work: Option<Work>,
    activity: Arc<Activity>,
}

impl Paced {
    /// Continues the handler's `work` until the first frame is ready.
    pub(super) fn new(body: Body, work: Work) -> Self {
        let activity = Arc::clone(&work.0);
        Self {
            body,
            rest: Bytes::new(),
            work: Some(work),
            activity,
        }
    }
}

impl hyper::body::Body for Paced {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        // Dropped on return, unless it is still our turn.
        let work = this.work.take().unwrap_or_else(|| this.activity.work());
        if this.rest.is_empty() {
            let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) else {
                this.work = Some(work);
                return Poll::Pending;
            };
            match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => this.rest = data,
                Some(Ok(Err(trailers))) => return Poll::Ready(Some(Ok(trailers))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        let size = this.rest.len().min(MAX_FRAME);
        Poll::Ready(Some(Ok(Frame::data(this.rest.split_to(size)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = u64::try_from(self.rest.len()).unwrap_or(u64::MAX);
        let body = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower().saturating_add(rest));
        if let Some(upper) = body.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint
    }
}

/// A socket that reports its reads and writes.
pub(super) struct Watched {
    stream: TcpStream,
    activity: Arc<Activity>,
}

impl Watched {
    pub(super) fn new(stream: TcpStream, activity: Arc<Activity>) -> Self {
        Self { stream, activity }
    }

    fn report<T>(&self, write: &Poll<io::Result<T>>) {
        match write {
            Poll::Ready(_) => self.activity.has_written(),
            Poll::Pending => self.activity.write_blocked(),
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let result = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        self.activity.has_read();
        Poll::Ready(result)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, data);
        self.report(&result);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, data);
        self.report(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use hyper::body::Body as _;

    use super::*;

    #[tokio::test]
    async fn size_hint_counts_what_is_left() {
        let work = Activity::new(Arc::new(Limits::default())).request(Version::HTTP_11);
        let mut body = Paced::new(Body::from(vec![0; MAX_FRAME + 1]), work);
        for (left, end) in [(MAX_FRAME + 1, false), (1, false), (0, true)] {
            assert_eq!(body.size_hint().exact(), u64::try_from(left).ok());
            assert_eq!(body.is_end_stream(), end);
            let _ = body.frame().await;
        }
    }
}
