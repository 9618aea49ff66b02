//! Many ways to write `X-Company-ID`: only one UUID in its usual form names a company.

use http::Method;
use serde_json::Value;

use crate::support::{COMPANY, Client, H2, Home, OTHER_COMPANY, exchange, full};

const NAME: &str = "X-Company-ID";
/// A product of the demo's supermarket is not needed: refused requests never get to look.
const SOME_ID: &str = "3660e905-5a29-562d-a7eb-e0eefac3e018";

fn routes() -> Vec<(&'static str, String)> {
    let mut routes = vec![
        ("GET", "/company/me".to_owned()),
        ("PATCH", "/company/me".to_owned()),
        ("GET", "/auth/context".to_owned()),
    ];
    for noun in ["products", "brands", "categories"] {
        routes.extend(["GET", "HEAD", "POST"].map(|method| (method, format!("/{noun}"))));
        routes.extend(["GET", "PATCH", "DELETE"].map(|method| (method, format!("/{noun}/{SOME_ID}"))));
    }
    routes.push(("GET", "/products/".to_owned()));
    routes.push(("POST", format!("/products/{SOME_ID}/restore")));
    routes
}

/// Every form meets every route in a full run, and a quarter of them, always the same, in a short one.
fn meet(form: usize, route: usize) -> bool {
    full() || (form + route).is_multiple_of(4)
}

/// Header lines that name the company properly, however spelled.
fn good() -> Vec<Vec<u8>> {
    [
        format!("{NAME}: {COMPANY}"),
        format!("{NAME}:{COMPANY}"),
        format!("{NAME}: \t {COMPANY} \t"),
        format!("x-company-id: {COMPANY}"),
        format!("X-COMPANY-ID: {COMPANY}"),
        format!("{NAME}: {}", COMPANY.to_uppercase()),
        format!("{NAME}: {}", COMPANY.replacen('e', "E", 1)),
    ]
    .map(String::into_bytes)
    .to_vec()
}

/// Values that name no company, or not clearly, or not the caller's.
fn bad_values() -> Vec<Vec<u8>> {
    let bare = COMPANY.replace('-', "");
    let urn = format!("urn:uuid:{COMPANY}");
    let wide: String = COMPANY
        .chars()
        .map(|c| {
            c.to_digit(10)
                .and_then(|d| char::from_u32(0xFF10 + d))
                .unwrap_or(c)
        })
        .collect();
    let arabic: String = COMPANY
        .chars()
        .map(|c| {
            c.to_digit(10)
                .and_then(|d| char::from_u32(0x0660 + d))
                .unwrap_or(c)
        })
        .collect();
    let texts = [
        // Nothing, everything, nobody
        "",
        "*",
        "%",
        "_",
        "null",
        "undefined",
        "None",
        "true",
        "0",
        "-1",
        "me",
        "me/../",
        "00000000-0000-0000-0000-000000000000",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
        // Somebody else's, and nobody's
        OTHER_COMPANY,
        "123e4567-e89b-42d3-a456-426614174000",
        // Lists
        &format!("{COMPANY},{COMPANY}"),
        &format!("{COMPANY}, {OTHER_COMPANY}"),
        &format!("{OTHER_COMPANY}, {COMPANY}"),
        &format!("{COMPANY} {COMPANY}"),
        &format!("{COMPANY};{OTHER_COMPANY}"),
        &format!("{COMPANY},"),
        &format!(",{COMPANY}"),
        &format!("{COMPANY}|{OTHER_COMPANY}"),
        &format!("[\"{COMPANY}\"]"),
        &format!("{COMPANY}&{NAME}={OTHER_COMPANY}"),
        // Other notations of the same
        &bare,
        &bare.to_uppercase(),
        &format!("{{{COMPANY}}}"),
        &format!("({COMPANY})"),
        &urn,
        &urn.to_uppercase(),
        &format!("uuid:{COMPANY}"),
        &format!("\"{COMPANY}\""),
        &format!("'{COMPANY}'"),
        &format!("0x{bare}"),
        &COMPANY.replace('-', "_"),
        &COMPANY.replace('-', ":"),
        &COMPANY.replace('-', "\u{2010}"),
        &COMPANY.replace('-', "%2D"),
        "VQ6EAOKbQdSnFkRmVUQAAA==",
        "113059749145936325402354257176981405696",
        "550e840-0e29b-41d4-a716-446655440000",
        "550e-8400-e29b-41d4-a716-446655440000",
        "550e8400e29b-41d4-a716-4466554400000",
        // Almost
        &COMPANY[1..],
        &COMPANY[..35],
        &format!("{COMPANY}0"),
        &format!("0{COMPANY}"),
        &COMPANY.replace('e', "g"),
        &COMPANY.replace('0', "O"),
        &format!("{COMPANY}/"),
        &format!("{COMPANY}#"),
        &format!("{COMPANY}?"),
        &format!("{COMPANY}="),
        &format!("={COMPANY}"),
        &format!("{COMPANY}; q=1"),
        &format!("Bearer {COMPANY}"),
        // Other digits that look alike
        &wide,
        &arabic,
        &COMPANY.replace('e', "\u{435}"),
        &format!("\u{feff}{COMPANY}"),
        &format!("{COMPANY}\u{200b}"),
        &format!("\u{a0}{COMPANY}"),
        // Attempts
        &format!("{COMPANY}' or '1'='1"),
        &format!("{COMPANY}'; set role ally_owner; --"),
        "../../etc/passwd",
        "${jndi:ldap://x}",
        &format!("{COMPANY}%00"),
        &format!("{COMPANY}%0d%0a{NAME}: {OTHER_COMPANY}"),
        &COMPANY.repeat(280),
        &"5".repeat(10_000),
        &" ".repeat(36),
        &"-".repeat(36),
    ];
    let mut values: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    values.push([&[0xff], &COMPANY.as_bytes()[1..]].concat());
    values.push([COMPANY.as_bytes(), &[0xc3, 0x28]].concat());
    values
}

