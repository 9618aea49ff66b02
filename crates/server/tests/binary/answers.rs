//! What stands in every answer, and what in none.

use http::Method;
use serde_json::json;

use crate::support::{COMPANY, Client, Home};

#[tokio::test]
async fn errors_tell_nothing_of_the_inside() {
    let home = Home::seeded();
    let server = home.program(["dev"]).start();
    let client = Client::owner(&server.url()).await;
    let deep = |open: &str, close: &str| open.repeat(10_000) + &close.repeat(10_000);
    let bodies = [
        (String::new(), "400 malformed-json"),
        ("{".to_owned(), "400 malformed-json"),
        (
            "{\"name\": \"a\", \"sku\": \"b\"} x".to_owned(),
            "400 malformed-json",
        ),
        ("\u{feff}{}".to_owned(), "400 malformed-json"),
        (deep("[", "]"), "4"),
        (deep("{\"a\":", "}"), "4"),
        (
            format!("{{\"name\": \"a\", \"sku\": \"b\", \"x\": {}}}", deep("[", "]")),
            "4",
        ),
        ("{}".to_owned(), "422 validation-failed"),
        ("[]".to_owned(), "422 validation-failed"),
        ("null".to_owned(), "422 validation-failed"),
        (
            "{\"name\": \"a\\u0000b\", \"sku\": \"s\"}".to_owned(),
            "422 validation-failed",
        ),
        ("{\"name\": \"\\ud800\", \"sku\": \"s\"}".to_owned(), "4"),
        (
            "{\"name\": \"a\", \"sku\": \"s\", \"price_sale\": 1e400}".to_owned(),
            "4",
        ),
        (
            "{\"name\": \"a\", \"sku\": \"s\", \"price_sale\": \"-1\"}".to_owned(),
            "422 validation-failed",
        ),
        (
            format!("{{\"name\": \"a\", \"sku\": \"s\", \"brand_id\": \"{COMPANY}\"}}"),
            "422 brand-not-found",
        ),
    ];
    let mut answers = Vec::new();
    for (body, expected) in bodies {
        let request = client
            .request(Method::POST, "/products")
            .header("content-type", "application/json")
            .body(body);
        let answer = client.send(request).await.expect("an answer");
        assert!(answer.problem().starts_with(expected), "{expected}: {answer:?}");
        assert!(answer.status < 500, "{answer:?}");
        answers.push(answer);
    }
    for path in [
        "/products?limit=0",
        "/products?nothing=1",
        "/products?cursor=x",
        "/products?sort='",
        "/products?search=%00",
        "/products/%00",
        "/nothing",
    ] {
        let answer = client.get(path).await;
        assert!((400..500).contains(&answer.status), "{path}: {answer:?}");
        answers.push(answer);
    }
    let text = client
        .request(Method::POST, "/products")
        .header("content-type", "text/plain")
        .body("{}");
    let text = client.send(text).await.expect("an answer");
    assert_eq!(text.problem(), "415 unsupported-media-type");
    answers.push(text);
    for answer in answers {
        assert_eq!(
            answer.header("x-request-id"),
            answer.json()["request_id"].as_str().expect("an id")
        );
        let body = answer.text.to_lowercase();
        let inside = [
            "select ",
            "insert ",
            "sqlx",
            "postgres",
            "ally_",
            "ally.",
            "/src/",
            "/dev/shm",
            ".rs",
            "panic",
            "serde",
            "constraint",
            "password123",
        ];
        for word in inside {
            assert!(!body.contains(word), "{word:?} in {body}");
        }
    }
}

#[tokio::test]
async fn every_answer_carries_the_security_headers_and_an_id() {
    let home = Home::seeded();
    let server = home.program(["dev"]).start();
    let client = Client::owner(&server.url()).await;
    let anonymous = Client::anonymous(&server.url());
    let mut answers = vec![anonymous.get("/products").await.expect(401)];
    for path in [
        "/",
        "/health/ready",
        "/products",
        "/openapi.json",
        "/docs",
        "/nothing",
        "/products?limit=0",
    ] {
        answers.push(client.get(path).await);
    }
    answers.push(client.post("/health", &json!({})).await.expect(405));
    answers.push(client.post("/products", &json!({})).await.expect(422));
    answers.push(
        client
            .send(client.request(Method::OPTIONS, "/products"))
            .await
            .expect("an answer"),
    );
    let preflight = anonymous
        .request(Method::OPTIONS, "/products")
        .header("origin", "https://tienda.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "x-company-id,authorization");
    let preflight = anonymous.send(preflight).await.expect("an answer").expect(200);
    assert_eq!(preflight.header("access-control-allow-origin"), "*");
    assert!(
        preflight
            .header("access-control-allow-headers")
            .contains("x-company-id")
    );
    answers.push(preflight);
    for answer in answers {
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
        ] {
            assert_eq!(answer.header(name), value, "{answer:?}");
        }
        assert!(
            answer
                .header("content-security-policy")
                .contains("frame-ancestors 'none'"),
            "{answer:?}"
        );
        assert!(!answer.header("cache-control").is_empty(), "{answer:?}");
        assert!(answer.header("x-request-id").len() >= 8, "{answer:?}");
        assert_eq!(answer.header("server"), "", "{answer:?}");
    }

    let echoed = |id: &'static str| {
        let request = client.request(Method::GET, "/health").header("x-request-id", id);
        let client = client.clone();
        async move {
            client
                .send(request)
                .await
                .expect("an answer")
                .header("x-request-id")
                .to_owned()
        }
    };
    for sane in ["12345678", "a-b_c.d-e", "01a208e3-3c99-7220-a891-bca251e6e089"] {
        assert_eq!(echoed(sane).await, sane);
    }
    for odd in [
        "1234567",
        "",
        "with space",
        "<script>alert(1)</script>",
        "a;b;c;d;e;f",
        "ññññññññ",
    ] {
        let id = echoed(odd).await;
        assert!(id != odd && id.len() == 36, "{id}");
    }
}

#[tokio::test]
async fn origins_are_those_of_the_settings() {
    let home = Home::seeded();
    let server = home
        .program(["dev"])
        .env("CORS_ORIGINS", "https://tienda.example,https://b.example")
        .start();
    let client = Client::anonymous(&server.url());
    for (origin, allowed) in [
        ("https://b.example", "https://b.example"),
        ("https://evil.example", ""),
        ("null", ""),
    ] {
        let request = client.request(Method::GET, "/health").header("origin", origin);
        assert_eq!(
            client
                .send(request)
                .await
                .expect("an answer")
                .header("access-control-allow-origin"),
            allowed,
            "{origin}"
        );
    }
}
