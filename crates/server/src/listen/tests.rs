//! Drives the loop over real sockets, with limits short enough to watch them pass.

mod support;

use std::io::ErrorKind;
use std::pin::pin;

use axum::http::StatusCode;
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::time::Instant;

use super::*;
use support::*;

#[tokio::test]
async fn unfinished_first_header_is_cut() {
    let limits = short();
    let server = TestServer::start(Limits {
        idle_timeout: Duration::from_secs(60),
        ..limits.clone()
    })
    .await;
    for begin in [
        "",
        "GET /quick HT",
        "GET /quick HTTP/1.1\r\nhost: x\r\n",
        "PRI * HTTP/2",
    ] {
        let began = Instant::now();
        let mut stream = server.connect().await;
        send(&mut stream, begin).await;
        assert_eq!(rest(&mut stream).await, "", "after {begin:?}");
        assert_near(began.elapsed(), limits.header_timeout);
    }
}

#[tokio::test]
async fn unfinished_later_header_is_cut() {
    let limits = short();
    let server = TestServer::start(Limits {
        idle_timeout: Duration::from_secs(60),
        ..limits.clone()
    })
    .await;
    let mut stream = server.connect().await;
    exchange(&mut stream, "/quick").await;
    sleep(limits.header_timeout * 2).await;
    let began = Instant::now();
    send(&mut stream, "GET").await;
    assert_eq!(rest(&mut stream).await, "");
    assert_near(began.elapsed(), limits.header_timeout);
}

#[tokio::test]
async fn header_sent_byte_by_byte_is_cut() {
    let limits = short();
    let server = TestServer::start(Limits {
        idle_timeout: Duration::from_secs(60),
        ..limits.clone()
    })
    .await;
    let mut stream = server.connect().await;
    for kept_alive in [false, true] {
        if kept_alive {
            stream = server.connect().await;
            assert_eq!(status(&exchange(&mut stream, "/quick").await), 200);
            sleep(limits.header_timeout * 2).await;
        }
        let began = Instant::now();
        let (mut read, mut write) = stream.split();
        let mut byte = [0];
        let mut closed = pin!(read.read(&mut byte));
        for sent in "GET /quick HTTP/1.1\r\nhost: a-long-enough-name\r\n".bytes() {
            let _ = write.write_u8(sent).await;
            if let Ok(end) = timeout(Duration::from_millis(100), &mut closed).await {
                assert!(matches!(end, Ok(0) | Err(_)), "no answer to half a header");
                break;
            }
        }
        assert_near(began.elapsed(), limits.header_timeout);
    }
}

#[tokio::test]
async fn connection_at_rest_lives_for_the_idle_timeout() {
    let limits = Limits {
        header_timeout: Duration::from_millis(200),
        ..short()
    };
    let server = TestServer::start(Limits {
        idle_timeout: Duration::from_secs(1),
        ..limits.clone()
    })
    .await;
    let mut stream = server.connect().await;
    exchange(&mut stream, "/quick").await;
    sleep(Duration::from_millis(700)).await;
    assert_eq!(
        status(&exchange(&mut stream, "/quick").await),
        200,
        "at rest for longer than a header may take"
    );
    let began = Instant::now();
    assert_eq!(rest(&mut stream).await, "");
    assert_near(began.elapsed(), Duration::from_secs(1));
}

#[tokio::test]
async fn slow_handler_and_slow_stream_are_not_cut() {
    let server = TestServer::start(short()).await;
    let handler = async {
        let mut stream = server.connect().await;
        assert_eq!(status(&exchange(&mut stream, "/slow").await), 200);
    };
    let events = async {
        let mut stream = server.connect().await;
        ask_last(&mut stream, "/events").await;
        assert_eq!(rest(&mut stream).await.matches("event").count(), 2);
    };
    let handler_http2 = async {
        let (mut client, _connection) = server.http2().await;
        let response = client.send_request(request("/slow")).await.expect("an answer");
        assert_eq!(response.status(), StatusCode::OK);
    };
    let events_http2 = async {
        let (mut client, _connection) = server.http2().await;
        let response = client.send_request(request("/events")).await.expect("an answer");
        let events = response.into_body().collect().await.expect("all events");
        assert_eq!(events.to_bytes(), "event\nevent\n");
    };
    tokio::join!(handler, events, handler_http2, events_http2);
}

