//! A scanner that answers when the test lets it.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

/// Speaks as much of clamd's protocol as a client needs. Every scan takes one of the permits given.
pub struct Clamd {
    pub address: String,
    /// Scans that were begun.
    pub begun: Arc<Semaphore>,
    permits: Arc<Semaphore>,
    task: JoinHandle<()>,
}

impl Clamd {
    /// Listens on this port, or on a free one.
    pub async fn start(port: u16) -> Clamd {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("a port");
        let address = format!("tcp://{}", listener.local_addr().expect("an address"));
        let (begun, permits) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let shared = (begun.clone(), permits.clone());
        let tasks = TaskTracker::new();
        let connections = tasks.clone();
        let task = tasks.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (begun, permits) = shared.clone();
                connections.spawn(async move { serve(stream, &begun, &permits).await.ok() });
            }
        });
        Clamd {
            address,
            begun,
            permits,
            task,
        }
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

async fn serve(mut stream: TcpStream, begun: &Semaphore, permits: &Semaphore) -> std::io::Result<()> {
    let mut command = Vec::new();
    while command.last() != Some(&0) {
        command.push(stream.read_u8().await?);
    }
    if command == b"zVERSION\0" {
        return stream.write_all(b"ClamAV 1.4.6/27800/today\0").await;
    }
    loop {
        let length = stream.read_u32().await?;
        if length == 0 {
            break;
        }
        let mut chunk = vec![0; length as usize];
        stream.read_exact(&mut chunk).await?;
    }
    begun.add_permits(1);
    permits.acquire().await.expect("open").forget();
    stream.write_all(b"stream: OK\0").await
}
