//! Who may connect: a bound on open connections, in all and per address, and the answer to those above it.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

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

/// Counts the open connections. 0 as `max_per_ip` is unlimited.
pub(super) struct Admission {
    max: usize,
    max_per_ip: usize,
    open: Arc<Mutex<Open>>,
    refusals: Arc<Semaphore>,
}

#[derive(Default)]
struct Open {
    total: usize,
    by_network: HashMap<IpAddr, usize>,
}

impl Admission {
    pub(super) fn new(max: usize, max_per_ip: usize) -> Self {
        Self {
            max,
            max_per_ip,
            open: Arc::default(),
            refusals: Arc::new(Semaphore::new(MAX_REFUSALS)),
        }
    }

    /// A place for a connection from `ip`, free again when dropped; `None` above a limit.
    pub(super) fn admit(&self, ip: IpAddr) -> Option<Slot> {
        let network = network(ip);
        let mut open = lock(&self.open);
        let of_network = open.by_network.get(&network).copied().unwrap_or(0);
        if open.total >= self.max || (self.max_per_ip > 0 && of_network >= self.max_per_ip) {
            counter!("ally360_limits_hit_total", "limit" => "connections").increment(1);
            return None;
        }
        open.total += 1;
        open.by_network.insert(network, of_network + 1);
        Some(Slot {
            network,
            open: Arc::clone(&self.open),
        })
    }

    /// Connections now open.
    pub(super) fn open(&self) -> usize {
        lock(&self.open).total
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

/// The place of one open connection.
pub(super) struct Slot {
    network: IpAddr,
    open: Arc<Mutex<Open>>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        open.total -= 1;
        if let Some(count) = open.by_network.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                open.by_network.remove(&self.network);
            }
        }
    }
}

/// What one subscriber holds: an IPv4 address, or an IPv6 /64.
fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

fn lock(open: &Mutex<Open>) -> MutexGuard<'_, Open> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
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

    #[test]
    fn addresses_of_one_subscriber_share_a_limit() {
        let admission = Admission::new(10, 1);
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        let _first = [
            admission.admit(ip("2001:db8::1")),
            admission.admit(ip("192.0.2.1")),
        ];
        assert!(admission.admit(ip("2001:db8::ffff")).is_none(), "same /64");
        assert!(admission.admit(ip("2001:db8:0:1::1")).is_some(), "another /64");
        assert!(
            admission.admit(ip("::ffff:192.0.2.1")).is_none(),
            "the same IPv4 address, mapped"
        );
        assert!(admission.admit(ip("192.0.2.2")).is_some(), "another IPv4 address");
    }
}
