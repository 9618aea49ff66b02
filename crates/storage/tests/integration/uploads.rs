//! What a presigned URL permits, and nothing else.

use std::time::Duration;

use storage::{Bucket, Error, GetOptions, Presigned, PutConditions};

use crate::support::{Subject, conditions, put, read, send, sha256};

crate::against_every_store!(
    the_right_upload_is_taken,
    every_other_upload_is_refused,
    an_expired_url_is_refused,
    a_second_upload_is_refused_where_supported,
    an_upload_without_conditions_needs_no_headers,
    a_download_answers_as_signed,
    a_download_serves_ranges,
    a_url_cannot_be_bent_into_another_operation,
);

const BODY: &[u8] = b"hello, shop";

async fn the_right_upload_is_taken(subject: &Subject) {
    let presigned = subject
        .storage
        .presign_put("t/f/1", &conditions(BODY))
        .expect("a URL");
    assert_eq!(send(&presigned, BODY).await.status(), 200);
    let info = subject
        .storage
        .head(Bucket::Quarantine, "t/f/1")
        .await
        .expect("it is there");
    assert_eq!(info.size, 11);
    assert!(
        info.sha256.is_none_or(|sum| sum == sha256(BODY)),
        "another checksum"
    );
    assert_eq!(
        read(&subject.storage, Bucket::Quarantine, "t/f/1")
            .await
            .expect("readable"),
        BODY
    );
    let elsewhere = subject.storage.head(Bucket::Clean, "t/f/1").await;
    assert!(matches!(elsewhere, Err(Error::NotFound)), "{elsewhere:?}");
}

async fn every_other_upload_is_refused(subject: &Subject) {
    let right = subject
        .storage
        .presign_put("t/f/2", &conditions(BODY))
        .expect("a URL");
    let url = |from: &str, to: &str| {
        assert!(right.url.contains(from), "no {from} in the URL");
        Presigned {
            url: right.url.replacen(from, to, 1),
            ..right.clone()
        }
    };
    let header = |name: &'static str, value: Option<&str>| {
        let mut wrong = right.clone();
        wrong.headers.remove(name);
        wrong.headers.extend(value.map(|value| (name, value.to_owned())));
        wrong
    };
    let name = &subject.bucket_name;
    let other_sum = "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=";
    let cases: [(&str, Presigned, &[u8]); 14] = [
        ("a longer body", right.clone(), b"hello, shop!"),
        ("a shorter body", right.clone(), b"hello"),
        ("an empty body", right.clone(), b""),
        ("other bytes", right.clone(), b"hello, shap"),
        ("another type", header("content-type", Some("text/html")), BODY),
        ("no type", header("content-type", None), BODY),
        (
            "another checksum",
            header("x-amz-checksum-sha256", Some(other_sum)),
            BODY,
        ),
        ("no checksum", header("x-amz-checksum-sha256", None), BODY),
        ("no condition", header("if-none-match", None), BODY),
        ("another key", url("t/f/2", "t/f/3"), BODY),
        (
            "another bucket",
            url(&format!("{name}-quarantine/"), &format!("{name}/")),
            BODY,
        ),
        (
            "a longer life",
            url("X-Amz-Expires=600", "X-Amz-Expires=6000"),
            BODY,
        ),
        ("fewer signed headers", url("content-type%3B", ""), BODY),
        ("another operation", url("?", "?tagging=&"), BODY),
    ];
    for (what, request, body) in cases {
        let status = send(&request, body).await.status();
        assert!(status.is_client_error(), "{what}: {status}");
    }
    let deleted = Presigned {
        method: "DELETE",
        ..right.clone()
    };
    let status = send(&deleted, "").await.status();
    assert!(status.is_client_error(), "another method: {status}");
    if subject.is_sample() {
        return;
    }
    for key in ["t/f/2", "t/f/3"] {
        for bucket in [Bucket::Quarantine, Bucket::Clean] {
            let found = subject.storage.head(bucket, key).await;
            assert!(
                matches!(found, Err(Error::NotFound)),
                "{key} in {bucket:?}: {found:?}"
            );
        }
    }
    assert_eq!(
        send(&right, BODY).await.status(),
        200,
        "the right one still works"
    );
}

async fn an_expired_url_is_refused(subject: &Subject) {
    put(&subject.storage, Bucket::Clean, "old", BODY)
        .await
        .expect("stored");
    let second = Duration::from_secs(1);
    let upload = PutConditions {
        expires: second,
        ..conditions(BODY)
    };
    let upload = subject.storage.presign_put("late", &upload).expect("a URL");
    let download = GetOptions {
        expires: second,
        ..GetOptions::default()
    };
    let download = subject.storage.presign_get("old", &download).expect("a URL");
    tokio::time::sleep(Duration::from_millis(2100)).await;
    for late in [send(&upload, BODY).await, send(&download, "").await] {
        // 403, but for Garage.
        assert!(late.status().is_client_error(), "{}", late.status());
    }
}

