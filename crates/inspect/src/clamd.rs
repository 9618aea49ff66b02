//! Scanning with a ClamAV daemon over its INSTREAM command.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::civil::DateTime;
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{AcquireError, Semaphore};
use tokio::time::timeout;

use crate::archive::Extent;
use crate::config::{Address, ClamdSettings};
use crate::verdict::{NoVerdict, Refusal, Rejected, Scanner, reason};

const CHUNK: usize = 64 * 1024;
/// Longest reply that is read; real ones have the length of a signature's name.
const MAX_REPLY: u64 = 4096;

/// A daemon; clones share its connection limit.
#[derive(Clone, Debug)]
pub(crate) struct Clamd {
    address: Address,
    timeout: Duration,
    pub max_bytes: u64,
    connections: Arc<Semaphore>,
}

/// What clamd says about a stream.
#[derive(Debug, PartialEq, Eq)]
enum Reply {
    Clean,
    Infected(String),
    /// clamd did not look at all of it.
    Unscannable(String),
    Error(String),
}

/// Both directions of a connection.
trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

impl Clamd {
    pub fn new(settings: ClamdSettings) -> Self {
        Self {
            address: settings.address,
            timeout: settings.timeout,
            max_bytes: settings.max_bytes,
            connections: Arc::new(Semaphore::new(settings.max_connections.into())),
        }
    }

    /// `clamd 1.4.6/27800`: the versions of engine and signature database; only the engine's when the database
    /// has no official part, which alone has an age.
    pub async fn version(&self) -> Result<Scanner, NoVerdict> {
        self.within_timeout(self.ask_version()).await
    }

    /// Scans a file; what it returns names the scanner.
    ///
    /// clamd skips what exceeds its limits, inside archives without saying so. Therefore nothing beyond the
    /// limits is handed to it, judged by what the archive check counted.
    pub async fn scan(
        &self,
        path: &Path,
        size: u64,
        archive: Extent,
    ) -> Result<Result<String, Refusal>, NoVerdict> {
        if size.max(archive.largest) > self.max_bytes || archive.total > self.max_bytes.saturating_mul(4) {
            let detail = format!("larger than the scanner looks into ({} bytes)", self.max_bytes);
            return Ok(Err(Rejected::new(reason::UNSCANNABLE, detail).into()));
        }
        let closed = |error: AcquireError| NoVerdict::Unavailable(error.to_string());
        // Waiting for a turn is no time of the scan.
        let _connection = self.connections.acquire().await.map_err(closed)?;
        let looking = AtomicBool::new(false);
        let scanned = self.within_timeout(async {
            let version = self.ask_version().await?;
            let (connection, file) = (self.connect().await?, File::open(path).await?);
            looking.store(true, Ordering::Relaxed);
            let reply = instream(connection, file).await?;
            match Reply::parse(&reply) {
                Reply::Clean => Ok(Ok(version.name)),
                Reply::Infected(name) => Ok(Err(Refusal::Infected { name })),
                Reply::Unscannable(detail) => Ok(Err(Rejected::new(reason::UNSCANNABLE, detail).into())),
                Reply::Error(detail) => Err(io::Error::other(detail)),
            }
        });
        match scanned.await {
            Err(NoVerdict::Unavailable(cause)) if looking.into_inner() => Err(NoVerdict::Failed(cause)),
            scanned => scanned,
        }
    }

    /// Has it scan a few bytes in which there is nothing.
    pub async fn try_scan(&self) -> Result<(), NoVerdict> {
        self.within_timeout(async {
            let reply = instream(self.connect().await?, &b"nothing"[..]).await?;
            match Reply::parse(&reply) {
                Reply::Clean => Ok(()),
                other => Err(io::Error::other(format!("of nothing it says {other:?}"))),
            }
        })
        .await
    }

    async fn ask_version(&self) -> io::Result<Scanner> {
        let mut connection = self.connect().await?;
        connection.write_all(b"zVERSION\0").await?;
        let reply = read_reply(&mut connection).await?;
        let reply = String::from_utf8_lossy(&reply);
        parse_version(&reply).ok_or_else(|| unexpected(&reply))
    }

    async fn connect(&self) -> io::Result<Box<dyn Connection>> {
        Ok(match &self.address {
            Address::Tcp(authority) => Box::new(TcpStream::connect(authority).await?),
            Address::Unix(path) => Box::new(UnixStream::connect(path).await?),
        })
    }

    /// clamd does not cut connections that wait, so the deadline is ours.
    async fn within_timeout<T>(&self, exchange: impl Future<Output = io::Result<T>>) -> Result<T, NoVerdict> {
        match timeout(self.timeout, exchange).await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(error)) => Err(NoVerdict::Unavailable(format!(
                "clamd at {}: {error}",
                self.address
            ))),
            Err(_) => {
                let seconds = self.timeout.as_secs();
                Err(NoVerdict::Unavailable(format!(
                    "clamd at {}: no answer in {seconds} s",
                    self.address
                )))
            }
        }
    }
}

/// `ClamAV 1.4.6/27800/Mon Nov 23 09:00:00 2026`, the time being of clamd's own time zone.
fn parse_version(reply: &str) -> Option<Scanner> {
    let version = reply.strip_prefix("ClamAV ")?;
    let mut parts = version.trim_end_matches('\0').splitn(3, '/').map(str::trim);
    let engine = parts.next().unwrap_or_default();
    let name = parts.next().map_or_else(
        || format!("clamd {engine}"),
        |database| format!("clamd {engine}/{database}"),
    );
    let made = parts
        .next()
        .and_then(|made| DateTime::strptime("%a %b %e %H:%M:%S %Y", made).ok());
    Some(Scanner {
        name,
        signatures_made: made,
    })
}

