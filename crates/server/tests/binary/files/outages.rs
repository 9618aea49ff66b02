//! Store, scanner and database that go away while files are processed: files wait, and all end well.

use std::time::Duration;

use rustix::process::Signal;
use tokio::time::sleep;

use super::support::{Installation, Sample, download, http, ordinary, put, upload_all};
use crate::daemon::{Daemon, MALWARE};
use crate::support::{Client, Home, figures, full, kill};

/// How long each service is away.
fn outage() -> Duration {
    Duration::from_secs(if full() { 30 } else { 2 })
}

const READY: &str = "select count(*) from ally.files where state = 'ready'";

async fn reach(place: &Installation, ready: i64) {
    while place.count(READY).await < ready {
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn store_and_scanner_go_away_and_come_back() {
    let Some(mut clamd) = Daemon::start("") else {
        return;
    };
    let count = if full() { 500 } else { 40 };
    let mut place = Installation::start(&[
        ("CLAMD_ADDRESS", clamd.address()),
        ("CLAMD_TIMEOUT_SECONDS", "5".to_owned()),
        // One file at a time, so that outages meet files that wait.
        ("ALLY360_WORKER_CONCURRENCY", "1".to_owned()),
    ])
    .await;
    let uploads = upload_all(&place.client, ordinary(count)).await;
    let infected = Sample {
        name: "nota.txt".to_owned(),
        content_type: "text/plain",
        bytes: MALWARE.to_vec(),
    };
    let [infected] = &upload_all(&place.client, vec![infected]).await[..] else {
        panic!("one upload")
    };
    let worker = place.worker();

    reach(&place, 3).await;
    place.store.stop().await;
    sleep(outage()).await;
    assert!(place.open_files().await > 10, "the outage came too late");
    place.store.restart().await;

    let before = place.count(READY).await;
    reach(&place, before + 3).await;
    clamd.kill();
    // What was scanned already may still become ready.
    sleep(Duration::from_millis(500)).await;
    let scanned = place.count(READY).await;
    sleep(outage()).await;
    assert_eq!(place.count(READY).await, scanned, "ready without a scanner");
    assert!(place.open_files().await > 10, "the outage came too late");
    clamd.restart();

    reach(&place, scanned + 3).await;
    clamd.signal(Signal::STOP);
    sleep(outage()).await;
    clamd.signal(Signal::CONT);

    place
        .settle(Duration::from_secs(if full() { 600 } else { 90 }))
        .await;
    let scanned = "select count(*) from ally.files where state = 'ready' and scanned_by like 'clamd %'";
    assert_eq!(place.count(scanned).await, i64::try_from(count).expect("few"));
    let file = place.client.get(&format!("/files/{}", infected.id)).await.json();
    assert_eq!(
        (&file["status"], &file["reason"]),
        (&"infected".into(), &"Ally360.Test.UNOFFICIAL".into())
    );
    for upload in &uploads {
        assert_eq!(download(&place.client, &upload.id).await, upload.bytes);
    }
    worker.stop().success();
    place.check_nothing_besides().await;
    figures(
        "object store away, clamd killed, clamd frozen, one after the other",
        &format!(
            "{} s each, {count} files under way: all ready and scanned, the infected one found, nothing left over",
            outage().as_secs()
        ),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_killed_while_files_arrive_costs_nothing_but_time() {
    let home = Home::seeded();
    let server = home.program(["dev"]).start();
    let client = Client::owner(&server.url()).await;
    let http = http();
    let (mut expected, mut presigned) = (Vec::new(), Vec::new());
    for sample in ordinary(if full() { 200 } else { 30 }) {
        let new = serde_json::json!({"filename": sample.name, "content_type": sample.content_type,
            "module": "documents", "size": sample.bytes.len()});
        presigned.push(
            client
                .post("/files/upload/presign", &new)
                .await
                .expect(201)
                .json(),
        );
        expected.push(sample.bytes);
    }
    // The store is none of the database's: uploads go on, and their arrivals are found later.
    for (index, (upload, bytes)) in presigned.iter().zip(&expected).enumerate() {
        if index == presigned.len() / 2 {
            kill(home.postmaster_pid(), Signal::KILL);
        }
        put(&http, upload, bytes.clone()).await;
    }
    // Again as soon as it is back, while files are processed.
    while client.get("/health/ready").await.status != 200 {
        sleep(Duration::from_millis(20)).await;
    }
    kill(home.postmaster_pid(), Signal::KILL);
    let mut kept = 0;
    for (upload, bytes) in presigned.iter().zip(&expected) {
        let path = format!("/files/{}", upload["file_id"].as_str().expect("an id"));
        let mut waits = 0;
        loop {
            let answer = client.get(&path).await;
            if answer.status == 200 && answer.json()["status"] == "ready" {
                let variants = answer.json()["variants"].as_array().expect("variants").clone();
                let thumbnails = variants
                    .iter()
                    .map(|variant| variant["size"].as_u64().expect("a size"));
                kept += bytes.len() as u64 + thumbnails.sum::<u64>();
                break;
            }
            assert!([200, 503].contains(&answer.status), "{answer:?}");
            waits += 1;
            assert!(waits < 1200, "{answer:?}");
            sleep(Duration::from_millis(50)).await;
        }
        let id = upload["file_id"].as_str().expect("an id");
        assert_eq!(&download(&client, id).await, bytes);
    }
    let usage = client.get("/files/usage").await.expect(200).json();
    assert_eq!(
        (&usage["used_bytes"], &usage["open_uploads"]),
        (&kept.into(), &0.into())
    );
    figures(
        "kill -9 of PostgreSQL, twice, while files arrive and are processed",
        &format!("{} files: all ready and whole", expected.len()),
    );
    server.stop().success();
}
