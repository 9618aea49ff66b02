//! The way of an upload to a download, however its arrival is noticed.

use std::time::Duration;

use serde_json::json;
use testkit::STORE_EVENT_TOKEN;

use super::support::{
    bytes, fetch, id, png, presign, put, room, send, sha256_hex, status, store, text, thumbnails, until,
    value,
};
use crate::app;

#[tokio::test]
async fn a_picture_is_processed_without_any_further_request() {
    let t = app().await;
    let a = t.tenant("a").await;
    let picture = png(300, 200);
    // The body of the guide, with a picture of another type.
    let new = json!({"filename": "product_image.png", "content_type": "image/png", "module": "products",
        "description": "Product main image"});
    let answer = a.post("/files/upload/presign", new).await.created();
    let upload = answer.json.clone();
    assert_eq!(answer.header("location"), format!("/files/{}", id(&upload)));
    assert_eq!(
        (upload["method"].as_str(), upload["max_size"].as_i64()),
        (Some("PUT"), Some(15 * 1024 * 1024))
    );
    assert_eq!(upload["headers"], json!({"content-type": "image/png"}));
    let path = format!("/files/{}", id(&upload));
    let pending = a.get(&path).await.ok().json;
    assert_eq!(
        (&pending["status"], &pending["scanned_by"]),
        (&json!("pending"), &json!(null))
    );
    a.get(&format!("{path}/download"))
        .await
        .problem(409, "file-not-ready");

    assert_eq!(put(&upload, picture.clone()).await, 200);
    until(async || status(&a, &id(&upload)).await == "uploaded").await;
    t.run_jobs().await;
    let file = a.get(&path).await.ok().json;
    assert_eq!(
        (
            file["status"].as_str(),
            file["progress"].as_i64(),
            &file["reason"]
        ),
        (Some("ready"), Some(100), &json!(null))
    );
    assert_eq!(
        (file["size"].as_u64(), file["sha256"].as_str()),
        (Some(picture.len() as u64), Some(&*sha256_hex(&picture)))
    );
    assert_eq!(file["uploaded_by"], a.user_id.to_string());
    assert_eq!(file["scanned_by"], "builtin-content-check");
    assert_eq!(
        a.get("/files").await.ok().json["items"][0]["scanned_by"],
        "builtin-content-check"
    );

    let answer = a.get(&format!("{path}/download")).await.ok();
    assert_eq!(
        (answer.json["filename"].as_str(), answer.json["size"].as_u64()),
        (Some("product_image.png"), Some(picture.len() as u64))
    );
    let (status, headers, served) = fetch(&answer).await;
    assert_eq!((status.as_u16(), served == picture), (200, true));
    assert_eq!(headers["content-type"], "image/png");
    assert_eq!(
        headers["content-disposition"],
        "attachment; filename=\"product_image.png\"; filename*=UTF-8''product_image.png"
    );
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert!(
        headers["content-security-policy"]
            .to_str()
            .expect("text")
            .contains("sandbox")
    );

    let key = value(&t, "select key from ally.files").await;
    let form: Vec<&str> = key.split('/').collect();
    let day = value(
        &t,
        "select to_char(created_at at time zone 'utc', 'YYYY/MM/DD') from ally.files",
    )
    .await;
    assert_eq!((form[0], form[1]), (&*a.company().to_string(), "products"));
    assert_eq!(form[2..5].join("/"), day);
    assert!(
        form[5].len() == 36 + "-product_image.png".len() && form[5].ends_with("-product_image.png"),
        "{key}"
    );
    assert_eq!(
        room(&t).await,
        format!("{} 0 0", picture.len() as u64 + thumbnails(&t).await)
    );
}

