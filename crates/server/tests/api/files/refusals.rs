//! What is not let in, and by whom.

use clap::Parser;
use kernel::config::Environment;
use serde_json::json;
use storage::Storage;
use testkit::{SampleStore, TestApp};

use super::clamd::Clamd;
use super::crash::app_with;
use super::replay::Defaults;
use super::support::{
    EICAR, bytes, execute, fetch, http, id, png, presign, put, put_with, room, send, sha256_base64,
    sha256_hex, status, store, text, until, value,
};
use crate::app;

#[tokio::test]
async fn the_store_itself_refuses_what_was_not_declared() {
    let t = app().await;
    let a = t.tenant("a").await;
    let mut new = text("a.txt");
    new["size"] = 5.into();
    new["sha256"] = sha256_hex(b"hello").into();
    let upload = presign(&a, new).await;
    assert_eq!(upload["max_size"], 5);
    assert_eq!(
        upload["headers"],
        json!({"content-length": "5", "content-type": "text/plain", "x-amz-checksum-sha256": sha256_base64(b"hello")})
    );
    let digest = |bytes: &[u8]| ("x-amz-checksum-sha256".to_owned(), sha256_base64(bytes));
    let kind = |kind: &str| ("content-type".to_owned(), kind.to_owned());

    assert_eq!(
        put_with(&upload, &[kind("text/html"), digest(b"hello")], "hello").await,
        403,
        "another type"
    );
    assert_eq!(
        put_with(&upload, &[kind("text/plain")], "hello").await,
        403,
        "no checksum"
    );
    assert_eq!(
        put_with(&upload, &[kind("text/plain"), digest(b"hell")], "hell").await,
        403,
        "another size"
    );
    assert_eq!(
        put_with(&upload, &[kind("text/plain"), digest(b"HELLO")], "HELLO").await,
        403,
        "another checksum"
    );
    assert_eq!(put(&upload, "HELLO").await, 400, "other bytes");
    assert_eq!(status(&a, &id(&upload)).await, "pending");
    assert_eq!(put(&upload, "hello").await, 200);
}

#[tokio::test]
async fn an_upload_url_writes_nothing_but_its_own_quarantine_key() {
    let t = app().await;
    let a = t.tenant("a").await;
    let upload = presign(&a, text("a.txt")).await;
    let url = upload["upload_url"].as_str().expect("a URL");
    for other in [
        url.replace("ally360-quarantine", "ally360"),
        url.replace(&id(&upload), &uuid::Uuid::new_v4().to_string()),
    ] {
        assert_ne!(url, other);
        let answer = http()
            .put(other)
            .header("content-type", "text/plain")
            .body("hello")
            .send()
            .await
            .expect("an answer");
        assert_eq!(answer.status(), 403);
    }
    assert_eq!(
        http().get(url).send().await.expect("an answer").status(),
        403,
        "it does not read either"
    );
}

#[tokio::test]
async fn types_and_sizes_are_those_of_the_module_and_the_plan() {
    let t = app().await;
    let a = t.tenant("a").await;
    let of = |module: &str, content_type: &str, size: i64| {
        let extension = content_type
            .rsplit('/')
            .next()
            .expect("a type")
            .replace("plain", "txt");
        json!({"filename": format!("a.{extension}"), "content_type": content_type, "module": module, "size": size})
    };
    let refused = a
        .post("/files/upload/presign", of("products", "application/pdf", 5))
        .await
        .problem(422, "file-type-not-allowed");
    assert_eq!(refused.json["errors"][0]["pointer"], "/content_type");
    a.post("/files/upload/presign", of("documents", "text/html", 5))
        .await
        .problem(422, "file-type-not-allowed");
    a.post("/files/upload/presign", of("documents", "application/pdf", 5))
        .await
        .created();
    let refused = a
        .post(
            "/files/upload/presign",
            of("products", "image/png", 15 * 1024 * 1024 + 1),
        )
        .await
        .problem(422, "file-too-large");
    assert_eq!(refused.json["errors"][0]["pointer"], "/size");
    execute(&t, "update ally.storage_usage set max_file_bytes = 1000").await;
    a.post("/files/upload/presign", of("products", "image/png", 1001))
        .await
        .problem(422, "file-too-large");
    a.post("/files/upload/presign", of("products", "image/png", 1000))
        .await
        .created();
    for (field, bad) in [
        ("module", json!("../x")),
        ("module", json!("")),
        ("size", json!(0)),
        ("sha256", json!("abc")),
        ("tags", json!([""])),
    ] {
        let mut new = of("documents", "text/plain", 5);
        new[field] = bad;
        a.post("/files/upload/presign", new)
            .await
            .problem(422, "validation-failed");
    }
}

