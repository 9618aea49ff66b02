//! Uploads that were made to do harm: none is served, none ends a worker, none takes its memory.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::samples::{archive_bomb, deep_picture, hostile, pixel_flood};
use super::support::{Installation, Sample, seed, upload_all};
use crate::jpeg::Jpeg;
use crate::support::{Server, full};

/// The most memory that a process had resident since it started, in bytes.
fn peak(process: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).expect("it runs");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .expect("the peak");
    let kilobytes = line.split_whitespace().nth(1).expect("a number");
    kilobytes.parse::<u64>().expect("a number") * 1024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_uploads_are_not_served_and_end_no_worker() {
    let count = if full() { 10_000 } else { 1_000 };
    let place = Installation::start(&[]).await;
    let worker = place.worker();
    let mut random = StdRng::seed_from_u64(seed());
    let (samples, must_be_refused): (Vec<Sample>, Vec<bool>) =
        (0..count).map(|index| hostile(&mut random, index)).unzip();
    let began = Instant::now();
    let uploads = upload_all(&place.client, samples.clone()).await;
    let uploaded = began.elapsed();
    place.settle(Duration::from_secs(count as u64 / 5)).await;
    eprintln!(
        "{count} hostile uploads in {uploaded:.1?}, all ended after {:.1?}, worker's peak {} MB",
        began.elapsed(),
        peak(&worker) / 1_000_000
    );

    let ready = "select id::text from ally.files where state = 'ready'";
    let ready = sqlx::query_scalar(ready)
        .fetch_all(&mut place.external.connect().await)
        .await;
    let ready: HashSet<String> = ready.expect("ids").into_iter().collect();
    let all = uploads.iter().zip(&samples).zip(must_be_refused);
    for (index, ((upload, sample), refused)) in all.enumerate() {
        assert!(
            !refused || !ready.contains(&upload.id),
            "{} as {} passed: {:?}",
            sample.name,
            sample.content_type,
            &sample.bytes[..sample.bytes.len().min(64)]
        );
        if index.is_multiple_of(20) {
            let answer = place.client.get(&format!("/files/{}/download", upload.id)).await;
            assert_eq!(answer.status == 200, ready.contains(&upload.id), "{answer:?}");
        }
    }
    let served = ready.len();
    eprintln!("{served} were harmless by chance");
    assert!(served > 0, "some mutations leave a file in order");
    let failed = "select count(*) from ally.job_runs where queue = 'files' and outcome <> 'done' and name = 'files.process'";
    assert_eq!(place.count(failed).await, 0, "each was looked at once");
    assert!(!worker.stderr().contains("panicked"), "{}", worker.stderr());
    worker.stop().success();
    place.check_nothing_besides().await;
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_pictures_and_bombs_stay_below_300_mb() {
    let place = Installation::start(&[("ALLY360_JOBS_PER_COMPANY", "8".to_owned())]).await;
    let worker = place.worker();
    let sample = |name: &str, content_type, bytes: Vec<u8>| Sample {
        name: name.to_owned(),
        content_type,
        bytes,
    };
    let deep = sample("profunda.png", "image/png", deep_picture());
    let wide = sample("ancha.jpg", "image/jpeg", Jpeg::baseline(12_000, 3_333).build());
    let good = [deep.clone(), wide.clone(), deep, wide];
    let bad = [
        sample("diluvio.png", "image/png", pixel_flood()),
        sample("bomba.zip", "application/zip", archive_bomb()),
    ];
    let good = upload_all(&place.client, good.to_vec()).await;
    let bad = upload_all(&place.client, bad.to_vec()).await;
    place.settle(Duration::from_secs(90)).await;
    let peak = peak(&worker);
    eprintln!("worker's peak {} MB", peak / 1_000_000);
    for upload in &bad {
        let file = place.client.get(&format!("/files/{}", upload.id)).await.json();
        assert_eq!(file["status"], "rejected", "{file}");
    }
    for upload in &good {
        let file = place.client.get(&format!("/files/{}", upload.id)).await.json();
        assert_eq!(
            (&file["status"], file["variants"].as_array().map(Vec::len)),
            (&"ready".into(), Some(3)),
            "{file}"
        );
    }
    assert!(peak < 300_000_000, "{} MB", peak / 1_000_000);
    worker.stop().success();
}