/// Header lines that are refused for more than their value.
fn bad_lines() -> Vec<Vec<u8>> {
    let mut lines: Vec<Vec<u8>> = [
        "X-Nothing: here".to_owned(),
        format!("{NAME}: {COMPANY}\r\n{NAME}: {COMPANY}"),
        format!("{NAME}: {COMPANY}\r\n{NAME}: {OTHER_COMPANY}"),
        format!("{NAME}: {OTHER_COMPANY}\r\n{NAME}: {COMPANY}"),
        format!("{NAME}: {COMPANY}\r\nx-company-id: {COMPANY}"),
        format!("{NAME}: {COMPANY}\r\n{NAME}:"),
        format!("{NAME}:\r\n{NAME}: {COMPANY}"),
        format!("{NAME}:\r\n {COMPANY}"),
        format!("{NAME}: {COMPANY}\r\n ,{OTHER_COMPANY}"),
        format!("{NAME} : {COMPANY}"),
        format!("{NAME}\t: {COMPANY}"),
        format!(" {NAME}: {COMPANY}"),
        format!("{NAME}= {COMPANY}"),
        format!("{NAME} {COMPANY}"),
        format!("X_Company_ID: {COMPANY}"),
        format!("X-Company_ID: {COMPANY}"),
        format!("XCompanyID: {COMPANY}"),
        format!("X-Company: {COMPANY}"),
        format!("X-Company-IDs: {COMPANY}"),
        format!("X-Tenant-ID: {COMPANY}"),
        format!("Company-ID: {COMPANY}"),
        format!("Cookie: {NAME}={COMPANY}"),
        format!("X-Forwarded-{NAME}: {COMPANY}"),
        format!("Connection: {NAME}\r\n{NAME}: {OTHER_COMPANY}"),
    ]
    .map(String::into_bytes)
    .to_vec();
    for control in [0, 1, 11, 127] {
        lines.push([format!("{NAME}: {COMPANY}").as_bytes(), &[control]].concat());
        lines.push([format!("{NAME}: ").as_bytes(), &[control], COMPANY.as_bytes()].concat());
    }
    lines
}

