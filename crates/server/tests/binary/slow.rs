//! A thousand clients that take their time, and bodies without an end: others do not notice.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::support::{COMPANY, Client, Home, figures, full};

/// What a limit may be late by on a busy machine.
const LATE: Duration = Duration::from_secs(5);

fn post(token: &str, headers: &str) -> String {
    format!(
        "POST /products HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\nX-Company-ID: {COMPANY}\r\n\
         Content-Type: application/json\r\n{headers}\r\n\r\n"
    )
}

/// Times of so many reads, one after the other: the median and the 99th percentile.
async fn times(client: &Client, count: usize) -> [Duration; 2] {
    let mut times = Vec::new();
    for _ in 0..count {
        let began = Instant::now();
        client.get("/products?limit=5").await.expect(200);
        times.push(began.elapsed());
        sleep(Duration::from_millis(5)).await;
    }
    times.sort();
    [times[count / 2], times[count * 99 / 100]]
}

/// Has sent that much and sends no more; how long until the server closes.
async fn stall(mut stream: TcpStream, limit: Duration) -> Duration {
    let began = Instant::now();
    let mut answer = Vec::new();
    // A reset is an end too.
    let ended = timeout(limit + LATE, stream.read_to_end(&mut answer)).await;
    assert!(ended.is_ok(), "open for longer than {limit:?}");
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_slow_clients_are_closed_in_time_and_hold_nobody_up() {
    let home = Home::seeded();
    let body_seconds = 4;
    let server = home
        .program(["dev"])
        .env("ALLY360_BODY_TIMEOUT_SECONDS", body_seconds.to_string())
        .start();
    let client = Client::owner(&server.url()).await;
    let reads = if full() { 400 } else { 60 };
    let quiet = times(&client, reads).await;

    let mut slow = JoinSet::new();
    for number in 0..1000 {
        let (limit, begin) = match number % 3 {
            // Ten seconds for a header.
            0 => (10, "GET /health HTTP/1.1\r\nHost: h\r\nX-Slow".to_owned()),
            1 => (10, "G".to_owned()),
            _ => {
                let header = post(&client.token, "Content-Length: 100\r\nConnection: close");
                (body_seconds, header + "{\"name\":")
            }
        };
        // One after the other: they are slow, not a flood.
        let mut stream = TcpStream::connect(server.address()).await.expect("a connection");
        stream
            .write_all(begin.as_bytes())
            .await
            .expect("the server reads");
        let limit = Duration::from_secs(limit);
        slow.spawn(async move { (limit, stall(stream, limit).await) });
    }
    let busy = times(&client, reads).await;
    let mut latest = Duration::ZERO;
    while let Some(ended) = slow.join_next().await {
        let (limit, took) = ended.expect("closed in time");
        latest = latest.max(took.saturating_sub(limit));
    }
    assert!(busy[1] < Duration::from_secs(2), "{busy:?}");
    figures(
        "1,000 slow clients: a byte, half a header, half a body",
        &format!(
            "a read takes {} ms (p99 {}) meanwhile, {} ms (p99 {}) without them; closed at most {} ms after their limit",
            busy[0].as_millis(),
            busy[1].as_millis(),
            quiet[0].as_millis(),
            quiet[1].as_millis(),
            latest.as_millis()
        ),
    );
    server.stop().success();
}

/// Sends pieces of a body for ever; the answer's status and how long until the server closed.
async fn pour(address: SocketAddr, token: String, pause: Duration) -> (String, Duration) {
    let stream = TcpStream::connect(address).await.expect("a connection");
    let (mut read, mut write) = stream.into_split();
    let began = Instant::now();
    let sending = async {
        write
            .write_all(post(&token, "Transfer-Encoding: chunked").as_bytes())
            .await?;
        let piece = if pause.is_zero() {
            vec![b' '; 0x10000]
        } else {
            vec![b' ']
        };
        loop {
            write
                .write_all(format!("{:x}\r\n", piece.len()).as_bytes())
                .await?;
            write.write_all(&piece).await?;
            write.write_all(b"\r\n").await?;
            sleep(pause).await;
        }
        #[expect(unreachable_code, reason = "the type of the result")]
        std::io::Result::Ok(())
    };
    let mut answer = Vec::new();
    let reading = async {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = read.read(&mut bytes).await {
            answer.extend_from_slice(&bytes[..count]);
        }
    };
    tokio::join!(sending, reading).0.expect_err("the server closes");
    (
        String::from_utf8_lossy(&answer).chars().take(12).collect(),
        began.elapsed(),
    )
}

/// The largest memory that the process ever had, in MiB.
fn peak(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("Linux");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .expect("a line");
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kilobytes / 1024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_without_an_end_is_cut_by_size_or_by_time() {
    let home = Home::seeded();
    let server = home
        .program(["dev"])
        .env("ALLY360_BODY_TIMEOUT_SECONDS", "3")
        .start();
    let client = Client::owner(&server.url()).await;
    client.get("/products").await.expect(200);
    let before = peak(server.pid());
    let count = if full() { 200 } else { 40 };
    let mut pouring = JoinSet::new();
    for number in 0..count {
        let fast = number % 2 == 0;
        let pause = Duration::from_millis(if fast { 0 } else { 100 });
        let (address, token) = (server.address(), client.token.clone());
        pouring.spawn(async move {
            (
                fast,
                timeout(Duration::from_secs(60), pour(address, token, pause)).await,
            )
        });
    }
    let meanwhile = times(&client, 30).await;
    let mut slowest = Duration::ZERO;
    while let Some(ended) = pouring.join_next().await {
        let (fast, ended) = ended.expect("an end");
        let (status, took) = ended.expect("an end within a minute");
        // Who still sends may be reset before he has read the answer.
        let expected = if fast { "HTTP/1.1 413" } else { "HTTP/1.1 408" };
        assert!(status == expected || status.is_empty(), "{status}");
        slowest = slowest.max(took);
    }
    assert!(slowest < Duration::from_secs(3) + LATE, "{slowest:?}");
    let grown = peak(server.pid()) - before;
    assert!(grown < 150, "{grown} MiB more memory");
    client.get("/products").await.expect(200);
    figures(
        "endless bodies, at full speed and by the byte",
        &format!(
            "{count} at once cut within {} ms, {grown} MiB more memory at most; a read takes {} ms (p99 {}) meanwhile",
            slowest.as_millis(),
            meanwhile[0].as_millis(),
            meanwhile[1].as_millis()
        ),
    );
    server.stop().success();
}
