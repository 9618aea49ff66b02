//! Readiness and the doctor, while the services of files are away.

use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::time::sleep;

use super::support::Installation;
use crate::support::{COMPANY, Client, External};

const STORE_AWAY: &str = "the object store cannot be reached: uploads and downloads fail, files wait";
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
    let api = external.program(["serve"]).start();
    let usage = Client::owner(&api.url())
        .await
        .get("/files/usage")
        .await
        .expect(200)
        .json();
    assert_eq!(usage["quota_bytes"], 5_000_000);
}
