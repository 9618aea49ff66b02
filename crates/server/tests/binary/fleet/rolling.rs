//! An upgrade: every process is replaced while clients work, and none of them notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::support::{APIS, Fleet};
use crate::files::support::{Upload, ordinary, upload_all};
use crate::support::{Client, figures, full};

const CLIENTS: usize = 6;

/// What a client was answered. It tries everything once.
#[derive(Default)]
struct Seen {
    requests: usize,
    failed: Vec<String>,
    /// SKUs of products that were acknowledged.
    created: Vec<String>,
    slowest: Duration,
}

impl Seen {
    async fn ask(
        &mut self,
        client: &Client,
        request: reqwest::RequestBuilder,
        expected: u16,
    ) -> Option<serde_json::Value> {
        let began = Instant::now();
        let outcome = client.send(request).await;
        self.slowest = self.slowest.max(began.elapsed());
        self.requests += 1;
        match outcome {
            Ok(answer) if answer.status == expected => return Some(answer.json()),
            Ok(answer) => self.failed.push(format!("{answer:?}")),
            Err(error) => self.failed.push(format!("{error:?}")),
        }
        None
    }
}

/// Reads, creates and reads what was created, until it is told to stop.
async fn work(client: Client, number: usize, stop: Arc<AtomicBool>) -> Seen {
    let mut seen = Seen::default();
    for count in 0.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let get = |path: &str| client.request(Method::GET, path);
        seen.ask(&client, get("/products?limit=5"), 200).await;
        let sku = format!("ROLL-{number}-{count}");
        let new = json!({"name": format!("Producto {sku}"), "sku": sku, "price_sale": "100.00"});
        let create = client.request(Method::POST, "/products").json(&new);
        if let Some(product) = seen.ask(&client, create, 201).await {
            seen.created.push(sku);
            let path = format!("/products/{}", product["id"].as_str().expect("an id"));
            seen.ask(&client, get(&path), 200).await;
        }
        sleep(Duration::from_millis(20)).await;
    }
    seen
}

/// Uploads files, a few at a time, until it is told to stop.
async fn upload(client: Client, stop: Arc<AtomicBool>) -> Vec<Upload> {
    let mut uploads = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        uploads.extend(upload_all(&client, ordinary(4)).await);
        sleep(Duration::from_millis(if full() { 500 } else { 100 })).await;
    }
    uploads
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn replacing_every_process_fails_no_request_and_loses_no_job() {
    let rounds = if full() { 20 } else { 1 };
    let settings = [("ALLY360_STOP_NOTICE_SECONDS", "3".to_owned())];
    let Some(mut fleet) = Fleet::start(&settings).await else {
        return;
    };
    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        // Half of them keep their connections to the balancer, half make a new one for each request.
        let client = if number % 2 == 0 {
            fleet.client.clone()
        } else {
            fleet.client.without_keep_alive()
        };
        clients.spawn(work(client, number, stop.clone()));
    }
    let mut uploading = JoinSet::new();
    uploading.spawn(upload(fleet.client.clone(), stop.clone()));

    let began = Instant::now();
    for _ in 0..rounds {
        for number in 0..APIS {
            fleet.roll_api(number);
            if number < 2 {
                fleet.roll_worker(number);
            }
        }
        fleet.roll_scheduler();
    }
    let took = began.elapsed();
    stop.store(true, Ordering::SeqCst);
    let seen = clients.join_all().await;
    let uploads: Vec<Upload> = uploading.join_all().await.into_iter().flatten().collect();

    let failed: Vec<&String> = seen.iter().flat_map(|seen| &seen.failed).collect();
    assert!(
        failed.is_empty(),
        "{} failed: {:?}",
        failed.len(),
        &failed[..failed.len().min(5)]
    );
    let requests: usize = seen.iter().map(|seen| seen.requests).sum();
    let slowest = seen.iter().map(|seen| seen.slowest).max().unwrap_or_default();
    let mut created: Vec<&String> = seen.iter().flat_map(|seen| &seen.created).collect();
    created.sort();
    let kept = "select sku from ally.products where starts_with(sku, 'ROLL-') order by sku collate \"C\"";
    let kept: Vec<String> = sqlx::query_scalar(kept)
        .fetch_all(&mut fleet.place.external.connect().await)
        .await
        .expect("SKUs");
    assert!(created.iter().copied().eq(&kept), "each product once");

    fleet.place.settle(Duration::from_secs(120)).await;
    fleet.place.check_all_ready(&uploads).await;
    let bad = "select count(*) from ally.job_runs where outcome in ('lost', 'dead', 'retry')";
    assert_eq!(fleet.place.count(bad).await, 0, "runs that failed");
    figures(
        "rolling restart of 3 API, 2 worker, 1 scheduler behind HAProxy",
        &format!(
            "{rounds} rounds in {} s, {requests} requests and {} uploads: 0 failed, slowest {} ms, \
             {} sent to another process than chosen, no job lost or doubled",
            took.as_secs(),
            uploads.len(),
            slowest.as_millis(),
            fleet.redispatched()
        ),
    );
    fleet.stop();
}
