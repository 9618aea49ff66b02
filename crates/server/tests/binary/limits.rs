//! What a client may not do for long, or in bulk.

use std::time::{Duration, Instant};

use crate::support::{COMPANY, Client, Home, Raw, exchange};

const MIB: usize = 1024 * 1024;

fn post(token: &str, headers: &str) -> String {
    format!(
        "POST /products HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\nX-Company-ID: {COMPANY}\r\n\
         Content-Type: application/json\r\n{headers}\r\n\r\n"
    )
}

#[tokio::test]
async fn a_body_is_at_most_a_mebibyte() {
    let home = Home::seeded();
    let server = home.program(["dev"]).start();
    let token = Client::owner(&server.url()).await.token;
    let refused = |request: Vec<u8>, what: &str| {
        let (status, answer) = exchange(server.address(), request);
        assert!(
            status == 413 && answer.contains("\"code\":\"body-too-large\""),
            "{what}: {answer}"
        );
    };
    // Declared: refused before a byte of it is read.
    refused(
        post(&token, &format!("Content-Length: {}", MIB + 1)).into_bytes(),
        "declared",
    );
    refused(
        post(&token, "Content-Length: 99999999999").into_bytes(),
        "declared and huge",
    );
    // In chunks: refused when it gets too long.
    let chunk = [b"10000\r\n".to_vec(), vec![b' '; 0x10000], b"\r\n".to_vec()].concat();
    let request = [
        post(&token, "Transfer-Encoding: chunked").into_bytes(),
        chunk.repeat(17),
    ]
    .concat();
    refused(request, "in chunks");
    // The limit itself is allowed: this body is only not JSON.
    let request = [
        post(&token, &format!("Content-Length: {MIB}")).into_bytes(),
        vec![b' '; MIB],
    ]
    .concat();
    let (status, answer) = exchange(server.address(), request);
    assert!(status == 400 && answer.contains("malformed-json"), "{answer}");
    // Who is nobody is told so before his body counts.
    let (status, _) = exchange(
        server.address(),
        post("x", &format!("Content-Length: {}", MIB + 1)),
    );
    assert_eq!(status, 401);
}

#[tokio::test]
async fn a_slow_body_is_given_up() {
    let home = Home::seeded();
    let server = home
        .program(["dev"])
        .env("ALLY360_BODY_TIMEOUT_SECONDS", "3")
        .start();
    let client = Client::owner(&server.url()).await;
    let began = Instant::now();
    let mut slow: Vec<Raw> = (0..30)
        .map(|_| {
            let mut connection = Raw::connect(server.address());
            connection
                .send(post(&client.token, "Content-Length: 100"))
                .send("{\"name\":");
            connection
        })
        .collect();
    // More than there are database connections wait for their bodies, and nobody else waits for them.
    client.get("/products").await.expect(200);
    assert!(
        began.elapsed() < Duration::from_millis(2900),
        "{:?}",
        began.elapsed()
    );
    for connection in &mut slow {
        let answer = connection.answer().expect("an answer");
        assert!(
            answer.starts_with("HTTP/1.1 408") && answer.contains("body-timeout"),
            "{answer}"
        );
        connection.closed();
    }
    let took = began.elapsed();
    assert!(
        took > Duration::from_millis(2900) && took < Duration::from_secs(10),
        "{took:?}"
    );
}

#[tokio::test]
async fn a_header_must_come_within_ten_seconds() {
    let home = Home::seeded();
    let server = home.program(["dev"]).start();
    let mut silent = Raw::connect(server.address());
    let mut half = Raw::connect(server.address());
    half.send("GET /health HTTP/1.1\r\nHost: h\r\nX-Slow");
    let took = half.closed();
    assert!(
        took > Duration::from_secs(9) && took < Duration::from_secs(12),
        "{took:?}"
    );
    assert!(silent.closed() < Duration::from_secs(2), "it had the same time");
}

#[tokio::test]
async fn headers_are_bounded() {
    let home = Home::seeded();
    let server = home.program(["dev"]).start();
    let long = format!(
        "GET /health HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n",
        "x".repeat(100_000)
    );
    let many = format!(
        "GET /health HTTP/1.1\r\nHost: h\r\n{}\r\n",
        "X: y\r\n".repeat(100)
    );
    let path = format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "x".repeat(100_000));
    for (what, request) in [("long", long), ("many", many), ("path", path)] {
        let (status, answer) = exchange(server.address(), request);
        assert!(matches!(status, 0 | 400 | 414 | 431), "{what}: {answer}");
    }
    let (status, _) = exchange(
        server.address(),
        format!(
            "GET /health HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n",
            "x".repeat(8_000)
        ),
    );
    assert_eq!(status, 200);
}

#[tokio::test]
async fn connections_above_the_limit_are_told_so() {
    let home = Home::seeded();
    let server = home.program(["dev"]).env("ALLY360_MAX_CONNECTIONS", "3").start();
    let live = "GET /health/live HTTP/1.1\r\nHost: h\r\n\r\n";
    let mut kept: Vec<Raw> = (0..3).map(|_| Raw::connect(server.address())).collect();
    for connection in &mut kept {
        assert!(
            connection
                .send(live)
                .answer()
                .expect("an answer")
                .starts_with("HTTP/1.1 200")
        );
    }
    let (status, answer) = exchange(server.address(), live);
    assert!(
        status == 503 && answer.contains("application/problem+json"),
        "{answer}"
    );
    kept.pop();
    crate::support::wait_until("a free place", Duration::from_secs(5), || {
        exchange(server.address(), live).0 == 200
    });
}
