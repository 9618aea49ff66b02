//! Killed in the middle of writing: what was acknowledged stays, what was not is there once or not at all.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::support::{Answer, Client, Home, full, kill};

const CLIENTS: usize = 8;
const PRODUCTS_EACH: usize = 25;
/// No answer takes longer, whatever happens to the database.
const PATIENCE: Duration = Duration::from_secs(5);

type Outcome = Result<Answer, reqwest::Error>;

/// What the clients tried, by SKU; those acknowledged with the product as it was answered.
#[derive(Default)]
struct Ledger(HashMap<String, Option<Value>>);

impl Ledger {
    fn acknowledged(&self) -> usize {
        self.0.values().flatten().count()
    }

    /// Compares with what the database holds.
    async fn check(&self, home: &Home, client: &Client, prefix: &str) {
        let count = "select sku, count(*) from ally.products where starts_with(sku, $1) group by sku";
        let rows = sqlx::query_as(count)
            .bind(prefix)
            .fetch_all(&mut home.connect().await)
            .await;
        let rows: Vec<(String, i64)> = rows.expect("rows");
        assert!(rows.iter().all(|(_, count)| *count == 1), "{rows:?}");
        assert!(
            rows.iter().all(|(sku, _)| self.0.contains_key(sku)),
            "only what was tried is there"
        );
        for (sku, product) in &self.0 {
            let Some(product) = product else { continue };
            assert!(
                rows.iter().any(|row| row.0 == *sku),
                "{sku} was acknowledged and is lost"
            );
            let path = format!("/products/{}", product["id"].as_str().expect("an id"));
            assert_eq!(&client.get(&path).await.expect(200).json(), product);
        }
        eprintln!(
            "{} acknowledged, {} of {} tried are there",
            self.acknowledged(),
            rows.len(),
            self.0.len()
        );
    }
}

fn product(sku: &str) -> Value {
    json!({"name": format!("Producto {sku}"), "sku": sku, "price_sale": "1500.50", "description": "Creado durante una caída"})
}

/// Clients that create their products, each one after the other.
struct Clients {
    running: JoinSet<Ledger>,
    acknowledged: Arc<AtomicUsize>,
}

impl Clients {
    /// `each` sees the outcome of every attempt and says whether its client goes on.
    fn start(client: &Client, prefix: &str, each: fn(&Outcome, Duration) -> bool) -> Clients {
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let mut running = JoinSet::new();
        for number in 0..CLIENTS {
            let (client, prefix, acknowledged) =
                (client.clone(), prefix.to_owned(), Arc::clone(&acknowledged));
            running.spawn(async move {
                let mut ledger = Ledger::default();
                for count in 0..PRODUCTS_EACH {
                    let sku = format!("{prefix}{number}-{count}");
                    let began = Instant::now();
                    let request = client.request(Method::POST, "/products").json(&product(&sku));
                    let outcome = client.send(request).await;
                    let created = outcome
                        .as_ref()
                        .ok()
                        .filter(|answer| answer.status == 201)
                        .map(Answer::json);
                    acknowledged.fetch_add(created.iter().len(), Ordering::SeqCst);
                    ledger.0.insert(sku, created);
                    if !each(&outcome, began.elapsed()) {
                        break;
                    }
                }
                ledger
            });
        }
        Clients {
            running,
            acknowledged,
        }
    }

    /// Waits until so many products are acknowledged: others are on their way.
    async fn reach(&self, count: usize) {
        while self.acknowledged.load(Ordering::SeqCst) < count {
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// What all of them tried.
    async fn finish(self) -> Ledger {
        let ledgers = self.running.join_all().await;
        Ledger(ledgers.into_iter().flat_map(|ledger| ledger.0).collect())
    }
}

/// How many products are acknowledged when the blow of a round falls.
fn moment(round: usize) -> usize {
    [60, 1, 120, 20, 90][round % 5]
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_the_program_loses_nothing_acknowledged() {
    let home = Home::seeded();
    let mut server = home.program(["dev"]).start();
    let mut client = Client::owner(&server.url()).await;
    for round in 0..if full() { 25 } else { 3 } {
        let prefix = format!("KILL-{round}-");
        let clients = Clients::start(&client, &prefix, |outcome, _| outcome.is_ok());
        clients.reach(moment(round)).await;
        server.kill9();
        let ledger = clients.finish().await;
        assert!(
            ledger.acknowledged() < CLIENTS * PRODUCTS_EACH,
            "it came too late"
        );

        server = home.program(["dev"]).start();
        // The data directory's secret is the same, so the token still works.
        client = client.at(&server.url());
        ledger.check(&home, &client, &prefix).await;
    }
    server.stop().success();
}

/// During an outage only this is right: a success, or a 503 problem, soon.
fn success_or_unavailable(outcome: &Outcome, took: Duration) -> bool {
    let answer = outcome.as_ref().expect("the program runs: it always answers");
    assert!(took < PATIENCE, "{took:?}: {answer:?}");
    if answer.status != 201 {
        assert!(
            ["503 unavailable", "503 busy"].contains(&answer.problem().as_str()),
            "{answer:?}"
        );
        assert!(!answer.header("retry-after").is_empty(), "{answer:?}");
    }
    true
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_the_database_is_an_outage_of_seconds() {
    let home = Home::seeded();
    let server = home.program(["dev"]).start();
    let client = Client::owner(&server.url()).await;
    for round in 0..if full() { 15 } else { 3 } {
        let prefix = format!("DOWN-{round}-");
        let clients = Clients::start(&client, &prefix, success_or_unavailable);
        clients.reach(moment(round)).await;
        let postmaster = home.postmaster_pid();
        kill(postmaster, Signal::KILL);

        let killed = Instant::now();
        let ledger = clients.finish().await;
        while client.get("/products").await.status != 200 {
            assert!(killed.elapsed() < Duration::from_secs(20), "it does not recover");
            sleep(Duration::from_millis(20)).await;
        }
        assert_ne!(home.postmaster_pid(), postmaster);
        eprintln!("all is back after {:?}", killed.elapsed());
        ledger.check(&home, &client, &prefix).await;
        client.get("/health/ready").await.expect(200);
        client
            .post("/products", &product(&format!("AFTER-{round}")))
            .await
            .expect(201);
    }
    server.stop().success();
    assert_eq!(home.database_processes(), Vec::<u32>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_database_is_answered_for() {
    let home = Home::seeded();
    let server = home.program(["dev"]).start();
    let client = Client::owner(&server.url()).await;
    client.get("/products").await.expect(200);
    let processes = home.database_processes();
    for pid in &processes {
        kill(*pid, Signal::STOP);
    }
    let began = Instant::now();
    client.get("/health/live").await.expect(200);
    let readiness = client.get("/health/ready").await.expect(503).json();
    assert_eq!(readiness["reasons"][0], "the database does not answer in time");
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    for pid in &processes {
        kill(*pid, Signal::CONT);
    }
    client.get("/products").await.expect(200);
    server.stop().success();
}