#[tokio::test]
async fn thumbnails_are_listed_and_downloaded() {
    let t = app().await;
    let a = t.tenant("a").await;
    let new = json!({"filename": "foto.png", "content_type": "image/png", "module": "products"});
    let id = store(&t, &a, new, png(640, 400)).await;
    let file = a.get(&format!("/files/{id}")).await.ok().json;
    let variants = file["variants"].as_array().expect("variants");
    let small = variants
        .iter()
        .find(|variant| variant["name"] == "thumb_160")
        .expect("thumb_160");
    assert_eq!(
        (small["width"].as_u64(), small["height"].as_u64()),
        (Some(160), Some(100))
    );

    let answer = a
        .get(&format!(
            "/files/{id}/download?variant=thumb_160&disposition=inline"
        ))
        .await
        .ok();
    let extension = if small["content_type"] == "image/jpeg" {
        "jpg"
    } else {
        "webp"
    };
    assert_eq!(answer.json["filename"], format!("foto-thumb_160.{extension}"));
    assert_eq!(
        (&answer.json["size"], &answer.json["content_type"]),
        (&small["size"], &small["content_type"])
    );
    let (status, headers, served) = fetch(&answer).await;
    assert_eq!(
        (status.as_u16(), served.len() as u64),
        (200, small["size"].as_u64().expect("size"))
    );
    assert_eq!(
        headers["content-type"].to_str().ok(),
        small["content_type"].as_str()
    );
    assert!(
        headers["content-disposition"]
            .to_str()
            .expect("text")
            .starts_with("inline;")
    );
    let drawn = image::load_from_memory(&served).expect("a picture");
    assert_eq!((drawn.width(), drawn.height()), (160, 100));
    a.get(&format!("/files/{id}/download?variant=thumb_9"))
        .await
        .problem(404, "not-found");
    a.get(&format!("/files/{id}/download?size=9"))
        .await
        .problem(400, "query-invalid");
}

#[tokio::test]
async fn completing_makes_it_immediate_where_nobody_reports_uploads() {
    let t = app().await;
    t.ignore_store();
    let a = t.tenant("a").await;
    let upload = presign(&a, text("a.txt")).await;
    let complete = format!("/files/{}/complete", id(&upload));
    a.post(&complete, json!({})).await.problem(409, "upload-missing");
    assert_eq!(put(&upload, "hello").await, 200);
    assert_eq!(a.post(&complete, json!({})).await.ok().json["status"], "uploaded");
    assert_eq!(a.post(&complete, json!({})).await.ok().json["status"], "uploaded");
    assert_eq!(
        value(
            &t,
            "select count(*)::text from ally.jobs where name = 'files.process'"
        )
        .await,
        "1"
    );
    t.run_jobs().await;
    assert_eq!(a.post(&complete, json!({})).await.ok().json["status"], "ready");
    assert_eq!(bytes(&a, &id(&upload)).await, b"hello");
}

#[tokio::test]
async fn an_arrival_that_nobody_reports_is_found_by_looking() {
    let t = app().await;
    t.ignore_store();
    let a = t.tenant("a").await;
    let upload = presign(&a, text("a.txt")).await;
    t.pass(Duration::from_secs(6)).await;
    t.run_jobs().await;
    assert_eq!(put(&upload, "hello").await, 200);
    t.run_jobs().await;
    assert_eq!(
        status(&a, &id(&upload)).await,
        "pending",
        "the next look is seconds away"
    );
    t.pass(Duration::from_secs(60)).await;
    t.run_jobs().await;
    assert_eq!(status(&a, &id(&upload)).await, "ready");
}

#[tokio::test]
async fn a_remote_store_reports_uploads_with_its_token() {
    let t = app().await;
    t.ignore_store();
    let a = t.tenant("a").await;
    let upload = presign(&a, text("a.txt")).await;
    assert_eq!(put(&upload, "hello").await, 200);
    let key = format!("{}%2F{}", a.company(), id(&upload));
    let event = |key: &str| {
        json!({"EventName": "s3:ObjectCreated:Put", "Key": format!("ally360-quarantine/{key}"),
        "Records": [{"eventName": "s3:ObjectCreated:Put", "s3": {"bucket": {"name": "ally360-quarantine"}, "object": {"key": key, "size": 5}}}]})
    };
    t.anonymous()
        .post("/store/events", event(&key))
        .await
        .problem(401, "unauthenticated");
    a.post("/store/events", event(&key))
        .await
        .problem(401, "unauthenticated");
    let mut store = t.anonymous();
    store.token = STORE_EVENT_TOKEN.to_owned();
    for other in ["x", "../..", &format!("{}/{}", uuid::Uuid::new_v4(), id(&upload))] {
        store.post("/store/events", event(other)).await.status(204);
    }
    // What tells of something else than an arrival there.
    for (field, value) in [
        ("/Records/0/eventName", "s3:ObjectRemoved:Delete"),
        ("/Records/0/s3/bucket/name", "ally360"),
    ] {
        let mut other = event(&key);
        *other.pointer_mut(field).expect(field) = value.into();
        store.post("/store/events", other).await.status(204);
    }
    assert_eq!(status(&a, &id(&upload)).await, "pending");
    store.post("/store/events", event(&key)).await.status(204);
    store.post("/store/events", event(&key)).await.status(204);
    t.run_jobs().await;
    assert_eq!(status(&a, &id(&upload)).await, "ready");
}

