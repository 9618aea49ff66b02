//! Readiness and the doctor, while the services of files are away.

use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::time::sleep;

use super::support::Installation;
use crate::support::{COMPANY, Client, External};

const STORE_AWAY: &str = "the object store cannot be reached: uploads and downloads fail, files wait";
const SIGNATURES_OLD: &str = "the virus scanner's signatures are older than a week: new malware is not found";
const SCANNER_AWAY: &str = "the virus scanner cannot be reached: uploads wait for it";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_store_and_scanner_it_is_ready_and_says_what_is_missing() {
    // Accepts connections and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let silent = format!("tcp://{}", silent.local_addr().expect("an address"));
    let mut place = Installation::start(&[("CLAMD_ADDRESS", silent.clone())]).await;
    let ready = place.client.get("/health/ready").await.expect(200).json();
    assert_eq!(
        (&ready["ready"], &ready["status"]),
        (&true.into(), &"degraded".into()),
        "{ready}"
    );
    assert_eq!(ready["reasons"], serde_json::json!([SCANNER_AWAY]));

    place.store.stop().await;
    sleep(Duration::from_millis(3100)).await;
    let began = Instant::now();
    let ready = place.client.get("/health/ready").await.expect(200).json();
    assert_eq!(ready["reasons"], serde_json::json!([STORE_AWAY, SCANNER_AWAY]));
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    let began = Instant::now();
    for _ in 0..20 {
        place.client.get("/health/ready").await.expect(200);
    }
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "what is known is not asked again: {:?}",
        began.elapsed()
    );
    let examined = place.external.program(["doctor"]).envs([
        ("MINIO_HOST", "127.0.0.1:9"),
        ("MINIO_ACCESS_KEY", "a"),
        ("MINIO_SECRET_KEY", "s"),
        ("CLAMD_ADDRESS", silent.as_str()),
    ]);
    let report = examined.run();
    assert_eq!(report.code, Some(1));
    for line in [
        format!("FAIL  store       {STORE_AWAY} ("),
        format!("FAIL  scanner     {SCANNER_AWAY} (no answer in 1.5s)"),
    ] {
        assert!(report.stdout.contains(&line), "{line}\n{}", report.stdout);
    }

    place.store.restart().await;
    sleep(Duration::from_millis(3100)).await;
    let ready = place.client.get("/health/ready").await.expect(200).json();
    assert_eq!(ready["reasons"], serde_json::json!([SCANNER_AWAY]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_scanner_would_not_look_into_is_refused_before_the_upload() {
    let settings = [
        ("CLAMD_ADDRESS", "tcp://127.0.0.1:9".to_owned()),
        ("CLAMD_MAX_BYTES", "1000".to_owned()),
    ];
    let place = Installation::start(&settings).await;
    let mut asked =
        serde_json::json!({"filename": "a.txt", "content_type": "text/plain", "module": "documents"});
    let upload = place.client.post("/files/upload/presign", &asked).await;
    assert_eq!(upload.expect(201).json()["max_size"], 1000);
    asked["size"] = 1001.into();
    let refused = place.client.post("/files/upload/presign", &asked).await;
    assert_eq!(refused.problem(), "422 file-too-large");
}

/// In place of clamd: it has signatures of that time and scans nothing.
#[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
async fn scanner_of(made: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("tcp://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let version = format!("ClamAV 1.4.6/27800/{made}\0");
            connection.write_all(version.as_bytes()).await.ok();
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signatures_of_long_ago_are_told_and_end_nothing() {
    let address = scanner_of("Mon Nov  3 09:00:00 2025").await;
    let place = Installation::start(&[("CLAMD_ADDRESS", address.clone())]).await;
    let ready = place.client.get("/health/ready").await.expect(200).json();
    assert_eq!(
        (&ready["status"], &ready["reasons"]),
        (&"degraded".into(), &serde_json::json!([SIGNATURES_OLD]))
    );
    let doctor = |address: &str| {
        let examined = place.external.program(["doctor"]);
        examined.envs([("CLAMD_ADDRESS", address)]).run().success()
    };
    let report = doctor(&address);
    let line =
        format!("warn  scanner     {SIGNATURES_OLD} (clamd 1.4.6/27800 of 2025-11-03: does freshclam run?)");
    assert!(report.stdout.contains(&line), "{}", report.stdout);
    let fresh = doctor(&scanner_of("Sat Nov  3 09:00:00 2125").await);
    assert!(
        fresh.stdout.contains("ok    scanner     clamd 1.4.6/27800"),
        "{}",
        fresh.stdout
    );
}

#[tokio::test]
async fn processes_without_a_store_to_share_say_so() {
    let external = External::create(false).await;
    external.program(["migrate", "up"]).run().success();
    let api = external.program(["api"]).start();
    let ready = Client::anonymous(&api.url())
        .get("/health/ready")
        .await
        .expect(200)
        .json();
    assert_eq!(ready["status"], "degraded", "{ready}");
    assert!(
        ready["reasons"][0]
            .as_str()
            .is_some_and(|reason| reason.contains("MINIO_HOST")),
        "{ready}"
    );
    api.stop().success();
    let report = external.program(["doctor"]).run().success();
    assert!(
        report.stdout.contains("ok    store       embedded") && report.stdout.contains("ok    scanner "),
        "{}",
        report.stdout
    );
}

#[tokio::test]
async fn an_operator_shows_and_changes_what_a_company_may_keep() {
    let external = External::create(true).await;
    external.program(["demo", "seed"]).run().success();
    let quota = |arguments: &[&str]| {
        let all = ["files", "quota"].into_iter().chain(arguments.iter().copied());
        external.program(all.collect::<Vec<_>>()).run()
    };
    let plan = |arguments: &[&str]| -> serde_json::Value {
        serde_json::from_str(&quota(arguments).success().stdout).expect("JSON")
    };
    assert_eq!(plan(&[COMPANY])["quota_bytes"], serde_json::Value::Null);
    let changed = plan(&[COMPANY, "--bytes", "5MB", "--max-file-bytes", "1MiB"]);
    assert_eq!(
        (&changed["quota_bytes"], &changed["max_file_bytes"]),
        (&5_000_000.into(), &1_048_576.into())
    );
    let kept = plan(&[COMPANY, "--max-file-bytes", "default"]);
    assert_eq!(
        (&kept["quota_bytes"], &kept["max_file_bytes"]),
        (&5_000_000.into(), &serde_json::Value::Null)
    );
    let nobody = "00000000-0000-4000-8000-000000000000";
    assert_eq!(
        quota(&[nobody]).refusal(),
        format!("no company has the id {nobody}")
    );
    assert_eq!(quota(&[COMPANY, "--bytes", "many"]).code, Some(2));
    assert_eq!(quota(&[COMPANY, "--max-file-bytes", "0"]).code, Some(2));
    let api = external.program(["serve"]).start();
    let usage = Client::owner(&api.url())
        .await
        .get("/files/usage")
        .await
        .expect(200)
        .json();
    assert_eq!(usage["quota_bytes"], 5_000_000);
}
