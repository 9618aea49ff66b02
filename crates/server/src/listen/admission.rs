//! Who may connect: a bound on open connections, in all and per address, and the answer to those above it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use kernel::places::{Place, Places};
use metrics::counter;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

/// Refusals under way at once; above it a connection is dropped unanswered.
const MAX_REFUSALS: usize = 256;
/// Time for a refused peer to take its answer.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);
const REFUSAL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    Content-Type: application/problem+json\r\n\
    Content-Length: 75\r\n\
    Retry-After: 1\r\n\
    Connection: close\r\n\
    \r\n\
    {\"type\":\"/problems/overloaded\",\"title\":\"Too many connections\",\"status\":503}";

/// Admits to places, and tells those who find none.
pub(super) struct Admission {
    places: Places,
    refusals: Arc<Semaphore>,
}

impl Admission {
    /// 0 as `max_per_ip` is unlimited.
    pub(super) fn new(max: usize, max_per_ip: usize) -> Self {
        Self {
            places: Places::new(max, max_per_ip),
            refusals: Arc::new(Semaphore::new(MAX_REFUSALS)),
        }
    }

    /// A place for a connection from `ip`, free again when dropped; `None` above a limit.
    pub(super) fn admit(&self, ip: IpAddr) -> Option<Place> {
        let place = self.places.take(ip);
        if place.is_none() {
            counter!("ally360_limits_hit_total", "limit" => "connections").increment(1);
        }
        place
    }

    /// Connections now open.
    pub(super) fn open(&self) -> usize {
        self.places.open()
    }

    /// Answers `503` and closes, in a task of `tasks`.
    ///
    /// The alternative, leaving the connection in the kernel's backlog, hides the overload: clients and health
    /// checks would hang until their own timeout, behind whoever holds the slots, instead of trying elsewhere.
    pub(super) fn refuse(&self, mut stream: TcpStream, tasks: &TaskTracker) {
        let Ok(permit) = Arc::clone(&self.refusals).try_acquire_owned() else {
            return;
        };
        tasks.spawn(async move {
            let _permit = permit;
            let answer = async {
                stream.write_all(REFUSAL).await?;
                stream.shutdown().await?;
                // Closing with unread bytes resets the connection, and the answer would be lost with it.
                let mut unread = [0; 1024];
                while stream.read(&mut unread).await? > 0 {}
                std::io::Result::Ok(())
            };
            // Best effort either way: the peer is gone or had its time.
            let _ = tokio::time::timeout(REFUSAL_TIMEOUT, answer).await;
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn peer_still_sending_its_request_gets_the_refusal() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let mut client = TcpStream::connect(address).await.expect("a listener");
        let (stream, _) = listener.accept().await.expect("the client");

        Admission::new(0, 0).refuse(stream, &TaskTracker::new());
        for part in ["POST / HTTP/1.1\r\n", "content-length: 4\r\n\r\n", "body"] {
            client.write_all(part.as_bytes()).await.expect("no reset");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.expect("no reset");
        assert_eq!(answer, REFUSAL);
    }

    #[test]
    fn refusal_is_as_long_as_it_says() {
        let text = std::str::from_utf8(REFUSAL).expect("ascii");
        let (head, body) = text.split_once("\r\n\r\n").expect("a header and a body");
        assert!(
            head.contains(&format!("Content-Length: {}\r\n", body.len())),
            "body has {} bytes",
            body.len()
        );
    }
}
