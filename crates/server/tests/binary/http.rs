//! HTTP as it goes over the wire: versions, methods, framing, compression.

use http::Method;
use serde_json::{Value, json};

use crate::support::{COMPANY, Client, H2, Home, Raw, exchange};

#[tokio::test]
async fn both_versions_are_spoken_on_one_port() {
    let home = Home::seeded();
    let server = home.program(["dev"]).start();
    let client = Client::owner(&server.url()).await;
    let bearer = format!("Bearer {}", client.token);
    let headers: [(&str, &[u8]); 3] = [
        ("authorization", bearer.as_bytes()),
        ("x-company-id", COMPANY.as_bytes()),
        ("content-type", b"application/json"),
    ];
    let mut h2 = H2::connect(server.address()).await;
    let (status, _, body) = h2.send(Method::GET, "/products", &headers, "").await;
    assert_eq!(status, 200);
    assert_eq!(client.get("/products").await.expect(200).text, body);
    let (status, headers, _) = h2
        .send(Method::POST, "/brands", &headers, r#"{"name": "Por HTTP/2"}"#)
        .await;
    assert_eq!(status, 201);
    client
        .get(headers["location"].to_str().expect("text"))
        .await
        .expect(200);
}

#[tokio::test]
async fn every_method_has_its_answer() {
    let home = Home::seeded();
    let server = home.program(["dev"]).start();
    let client = Client::owner(&server.url()).await;
    let ask = |method: Method, path: &str| client.send(client.request(method, path));

    let head = ask(Method::HEAD, "/products")
        .await
        .expect("an answer")
        .expect(200);
    let get = client.get("/products").await.expect(200);
    assert_eq!(
        (head.text.as_str(), head.header("content-type")),
        ("", get.header("content-type"))
    );

    // Not a preflight: tells what the path can do.
    let options = ask(Method::OPTIONS, "/products").await.expect("an answer");
    assert!(matches!(options.status, 200 | 204), "{options:?}");
    for (path, allowed) in [
        ("/products", &["GET", "HEAD", "POST"][..]),
        ("/auth/login", &["POST"]),
        ("/health", &["GET", "HEAD"]),
    ] {
        for method in [
            Method::PUT,
            Method::DELETE,
            Method::from_bytes(b"BREW").expect("a method"),
        ] {
            let refused = ask(method, path).await.expect("an answer");
            assert_eq!(refused.problem(), "405 method-not-allowed", "{path}");
            let mut allow: Vec<&str> = refused.header("allow").split(',').map(str::trim).collect();
            allow.sort_unstable();
            assert_eq!(allow, allowed, "{path}");
        }
    }
    for path in [
        "/nothing",
        "/products/1/2/3",
        "/products/not-an-id",
        "/Products",
        "/products%2f",
        "/..%2fhealth",
        "/.env",
    ] {
        assert_eq!(client.get(path).await.problem(), "404 not-found", "{path}");
    }
}

#[tokio::test]
async fn a_trailing_slash_makes_no_difference() {
    let home = Home::seeded();
    let server = home.program(["dev"]).start();
    let client = Client::owner(&server.url()).await;
    let plain = client.get("/products?limit=3").await.expect(200).json();
    assert_eq!(client.get("/products/?limit=3").await.expect(200).json(), plain);
    for (path, name) in [("/brands", "Una"), ("/brands/", "Otra")] {
        client.post(path, &json!({"name": name})).await.expect(201);
    }
    let form = [("username", "user@example.com"), ("password", "password123")];
    client
        .send(client.request(Method::POST, "/auth/login/").form(&form))
        .await
        .expect("an answer")
        .expect(200);
}

#[tokio::test]
async fn ambiguous_messages_are_refused_or_end_the_connection() {
    let home = Home::seeded();
    let server = home.program(["dev"]).start();
    let address = server.address();
    let post = |headers: &str, body: &str| {
        format!("POST /auth/login HTTP/1.1\r\nHost: h\r\n{headers}\r\n\r\n{body}")
    };
    let smuggled = "GET /health/live HTTP/1.1\r\nHost: h\r\n\r\n";
    let chunked = "Transfer-Encoding: chunked";
    let messages = [
        (
            "two lengths",
            post("Content-Length: 1\r\nContent-Length: 2", "ab"),
        ),
        ("a list of lengths", post("Content-Length: 1, 2", "ab")),
        ("a signed length", post("Content-Length: +1", "a")),
        ("a hexadecimal length", post("Content-Length: 0x1", "a")),
        ("a negative length", post("Content-Length: -1", "a")),
        (
            "a length that overflows",
            post("Content-Length: 18446744073709551617", "a"),
        ),
        (
            "length, then chunks",
            post(&format!("Content-Length: 4\r\n{chunked}"), "0\r\n\r\n"),
        ),
        (
            "chunks, then length",
            post(&format!("{chunked}\r\nContent-Length: 4"), "0\r\n\r\n"),
        ),
        (
            "chunked not last",
            post("Transfer-Encoding: chunked, identity", "0\r\n\r\n"),
        ),
        ("unknown coding", post("Transfer-Encoding: xchunked", "0\r\n\r\n")),
        (
            "a space before the colon",
            post("Transfer-Encoding : chunked", "0\r\n\r\n"),
        ),
        (
            "a folded coding",
            post("Transfer-Encoding:\r\n chunked", "0\r\n\r\n"),
        ),
        ("a bad chunk size", post(chunked, "zz\r\nab\r\n0\r\n\r\n")),
        (
            "a chunk size that overflows",
            post(chunked, "11111111111111111\r\nab\r\n0\r\n\r\n"),
        ),
        ("a chunk longer than said", post(chunked, "1\r\nabc\r\n0\r\n\r\n")),
        (
            "a bare line feed in a name",
            "GET /health HTTP/1.1\r\nHost: h\r\nX\n: y\r\n\r\n".to_owned(),
        ),
        (
            "a NUL in a header",
            "GET /health HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n".to_owned(),
        ),
        ("no version", "GET /health\r\nHost: h\r\n\r\n".to_owned()),
        (
            "version 3 in text",
            "GET /health HTTP/3.0\r\nHost: h\r\n\r\n".to_owned(),
        ),
        (
            "a space in the path",
            "GET /health live HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
        ),
        ("TLS", "\u{16}\u{3}\u{1}\0\u{1}\0\0\u{1}\r\n\r\n".to_owned()),
    ];
    // A well-formed message is followed by the next one: otherwise this would prove nothing.
    let mut connection = Raw::connect(address);
    connection.send(post("Content-Length: 4", "a=b&")).send(smuggled);
    assert!(connection.answer().expect("an answer").starts_with("HTTP/1.1 4"));
    assert!(connection.answer().expect("the next answer").contains("alive"));

    for (what, message) in messages {
        let mut connection = Raw::connect(address);
        connection.send(message).send(smuggled);
        if let Some(answer) = connection.answer() {
            assert!(answer.starts_with("HTTP/1.1 4"), "{what}: {answer}");
            // What followed was never taken as a request of its own.
            assert!(!answer.contains("alive"), "{what}: {answer}");
            assert_eq!(connection.answer(), None, "{what}: the connection goes on");
        }
    }
}

#[tokio::test]
async fn large_answers_are_compressed_when_asked() {
    let home = Home::seeded();
    let server = home.program(["dev"]).start();
    let request = |encoding: &str| format!("GET /openapi.json HTTP/1.0\r\nHost: h\r\n{encoding}\r\n");
    let whole = |encoding: &str| {
        let mut connection = Raw::connect(server.address());
        connection.send(request(encoding)).rest()
    };
    let plain = whole("");
    assert!(!String::from_utf8_lossy(&plain).contains("content-encoding"));
    for encoding in ["gzip", "br"] {
        let packed = whole(&format!("Accept-Encoding: {encoding}\r\n"));
        let header = packed
            .windows(4)
            .position(|w| w == b"\r\n\r\n")
            .expect("a header");
        let (header, body) = (String::from_utf8_lossy(&packed[..header]), &packed[header + 4..]);
        assert!(
            header.contains(&format!("content-encoding: {encoding}")),
            "{header}"
        );
        assert!(header.contains("accept-encoding"), "varies by it: {header}");
        assert!(body.len() * 3 < plain.len(), "{} of {}", body.len(), plain.len());
        assert!(encoding != "gzip" || body.starts_with(&[0x1f, 0x8b]));
    }
}

#[tokio::test]
async fn a_kept_connection_answers_in_order() {
    let home = Home::seeded();
    let server = home.program(["dev"]).start();
    let mut connection = Raw::connect(server.address());
    let ids: Vec<String> = (0..20).map(|number| format!("pipelined-{number}")).collect();
    for id in &ids {
        connection.send(format!(
            "GET /health/live HTTP/1.1\r\nHost: h\r\nX-Request-ID: {id}\r\n\r\n"
        ));
    }
    for id in &ids {
        let answer = connection.answer().expect("an answer");
        assert!(answer.contains(&format!("x-request-id: {id}\r\n")), "{answer}");
    }
    let (status, answer) = exchange(server.address(), "GET /health/live HTTP/1.0\r\n\r\n");
    assert_eq!(status, 200, "{answer}");
    let body: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).expect("a body")).expect("JSON");
    assert_eq!(body["status"], "alive");
}