/// Nobody uploads what can never be ready.
#[tokio::test]
async fn a_name_that_is_not_of_the_type_is_refused_before_the_upload() {
    let t = app().await;
    let a = t.tenant("a").await;
    let of =
        |filename: &str| json!({"filename": filename, "content_type": "image/jpeg", "module": "products"});
    for filename in ["a.png", "a", "jpg", "a.", "a.jpg.exe", "a.jpg "] {
        let refused = a.post("/files/upload/presign", of(filename)).await;
        let refused = refused.problem(422, "file-extension-mismatch");
        assert_eq!(refused.json["errors"][0]["pointer"], "/filename", "{filename}");
        assert_eq!(
            refused.json["detail"],
            "names of image/jpeg end in .jpg, .jpeg, .jpe, .jfif"
        );
    }
    for filename in ["a.jpg", "A.JPEG", "a.png.jpe"] {
        a.post("/files/upload/presign", of(filename)).await.created();
    }
}

#[tokio::test]
async fn without_a_declared_size_the_limit_holds_on_arrival() {
    let t = app().await;
    let a = t.tenant("a").await;
    a.post("/files/upload/presign", text("first.txt")).await.created();
    execute(&t, "update ally.storage_usage set max_file_bytes = 1000").await;
    let id = store(&t, &a, text("a.txt"), "x".repeat(1001)).await;
    assert_eq!(status(&a, &id).await, "rejected too-large");
    let id = store(&t, &a, text("a.txt"), "x".repeat(1000)).await;
    assert_eq!(status(&a, &id).await, "ready");
    let id = store(&t, &a, text("a.txt"), "").await;
    assert_eq!(status(&a, &id).await, "rejected empty");
}

#[tokio::test]
async fn a_lie_about_the_type_is_rejected_and_leaves_nothing() {
    let t = app().await;
    let a = t.tenant("a").await;
    let new = json!({"filename": "a.png", "content_type": "image/png", "module": "products"});
    let id = store(&t, &a, new.clone(), "%PDF-1.7 not a picture").await;
    assert!(
        status(&a, &id).await.starts_with("rejected "),
        "{}",
        status(&a, &id).await
    );
    a.get(&format!("/files/{id}/download"))
        .await
        .problem(409, "file-not-ready");
    let new = json!({"filename": "a.txt", "content_type": "text/plain", "module": "documents"});
    let id = store(&t, &a, new, png(20, 20)).await;
    assert_eq!(status(&a, &id).await, "rejected type-mismatch");
    assert_eq!(room(&t).await, "0 0 0");
    let found = files::sweep(&t.app, true).await.expect("a sweep");
    assert_eq!(found.objects, 0);
}

#[tokio::test]
async fn malware_is_never_downloadable() {
    let t = app().await;
    let a = t.tenant("a").await;
    let id = store(&t, &a, text("a.txt"), EICAR).await;
    assert!(
        status(&a, &id).await.starts_with("infected "),
        "{}",
        status(&a, &id).await
    );
    a.get(&format!("/files/{id}/download"))
        .await
        .problem(409, "file-not-ready");
    assert_eq!(value(&t, "select key from ally.files").await, "");
    assert_eq!(
        files::sweep(&t.app, true).await.expect("a sweep").objects,
        0,
        "deleted"
    );
    assert_eq!(room(&t).await, "0 0 0");
}

#[tokio::test]
async fn malware_is_told_to_owners_and_uploader_once_an_hour() {
    let t = app().await;
    let a = t.tenant("a").await;
    let (cashier, other) = (t.member(&a, "cashier").await, t.member(&a, "cashier").await);
    let stranger = t.tenant("b").await;
    store(&t, &cashier, text("nómina.txt"), EICAR).await;
    let told = async || {
        let mails = t.mail().await;
        let mut told: Vec<String> = mails.into_iter().map(|mail| mail.address).collect();
        told.sort();
        told
    };
    let mut expected = vec![a.email.clone(), cashier.email.clone()];
    expected.sort();
    assert_eq!(
        told().await,
        expected,
        "neither {} nor {}",
        other.email,
        stranger.email
    );
    let mail = &t.mail_to(&a.email).await[0];
    assert_eq!(mail.subject, "Bloqueamos un archivo con software malicioso");
    // No mail client makes a link of it.
    assert!(mail.text.contains("“nómina·txt”"), "{}", mail.text);

    store(&t, &cashier, text("b.txt"), EICAR).await;
    assert_eq!(told().await, expected, "they know");
    store(&t, &other, text("c.txt"), EICAR).await;
    expected.push(other.email.clone());
    expected.sort();
    assert_eq!(
        told().await,
        expected,
        "who uploaded it, as nobody told him before"
    );
    execute(
        &t,
        "update ally.malware_alarms set told_at = told_at - interval '61 minutes'",
    )
    .await;
    store(&t, &a, text("d.txt"), EICAR).await;
    expected.push(a.email.clone());
    expected.sort();
    assert_eq!(told().await, expected, "the owner, who uploaded it");
}