#[tokio::test]
async fn peer_that_does_not_read_is_cut() {
    // A stalled connection holds the only slot until it is cut.
    let limits = Limits {
        max_connections: 1,
        idle_timeout: Duration::from_secs(60),
        ..short()
    };
    let server = TestServer::start(limits.clone()).await;
    let mut stream = server.connect().await;
    ask(&mut stream, "/large").await;
    sleep(limits.write_timeout / 2).await;
    assert_eq!(server.quick().await, 503);
    sleep(limits.write_timeout / 2 + LATE).await;
    assert_eq!(server.quick().await, 200);
}

#[tokio::test]
async fn http2_peer_that_opens_no_window_is_cut() {
    let limits = short();
    let server = TestServer::start(limits.clone()).await;
    let (mut client, connection) = server.http2().await;
    let response = client.send_request(request("/large")).await.expect("a head");
    let began = Instant::now();
    let ended = timeout(Duration::from_secs(10), connection)
        .await
        .expect("the server closes");
    assert_near(began.elapsed(), limits.idle_timeout);
    drop((ended, response));
}

#[tokio::test]
async fn peer_that_reads_slowly_gets_everything() {
    let server = TestServer::start(short()).await;
    let mut stream = server.connect().await;
    ask_last(&mut stream, "/large").await;
    let (began, mut received, mut chunk) = (Instant::now(), 0, vec![0; 256 << 10]);
    loop {
        match stream.read(&mut chunk).await.expect("not cut") {
            0 => break,
            size => received += size,
        }
        if began.elapsed() < SLOW {
            sleep(Duration::from_millis(20)).await;
        }
    }
    assert!(received > LARGE, "{received} bytes");

    let (mut client, _connection) = server.http2().await;
    let response = client.send_request(request("/large")).await.expect("a head");
    let (began, mut received, mut body) = (Instant::now(), 0, response.into_body());
    while let Some(frame) = body.frame().await {
        received += frame.expect("not cut").into_data().expect("data").len();
        if began.elapsed() < SLOW {
            sleep(Duration::from_millis(100)).await;
        }
    }
    assert_eq!(received, LARGE);
}

#[tokio::test]
async fn connections_above_the_limit_are_refused_until_one_closes() {
    let server = TestServer::start(Limits {
        max_connections: 2,
        ..Limits::default()
    })
    .await;
    let (mut first, mut second) = (server.connect().await, server.connect().await);
    exchange(&mut first, "/quick").await;
    exchange(&mut second, "/quick").await;

    let mut third = server.connect().await;
    ask(&mut third, "/quick").await;
    let mut refusal = String::new();
    third
        .read_to_string(&mut refusal)
        .await
        .expect("an answer and no reset");
    assert_eq!(status(&refusal), 503);
    assert!(refusal.contains("\r\nRetry-After: 1\r\n"), "{refusal}");
    assert!(
        refusal.contains("\r\nContent-Type: application/problem+json\r\n"),
        "{refusal}"
    );

    assert_eq!(
        status(&exchange(&mut first, "/quick").await),
        200,
        "those inside are served"
    );
    drop(second);
    sleep(Duration::from_millis(100)).await;
    assert_eq!(server.quick().await, 200);
}