#[tokio::test]
async fn progress_is_followed_as_events_to_the_end() {
    let t = app().await;
    let a = t.tenant("a").await;
    let upload = send(&a, text("a.txt"), "hello").await;
    let path = format!("/files/{}/events", id(&upload));
    let (events, ()) = tokio::join!(a.get(&path), t.run_jobs());
    let events = events.ok();
    assert_eq!(events.header("content-type"), "text/event-stream");
    let shown = events.text();
    let statuses: Vec<&str> = shown
        .lines()
        .filter_map(|line| line.split("\"status\":\"").nth(1)?.split('"').next())
        .collect();
    assert_eq!(
        (statuses.first(), statuses.last()),
        (Some(&"uploaded"), Some(&"ready")),
        "{shown}"
    );
    assert!(shown.starts_with("event: status\ndata: {"), "{shown}");
}

#[tokio::test]
async fn names_are_kept_for_people_and_harmless_in_keys() {
    let t = app().await;
    let a = t.tenant("a").await;
    for (name, in_key) in [
        ("Piña colada (1).TXT", "-Pina_colada__1.TXT"),
        ("../../etc/passwd.txt", "-etc_passwd.txt"),
        ("файл.txt", "-file.txt"),
    ] {
        let id = store(&t, &a, text(name), "hello").await;
        let answer = a.get(&format!("/files/{id}/download")).await.ok();
        assert_eq!(answer.json["filename"], name);
        let (status, headers, _) = fetch(&answer).await;
        assert_eq!(status, 200);
        let disposition = headers["content-disposition"].to_str().expect("ASCII");
        let encoded = disposition.split("UTF-8''").nth(1).expect("a name");
        let decoded: Vec<(String, String)> = form_decoded(encoded);
        assert_eq!(decoded[0].0, name);
        let key = value(&t, "select key from ally.files order by created_at desc limit 1").await;
        assert!(key.ends_with(in_key), "{key}");
    }
    for bad in ["", " ", "a\nb.txt", "a\u{0}.txt", &"x".repeat(256)] {
        a.post("/files/upload/presign", text(bad))
            .await
            .problem(422, "validation-failed");
    }
}

fn form_decoded(encoded: &str) -> Vec<(String, String)> {
    form_urlencoded::parse(encoded.replace('+', "%2B").as_bytes())
        .into_owned()
        .collect()
}

/// A report that was wrong, or bytes that have gone, cost nothing: they may come as long as the URL works.
#[tokio::test]
async fn bytes_that_are_not_there_are_awaited_again() {
    let t = app().await;
    let a = t.tenant("a").await;
    let upload = presign(&a, text("a.txt")).await;
    let mut store = t.anonymous();
    store.token = STORE_EVENT_TOKEN.to_owned();
    let event = json!({"Records": [{"s3": {"object": {"key": format!("{}/{}", a.company(), id(&upload))}}}]});
    store.post("/store/events", event).await.status(204);
    assert_eq!(status(&a, &id(&upload)).await, "uploaded");
    t.run_jobs().await;
    assert_eq!(status(&a, &id(&upload)).await, "pending");
    assert_eq!(put(&upload, "hello").await, 200);
    until(async || status(&a, &id(&upload)).await != "pending").await;
    t.run_jobs().await;
    assert_eq!(status(&a, &id(&upload)).await, "ready");
}