async fn a_second_upload_is_refused_where_supported(subject: &Subject) {
    let first = subject
        .storage
        .presign_put("once", &conditions(BODY))
        .expect("a URL");
    assert_eq!(send(&first, BODY).await.status(), 200);
    let again = send(&first, BODY).await.status();
    if subject.honours_create_only {
        assert_eq!(again, 412);
    }
}

async fn an_upload_without_conditions_needs_no_headers(subject: &Subject) {
    let conditions = PutConditions {
        expires: Duration::from_mins(1),
        ..PutConditions::default()
    };
    let presigned = subject.storage.presign_put("plain", &conditions).expect("a URL");
    assert!(presigned.headers.is_empty());
    assert_eq!(send(&presigned, BODY).await.status(), 200);
    assert_eq!(
        read(&subject.storage, Bucket::Quarantine, "plain")
            .await
            .expect("readable"),
        BODY
    );
}

async fn a_download_answers_as_signed(subject: &Subject) {
    put(&subject.storage, Bucket::Clean, "a b/ñ.txt", BODY)
        .await
        .expect("stored");
    let disposition = "attachment; filename=\"caf_.txt\"; filename*=UTF-8''caf%C3%A9%20%26.txt";
    let options = GetOptions {
        expires: Duration::from_mins(1),
        content_disposition: Some(disposition.to_owned()),
        content_type: Some("application/pdf".to_owned()),
        ..GetOptions::default()
    };
    let presigned = subject.storage.presign_get("a b/ñ.txt", &options).expect("a URL");
    let response = send(&presigned, "").await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-disposition"], disposition);
    assert_eq!(response.headers()["content-type"], "application/pdf");
    assert_eq!(response.bytes().await.expect("a body"), BODY);

    let inline = Presigned {
        url: presigned.url.replacen("attachment", "inline", 1),
        ..presigned
    };
    assert_eq!(send(&inline, "").await.status(), 403);
}

async fn a_download_serves_ranges(subject: &Subject) {
    put(&subject.storage, Bucket::Clean, "ranges", BODY)
        .await
        .expect("stored");
    let options = GetOptions {
        expires: Duration::from_mins(1),
        ..GetOptions::default()
    };
    let presigned = subject.storage.presign_get("ranges", &options).expect("a URL");
    let range = async |range: &str| {
        let request = reqwest::Client::new().get(&presigned.url).header("range", range);
        let response = request.send().await.expect("an answer");
        (
            response.status().as_u16(),
            response.bytes().await.expect("a body"),
        )
    };
    assert_eq!(range("bytes=0-4").await, (206, "hello".into()));
    assert_eq!(range("bytes=7-").await, (206, "shop".into()));
    assert_eq!(range("bytes=-4").await, (206, "shop".into()));
    assert_eq!(range("bytes=11-").await.0, 416);
}

/// Headers that turn one S3 operation into another are not signed, so anybody may add them.
async fn a_url_cannot_be_bent_into_another_operation(subject: &Subject) {
    put(&subject.storage, Bucket::Clean, "private", BODY)
        .await
        .expect("stored");
    let conditions = PutConditions {
        expires: Duration::from_mins(1),
        ..PutConditions::default()
    };
    let presigned = subject.storage.presign_put("copied", &conditions).expect("a URL");
    let source = format!("{}/private", subject.bucket_name);
    let request = reqwest::Client::new()
        .put(&presigned.url)
        .header("x-amz-copy-source", source)
        .body("");
    let status = request.send().await.expect("an answer").status();
    let copied = subject.storage.head(Bucket::Quarantine, "copied").await;
    let is_loose = copied.is_ok_and(|copied| copied.size > 0);
    // s3s-fs checks no header that is not signed: the probe has to find that out.
    assert_eq!(is_loose, subject.embedded.is_none(), "{status}");
    let found = subject.storage.probe_upload_urls().await.expect("an answer");
    assert_eq!(
        (found, subject.storage.upload_urls_are_loose()),
        (is_loose, is_loose)
    );
    // Nothing is left of it.
    for bucket in [Bucket::Clean, Bucket::Quarantine] {
        let left = subject
            .storage
            .list(bucket, "probe/", None)
            .await
            .expect("a list");
        assert_eq!(left.objects, []);
    }
}
