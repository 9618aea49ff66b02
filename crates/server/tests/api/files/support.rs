//! Uploads as a client makes them.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use reqwest::StatusCode;
use serde_json::{Value, json};
use testkit::{Answer, Client, TestApp};

use crate::plan;

/// The test file that every antivirus reports; in two halves, so that none reports this source.
pub const EICAR: &str = concat!(
    r"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-",
    "ANTIVIRUS-TEST-FILE!$H+H*"
);

/// A text file of the documents.
pub fn text(filename: &str) -> Value {
    json!({"filename": filename, "content_type": "text/plain", "module": "documents"})
}

/// A picture of this size.
pub fn png(width: u32, height: u32) -> Vec<u8> {
    let picture = image::RgbImage::from_fn(width, height, |x, y| {
        image::Rgb([(x % 251) as u8, (y % 241) as u8, 90])
    });
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture
        .write_to(&mut bytes, image::ImageFormat::Png)
        .expect("a picture");
    bytes.into_inner()
}

pub fn http() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().expect("a client")
}

/// PUTs the bytes as the presign answer says.
pub async fn put(upload: &Value, bytes: impl Into<Vec<u8>>) -> StatusCode {
    let headers = upload["headers"].as_object().expect("headers").clone();
    let headers = headers
        .into_iter()
        .map(|(name, value)| (name, value.as_str().expect("text").to_owned()));
    put_with(upload, &headers.collect::<Vec<_>>(), bytes).await
}

/// PUTs the bytes with these headers.
pub async fn put_with(upload: &Value, headers: &[(String, String)], bytes: impl Into<Vec<u8>>) -> StatusCode {
    let bytes = bytes.into();
    // The client leaves the length of nothing out, which S3 does not take.
    let length = if bytes.is_empty() {
        "0".into()
    } else {
        bytes.len().to_string()
    };
    let request = http()
        .put(upload["upload_url"].as_str().expect("a URL"))
        .header("content-length", length);
    let mut request = request.body(bytes);
    for (name, value) in headers.iter().filter(|(name, _)| name != "content-length") {
        request = request.header(name, value);
    }
    request.send().await.expect("the store answers").status()
}

/// Where the file stands.
pub async fn status(client: &Client, id: &str) -> String {
    let file = client.get(&format!("/files/{id}")).await.ok();
    match file.json["reason"].as_str() {
        Some(reason) => format!("{} {reason}", file.json["status"].as_str().expect("status")),
        None => file.json["status"].as_str().expect("status").to_owned(),
    }
}

/// Begins an upload. Returns the answer.
pub async fn presign(client: &Client, new: Value) -> Value {
    client.post("/files/upload/presign", new).await.created().json
}

/// Begins an upload, sends the bytes and waits until the arrival was noticed. Returns the presign answer.
pub async fn send(client: &Client, new: Value, bytes: impl Into<Vec<u8>>) -> Value {
    let upload = presign(client, new).await;
    assert_eq!(put(&upload, bytes).await, StatusCode::OK);
    let id = id(&upload);
    until(async || status(client, &id).await != "pending").await;
    upload
}

/// Uploads and has it processed. Returns the file's id.
pub async fn store(t: &TestApp, client: &Client, new: Value, bytes: impl Into<Vec<u8>>) -> String {
    let upload = send(client, new, bytes).await;
    t.run_jobs().await;
    id(&upload)
}

pub fn id(upload: &Value) -> String {
    upload["file_id"].as_str().expect("an id").to_owned()
}

/// Waits, at most ten seconds.
pub async fn until(condition: impl AsyncFn() -> bool) {
    let begun = Instant::now();
    while !condition().await {
        assert!(begun.elapsed() < Duration::from_secs(10), "it did not happen");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What a download URL gives: status, headers and bytes.
pub async fn fetch(answer: &Answer) -> (StatusCode, reqwest::header::HeaderMap, Vec<u8>) {
    let url = answer.json["download_url"].as_str().expect("a URL");
    let response = http().get(url).send().await.expect("the store answers");
    let (status, headers) = (response.status(), response.headers().clone());
    (status, headers, response.bytes().await.expect("a body").to_vec())
}

/// The bytes of a file, downloaded.
pub async fn bytes(client: &Client, id: &str) -> Vec<u8> {
    let (status, _, bytes) = fetch(&client.get(&format!("/files/{id}/download")).await.ok()).await;
    assert_eq!(status, StatusCode::OK);
    bytes
}

pub fn sha256_hex(bytes: &[u8]) -> String {
    kernel::keys::sha256(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

pub fn sha256_base64(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(kernel::keys::sha256(bytes))
}

/// One value of the database, as text.
pub async fn value(t: &TestApp, sql: &'static str) -> String {
    let value: Option<String> = sqlx::query_scalar(sql)
        .fetch_one(&mut t.superuser().await)
        .await
        .expect("a value");
    value.unwrap_or_default()
}

pub async fn execute(t: &TestApp, sql: &'static str) {
    sqlx::query(sql)
        .execute(&mut t.superuser().await)
        .await
        .expect(sql);
}

/// Bytes of all thumbnails of files.
pub async fn thumbnails(t: &TestApp) -> u64 {
    let bytes = "select coalesce(sum((v->>'size')::bigint), 0)::text from ally.files, jsonb_array_elements(variants) as v";
    value(t, bytes).await.parse().expect("a number")
}

/// Used bytes, reserved bytes and open uploads of the only company with any.
pub async fn room(t: &TestApp) -> String {
    value(
        t,
        "select concat_ws(' ', used_bytes, reserved_bytes, open_uploads) from ally.storage_usage",
    )
    .await
}

/// How many objects lie in quarantine that no open upload needs.
pub async fn quarantined(t: &TestApp) -> u64 {
    let found = files::sweep(&t.app, true).await.expect("a sweep");
    found.quarantined.count
}

/// What runs every hour.
pub async fn tidy(t: &TestApp) {
    plan(t).await;
    t.run_jobs().await;
}