/// Sends the file and returns the reply, also when clamd gives it before the end and closes.
async fn instream(connection: impl Connection, file: impl AsyncRead + Unpin) -> io::Result<Vec<u8>> {
    let (mut reader, mut writer) = tokio::io::split(connection);
    let reply = read_reply(&mut reader);
    tokio::pin!(reply);
    let sent = tokio::select! {
        early = &mut reply => {
            let early = early?;
            // It cannot know yet.
            let clean = Reply::parse(&early) == Reply::Clean;
            return if clean { Err(unexpected("OK before the end of the stream")) } else { Ok(early) };
        }
        sent = send(&mut writer, file) => sent,
    };
    match (reply.await, sent) {
        (Ok(reply), Ok(())) => Ok(reply),
        // A broken pipe: the reply says why, but a stream that was cut off is not clean.
        (Ok(reply), Err(error)) if Reply::parse(&reply) == Reply::Clean => Err(error),
        (Ok(reply), Err(_)) if !reply.is_empty() => Ok(reply),
        (_, Err(error)) | (Err(error), Ok(())) => Err(error),
    }
}

async fn send(writer: &mut (impl AsyncWrite + Unpin), mut file: impl AsyncRead + Unpin) -> io::Result<()> {
    writer.write_all(b"zINSTREAM\0").await?;
    let mut buffer = vec![0; CHUNK];
    loop {
        let count = file.read(&mut buffer).await?;
        let length = u32::try_from(count).map_err(io::Error::other)?;
        writer.write_all(&length.to_be_bytes()).await?;
        if count == 0 {
            return writer.flush().await;
        }
        writer.write_all(buffer.get(..count).unwrap_or_default()).await?;
    }
}

/// Up to the zero byte that ends a reply, or as far as it goes.
async fn read_reply(reader: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut reply = Vec::new();
    let mut limited = reader.take(MAX_REPLY);
    while !reply.ends_with(b"\0") && limited.read_buf(&mut reply).await? > 0 {}
    Ok(reply)
}

impl Reply {
    /// Only the exact `stream: OK` is clean.
    fn parse(reply: &[u8]) -> Self {
        if reply == b"stream: OK\0" {
            return Self::Clean;
        }
        let text = String::from_utf8_lossy(reply);
        let text = text.trim_end_matches(['\0', '\n']);
        let error = || Self::Error(unexpected(text).to_string());
        if !reply.ends_with(b"\0") {
            return error();
        }
        if let Some(name) = text
            .strip_prefix("stream: ")
            .and_then(|rest| rest.strip_suffix(" FOUND"))
        {
            return match name {
                "" => error(),
                _ if is_limit(name) => Self::Unscannable(name.to_owned()),
                _ => Self::Infected(name.to_owned()),
            };
        }
        if text == "INSTREAM size limit exceeded. ERROR" {
            return Self::Unscannable("larger than clamd's StreamMaxLength".to_owned());
        }
        error()
    }
}

/// Names under which clamd reports that it could not look into something.
fn is_limit(name: &str) -> bool {
    ["Heuristics.Limits.Exceeded", "Heuristics.Encrypted."]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

fn unexpected(reply: &str) -> io::Error {
    io::Error::other(format!("unexpected reply {reply:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_reply_is_clean() {
        assert_eq!(Reply::parse(b"stream: OK\0"), Reply::Clean);
        for reply in [
            "",
            "\0",
            "OK\0",
            "stream: OK",
            "stream: OK\n",
            "stream: ok\0",
            "stream: OK OK\0",
            "x stream: OK\0",
            "stream: OK\0stream: OK\0",
            "stream:  FOUND\0",
            "stream: Can't allocate memory ERROR\0",
            "UNKNOWN COMMAND\0",
        ] {
            assert!(
                matches!(Reply::parse(reply.as_bytes()), Reply::Error(_)),
                "{reply:?}"
            );
        }
    }

    #[test]
    fn signatures_have_the_age_that_the_version_tells() {
        let parse = |reply: &str| {
            let scanner = parse_version(reply).expect(reply);
            (scanner.name, scanner.signatures_made.map(|made| made.to_string()))
        };
        let told = |made: &str| ("clamd 1.4.6/27800".to_owned(), Some(made.to_owned()));
        assert_eq!(
            parse("ClamAV 1.4.6/27800/Mon Nov 23 09:00:00 2026\0"),
            told("2026-11-23T09:00:00")
        );
        assert_eq!(
            parse("ClamAV 1.4.6/27800/Tue Nov  3 19:05:59 2026\0"),
            told("2026-11-03T19:05:59")
        );
        assert_eq!(
            parse("ClamAV 1.4.6/27800/today\0"),
            ("clamd 1.4.6/27800".to_owned(), None)
        );
        assert_eq!(parse("ClamAV 1.4.6\0"), ("clamd 1.4.6".to_owned(), None));
        assert!(parse_version("stream: OK\0").is_none());
    }

    #[test]
    fn limits_are_not_infections() {
        let infected = Reply::Infected("Win.Test.EICAR_HDB-1".to_owned());
        assert_eq!(Reply::parse(b"stream: Win.Test.EICAR_HDB-1 FOUND\0"), infected);
        for reply in [
            "stream: Heuristics.Limits.Exceeded.MaxFileSize FOUND\0",
            "stream: Heuristics.Encrypted.Zip FOUND\0",
            "INSTREAM size limit exceeded. ERROR\0",
        ] {
            assert!(
                matches!(Reply::parse(reply.as_bytes()), Reply::Unscannable(_)),
                "{reply:?}"
            );
        }
    }
}