#[tokio::test]
async fn of_malware_found_at_once_in_old_files_everybody_is_told_once() {
    let clamd = Clamd::start(0).await;
    let t = app_with(&clamd, None).await;
    let a = t.tenant("a").await;
    let cashier = t.member(&a, "cashier").await;
    for name in ["a.txt", "b.txt"] {
        send(&cashier, text(name), "malware").await;
    }
    // The scanner was away.
    execute(
        &t,
        "update ally.files set created_at = created_at - interval '2 hours'",
    )
    .await;
    let worker = t.start_worker();
    clamd.begun.acquire_many(2).await.expect("open").forget();
    clamd.allow(2);
    let infected = "select count(*)::text from ally.files where state = 'infected'";
    until(async || value(&t, infected).await == "2").await;
    worker.stop().await;
    t.run_jobs().await;
    for told in [&a, &cashier] {
        assert_eq!(t.mail_to(&told.email).await.len(), 1, "{}", told.email);
    }
}

#[tokio::test]
async fn infected_uploads_stay_in_quarantine_where_that_is_wanted() {
    let t = testkit::TestApp::with_files(server::service, |_| {}, |files| files.config.keep_infected = true)
        .await;
    let t = t.with_jobs(server::jobs().0);
    let a = t.tenant("a").await;
    let id = store(&t, &a, text("a.txt"), EICAR).await;
    assert!(status(&a, &id).await.starts_with("infected "));
    let found = files::sweep(&t.app, false).await.expect("a sweep");
    assert_eq!((found.objects, found.quarantined.count), (1, 0));
    assert_eq!(files::sweep(&t.app, true).await.expect("a sweep").objects, 1);
    // For a day, whether the store has lifecycle rules or not.
    t.app.clock.advance(std::time::Duration::from_hours(24));
    let found = files::sweep(&t.app, false).await.expect("a sweep");
    assert_eq!((found.objects, found.quarantined.count), (1, 1));
    assert_eq!(files::sweep(&t.app, true).await.expect("a sweep").objects, 0);
}

#[tokio::test]
async fn a_second_upload_with_the_same_url_changes_nothing() {
    let t = app().await;
    let a = t.tenant("a").await;
    let upload = send(&a, text("a.txt"), "hello").await;
    t.run_jobs().await;
    let id = id(&upload);
    let before = a.get(&format!("/files/{id}")).await.ok().json;
    let download = a.get(&format!("/files/{id}/download")).await.ok();

    // Not even until the sweep, where nobody reports it.
    t.ignore_store();
    assert_eq!(put(&upload, EICAR).await, 200, "the URL is still valid");
    a.post(&format!("/files/{id}/complete"), json!({})).await.ok();
    t.run_jobs().await;
    assert_eq!(a.get(&format!("/files/{id}")).await.ok().json, before);
    assert_eq!(fetch(&download).await.2, b"hello", "by the old URL");
    assert_eq!(bytes(&a, &id).await, b"hello", "by a new one");
    assert_eq!(room(&t).await, "5 0 0");

    let found = files::sweep(&t.app, false).await.expect("a sweep");
    assert_eq!(
        (
            found.quarantined.count,
            found.unreferenced.count,
            found.missing.count
        ),
        (1, 0, 0)
    );
    assert_eq!(
        files::sweep(&t.app, true).await.expect("a sweep").objects,
        1,
        "the file itself"
    );
}

#[tokio::test]
async fn what_was_put_last_before_the_scan_is_what_is_scanned() {
    let t = app().await;
    let a = t.tenant("a").await;
    let upload = send(&a, text("a.txt"), "hello").await;
    assert_eq!(put(&upload, EICAR).await, 200);
    t.run_jobs().await;
    assert!(status(&a, &id(&upload)).await.starts_with("infected "));
}

/// What clients translate for people.
#[test]
fn every_reason_is_documented() {
    let docs = include_str!("../../../../../docs/files.md");
    let ours = [
        "empty",
        "size-mismatch",
        "checksum-mismatch",
        "upload-vanished",
        "unprocessable",
        "cancelled",
    ];
    for reason in inspect::reason::ALL.iter().chain(&ours) {
        assert!(docs.contains(&format!("`{reason}`")), "{reason}");
    }
}

/// A store that would copy the files of others for whoever has an upload URL.
#[tokio::test]
async fn production_signs_no_uploads_for_a_store_that_obeys_unsigned_headers() {
    for (environment, status) in [(Environment::Production, 503), (Environment::Development, 201)] {
        let sample = SampleStore::start().await;
        let storage =
            Storage::external(&sample.named(Defaults::parse_from(["test"]).storage)).expect("settings");
        storage.ensure_buckets().await.expect("buckets");
        let signing = storage.clone();
        let t = TestApp::with_files(
            server::service,
            |config| config.environment = environment,
            |files| files.storage = storage,
        )
        .await;
        let a = t.tenant("a").await;
        a.post("/files/upload/presign", text("a.txt")).await.created();
        assert!(signing.probe_upload_urls().await.expect("an answer"));
        let answer = a.post("/files/upload/presign", text("b.txt")).await;
        if status == 503 {
            answer.problem(503, "misconfigured");
        } else {
            answer.created();
        }
    }
}