#[tokio::test]
async fn only_the_canonical_form_is_accepted_over_http_1() {
    let home = Home::seeded();
    let server = home.program(["dev"]).env("RUST_LOG", "warn").start();
    let address = server.address();
    let token = Client::owner(&server.url()).await.token;
    let ask = |method: &str, path: &str, line: &[u8]| {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n"
        );
        let tail = "\r\nContent-Type: application/json\r\nContent-Length: 0\r\n\r\n";
        exchange(address, [head.as_bytes(), line, tail.as_bytes()].concat())
    };
    let accepted = |answer: &str| answer.to_lowercase().contains("\r\nx-tenant-id:");

    for (method, path) in routes() {
        for line in good() {
            let (status, answer) = ask(method, &path, &line);
            assert!(
                accepted(&answer),
                "{method} {path} {:?}: {status}",
                String::from_utf8_lossy(&line)
            );
        }
    }
    let mut lines = bad_lines();
    lines.extend(
        bad_values()
            .into_iter()
            .map(|value| [format!("{NAME}: ").as_bytes(), &value].concat()),
    );
    assert!(
        lines.len() >= 60 && routes().len() >= 20,
        "{} forms, {} routes",
        lines.len(),
        routes().len()
    );
    for (route, (method, path)) in routes().into_iter().enumerate() {
        for (_, line) in lines.iter().enumerate().filter(|(form, _)| meet(*form, route)) {
            let (status, answer) = ask(method, &path, line);
            let what = || format!("{method} {path} {:?}: {answer}", String::from_utf8_lossy(line));
            assert!(!accepted(&answer), "{}", what());
            // The one route that also works without a company.
            let without = path == "/auth/context" && answer.contains("\"tenant_id\":null");
            assert!(
                matches!(status, 400 | 403 | 431) || status == 200 && without,
                "{}",
                what()
            );
        }
    }
    eprintln!(
        "{} forms on {} routes",
        lines.len() + good().len(),
        routes().len()
    );
}

#[tokio::test]
async fn only_the_canonical_form_is_accepted_over_http_2() {
    let home = Home::seeded();
    let server = home.program(["dev"]).env("RUST_LOG", "warn").start();
    let token = Client::owner(&server.url()).await.token;
    let bearer = format!("Bearer {token}");
    let mut h2 = H2::connect(server.address()).await;
    let credentials = ("authorization", bearer.as_bytes());
    let company: (&str, &[u8]) = ("x-company-id", COMPANY.as_bytes());
    for (route, (method, path)) in routes().into_iter().enumerate() {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let (status, headers, _) = h2.send(method.clone(), &path, &[credentials, company], "").await;
        assert_eq!(headers["x-tenant-id"], COMPANY, "{method} {path}: {status}");
        let mut forms: Vec<Vec<(&str, &[u8])>> = vec![
            vec![],
            vec![company, company],
            vec![company, ("x-company-id", OTHER_COMPANY.as_bytes())],
        ];
        let values = bad_values();
        // What cannot stand in a header at all the client refuses to send.
        let sendable = values
            .iter()
            .filter(|value| value.iter().all(|byte| *byte >= 32 && *byte != 127));
        forms.extend(sendable.map(|value| vec![("x-company-id", value.as_slice())]));
        for (_, mut form) in forms
            .into_iter()
            .enumerate()
            .filter(|(form, _)| meet(*form, route))
        {
            form.push(credentials);
            let (status, headers, body) = h2.send(method.clone(), &path, &form, "").await;
            assert!(!headers.contains_key("x-tenant-id"), "{method} {path} {form:?}");
            let without = path == "/auth/context" && body.contains("\"tenant_id\":null");
            assert!(
                matches!(status.as_u16(), 400 | 403) || without,
                "{method} {path} {form:?}: {status}"
            );
        }
    }
}

#[tokio::test]
async fn a_context_token_and_a_header_must_agree() {
    let home = Home::seeded();
    let server = home.program(["dev"]).start();
    // The accountant belongs to both companies.
    let user = Client::sign_in(&server.url(), "contador@example.com", COMPANY).await;
    let selection = serde_json::json!({"company_id": COMPANY});
    let token = user
        .post("/auth/select-company", &selection)
        .await
        .expect(200)
        .json()["access_token"]
        .as_str()
        .expect("a token")
        .to_owned();
    let anonymous = Client::anonymous(&server.url());
    let with = |header: Option<&str>| {
        let request = anonymous.request(Method::GET, "/products").bearer_auth(&token);
        anonymous.send(match header {
            Some(company) => request.header(NAME, company),
            None => request,
        })
    };
    let alone = with(None).await.expect("an answer").expect(200);
    assert_eq!(alone.header("x-tenant-id"), COMPANY);
    let agreeing = with(Some(COMPANY)).await.expect("an answer").expect(200);
    assert_eq!(agreeing.json(), alone.json());
    assert_eq!(
        with(Some(OTHER_COMPANY)).await.expect("an answer").problem(),
        "400 company-mismatch"
    );
    assert_eq!(
        with(Some("")).await.expect("an answer").problem(),
        "400 company-header-invalid"
    );
    // Who may work in the other company tells it by the header of an ordinary token.
    let other = user.send(
        anonymous
            .request(Method::GET, "/products")
            .bearer_auth(&user.token)
            .header(NAME, OTHER_COMPANY),
    );
    let other: Value = other.await.expect("an answer").expect(200).json();
    assert_ne!(other["items"], alone.json()["items"]);
}