#[tokio::test]
async fn one_address_is_limited_apart_from_others() {
    let server = TestServer::start(Limits {
        max_connections_per_ip: 1,
        ..Limits::default()
    })
    .await;
    let mut first = server.connect().await;
    exchange(&mut first, "/quick").await;
    assert_eq!(server.quick().await, 503);

    let socket = TcpSocket::new_v4().expect("a socket");
    socket
        .bind("127.0.0.2:0".parse().expect("an address"))
        .expect("loopback");
    let mut other = socket.connect(server.address).await.expect("the server accepts");
    assert_eq!(status(&exchange(&mut other, "/quick").await), 200);

    drop(first);
    sleep(Duration::from_millis(100)).await;
    assert_eq!(server.quick().await, 200);
}

#[tokio::test]
async fn leaving_serves_on_and_keeps_no_connection() {
    let server = TestServer::start(Limits::default()).await;
    let mut kept = server.connect().await;
    let answer = exchange(&mut kept, "/quick").await;
    assert!(!answer.contains("connection: close"), "{answer}");
    let (mut client, connection) = server.http2().await;

    server.leaving.cancel();
    let answer = exchange(&mut kept, "/quick").await;
    assert!(
        status(&answer) == 200 && answer.contains("connection: close"),
        "{answer}"
    );
    assert_eq!(rest(&mut kept).await, "");
    assert_eq!(server.quick().await, 200, "on a new connection");
    for _ in 0..2 {
        let answer = client.send_request(request("/quick")).await.expect("an answer");
        assert!(answer.headers().get("connection").is_none(), "HTTP/2 has GOAWAY");
    }
    drop((client, connection));
}

#[tokio::test]
async fn shutdown_finishes_open_requests() {
    let server = TestServer::start(Limits {
        drain_timeout: Duration::from_secs(20),
        ..Limits::default()
    })
    .await;
    let mut at_rest = server.connect().await;
    exchange(&mut at_rest, "/quick").await;
    let mut working = server.connect().await;
    ask(&mut working, "/slow").await;
    let (mut client, _connection) = server.http2().await;
    client.ready().await.expect("a connection");
    let working_http2 = client.send_request(request("/slow"));
    sleep(Duration::from_millis(200)).await;

    let began = Instant::now();
    server.shutdown.cancel();
    assert_eq!(rest(&mut at_rest).await, "");
    assert!(began.elapsed() < LATE, "a connection at rest closes at once");
    let refused = TcpStream::connect(server.address)
        .await
        .expect_err("no new connections");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);

    let response = rest(&mut working).await;
    assert_eq!(status(&response), 200);
    assert!(response.contains("\r\nconnection: close\r\n"), "{response}");
    assert_eq!(working_http2.await.expect("an answer").status(), StatusCode::OK);
    assert_eq!(server.drained().await, Drained { cut: 0 });
    assert!(began.elapsed() < SLOW + LATE, "nothing is left to wait for");
}

#[tokio::test]
async fn stuck_requests_are_cut_when_the_drain_ends() {
    let limits = short();
    let server = TestServer::start(limits.clone()).await;
    let mut stuck = server.connect().await;
    ask(&mut stuck, "/stuck").await;
    let (mut client, connection) = server.http2().await;
    client.ready().await.expect("a connection");
    let stuck_http2 = client.send_request(request("/stuck"));
    let events = client.send_request(request("/events")).await.expect("a head");
    sleep(Duration::from_millis(200)).await;

    let began = Instant::now();
    assert_eq!(server.drained().await, Drained { cut: 2 });
    assert_near(began.elapsed(), limits.drain_timeout);
    assert_eq!(rest(&mut stuck).await, "");
    assert!(stuck_http2.await.is_err());
    assert!(events.into_body().collect().await.is_err());
    drop(connection);
}

