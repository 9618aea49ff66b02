//! A scanner that answers when the test lets it.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

/// Speaks as much of clamd's protocol as a client needs. Every scan takes one of the permits given, and finds
/// malware in what holds that word.
pub struct Clamd {
    pub address: String,
    /// Scans that were begun.
    pub begun: Arc<Semaphore>,
    permits: Arc<Semaphore>,
    scanned: Arc<Mutex<Vec<Vec<u8>>>>,
    task: JoinHandle<()>,
}

impl Clamd {
    /// Listens on this port, or on a free one.
    pub async fn start(port: u16) -> Clamd {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("a port");
        let address = format!("tcp://{}", listener.local_addr().expect("an address"));
        let (begun, permits) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let scanned = Arc::<Mutex<Vec<Vec<u8>>>>::default();
        let shared = (begun.clone(), permits.clone(), scanned.clone());
        let tasks = TaskTracker::new();
        let connections = tasks.clone();
        let task = tasks.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (begun, permits, scanned) = shared.clone();
                connections.spawn(async move { serve(stream, &begun, &permits, &scanned).await.ok() });
            }
        });
        Clamd {
            address,
            begun,
            permits,
            scanned,
            task,
        }
    }

    /// Whether exactly these bytes were scanned.
    pub fn has_scanned(&self, bytes: &[u8]) -> bool {
        let scanned = self.scanned.lock().unwrap_or_else(PoisonError::into_inner);
        scanned.iter().any(|scanned| scanned == bytes)
    }

    /// Lets so many scans end.
    pub fn allow(&self, scans: usize) {
        self.permits.add_permits(scans);
    }
}

impl Drop for Clamd {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut stream: TcpStream,
    begun: &Semaphore,
    permits: &Semaphore,
    scanned: &Mutex<Vec<Vec<u8>>>,
) -> std::io::Result<()> {
    let mut command = Vec::new();
    while command.last() != Some(&0) {
        command.push(stream.read_u8().await?);
    }
    if command == b"zVERSION\0" {
        return stream.write_all(b"ClamAV 1.4.6/27800/today\0").await;
    }
    let mut bytes = Vec::new();
    loop {
        let length = stream.read_u32().await?;
        if length == 0 {
            break;
        }
        let mut chunk = vec![0; length as usize];
        stream.read_exact(&mut chunk).await?;
        bytes.extend(chunk);
    }
    // A file that it dies of.
    if bytes == b"crash" {
        return Ok(());
    }
    let infected = String::from_utf8_lossy(&bytes).contains("malware");
    scanned.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
    begun.add_permits(1);
    permits.acquire().await.expect("open").forget();
    let reply: &[u8] = if infected {
        b"stream: Test.Malware FOUND\0"
    } else {
        b"stream: OK\0"
    };
    stream.write_all(reply).await
}