#[tokio::test]
async fn http2_is_served_and_closed_at_rest() {
    let limits = short();
    let server = TestServer::start(limits.clone()).await;
    let (mut client, connection) = server.http2().await;
    let response = client.send_request(request("/peer")).await.expect("an answer");
    assert_eq!(response.version(), http::Version::HTTP_2);
    let peer = response.into_body().collect().await.expect("a body").to_bytes();
    assert!(peer.starts_with(b"127.0.0.1:"), "{peer:?}");

    // The client's pings, and our answers to them, are no progress.
    let began = Instant::now();
    let _ = timeout(Duration::from_secs(10), connection)
        .await
        .expect("the server closes");
    assert_near(began.elapsed(), limits.idle_timeout);
}

#[tokio::test]
async fn handler_ends_with_its_connection() {
    let server = TestServer::start(short()).await;
    let mut stream = server.connect().await;
    ask(&mut stream, "/stuck").await;
    sleep(Duration::from_millis(100)).await;
    drop(stream);
    timeout(LATE, server.stuck_dropped.notified())
        .await
        .expect("HTTP/1 handler dropped");

    let (mut client, connection) = server.http2().await;
    client.ready().await.expect("a connection");
    let pending = client.send_request(request("/stuck"));
    sleep(Duration::from_millis(100)).await;
    connection.abort();
    drop((client, pending));
    timeout(LATE, server.stuck_dropped.notified())
        .await
        .expect("HTTP/2 handler dropped");
}

#[tokio::test]
async fn bad_headers_are_answered() {
    let server = TestServer::start(Limits {
        max_header_bytes: 16 * 1024,
        ..Limits::default()
    })
    .await;
    let large = format!(
        "GET / HTTP/1.1\r\nhost: x\r\ncookie: {}\r\n\r\n",
        "x".repeat(20 * 1024)
    );
    let many = format!(
        "GET / HTTP/1.1\r\nhost: x\r\n{}\r\n",
        "a: b\r\n".repeat(MAX_HEADERS)
    );
    for (text, expected) in [(large.as_str(), 431), (&many, 431), ("no request\r\n\r\n", 400)] {
        let mut stream = server.connect().await;
        send(&mut stream, text).await;
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.expect("an answer");
        assert_eq!(status(&String::from_utf8_lossy(&head)), expected);
    }
}

#[test]
fn slow_connections_do_not_stop_others() {
    in_process_with_files(4096, "thousand_slow_connections");
}

#[tokio::test]
#[ignore = "run by slow_connections_do_not_stop_others"]
async fn thousand_slow_connections() {
    let header_timeout = Duration::from_secs(3);
    let server = TestServer::start(Limits {
        header_timeout,
        ..Limits::default()
    })
    .await;
    let mut slow = Vec::new();
    for _ in 0..1_000 {
        let mut stream = server.connect().await;
        send(&mut stream, "GET /quick HTTP/1.1\r\nhost: x\r\n").await;
        slow.push(stream);
    }
    let last = Instant::now();
    assert_eq!(server.quick().await, 200);
    assert!(
        last.elapsed() < Duration::from_millis(500),
        "answered after {:?}",
        last.elapsed()
    );
    for mut stream in slow {
        assert_eq!(rest(&mut stream).await, "");
    }
    assert!(
        last.elapsed() <= header_timeout + LATE,
        "all cut after {:?}",
        last.elapsed()
    );
}

#[test]
fn accepting_survives_a_lack_of_file_descriptors() {
    in_process_with_files(64, "file_descriptors_run_out");
}

#[tokio::test]
#[ignore = "run by accepting_survives_a_lack_of_file_descriptors"]
async fn file_descriptors_run_out() {
    let server = TestServer::start(Limits::default()).await;
    let mut files = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        files.push(file);
    }
    files.pop();
    // The client takes the last descriptor, so the server has none to accept with.
    let mut stream = server.connect().await;
    ask_last(&mut stream, "/quick").await;
    let mut byte = [0];
    assert!(
        timeout(ACCEPT_PAUSE * 3, stream.read(&mut byte)).await.is_err(),
        "not accepted yet"
    );
    drop(files);
    assert_eq!(status(&rest(&mut stream).await), 200);
}
