//! Killed in the middle of writing: what was acknowledged stays, what was not is there once or not at all.

use std::collections::HashMap;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::support::{Answer, Client, Home, full, kill};

const CLIENTS: usize = 8;
const PRODUCTS_EACH: usize = 25;
/// No answer takes longer, whatever happens to the database.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the clients tried, by SKU; those acknowledged with the product as it was answered.
#[derive(Default)]
struct Ledger(HashMap<String, Option<Value>>);

impl Ledger {
    fn acknowledged(&self) -> usize {
        self.0.values().flatten().count()
    }

    /// Compares with what the database holds.
    async fn check(&self, home: &Home, client: &Client, prefix: &str) {
        let mut conn = home.connect().await;
        let rows: Vec<(String, i64)> =
            sqlx::query_as("select sku, count(*) from ally.products where starts_with(sku, $1) group by sku")
                .bind(prefix)
                .fetch_all(&mut conn)
                .await
                .expect("rows");
        let rows: HashMap<String, i64> = rows.into_iter().collect();
        assert!(rows.values().all(|count| *count == 1), "{rows:?}");
        assert!(
            rows.keys().all(|sku| self.0.contains_key(sku)),
            "only what was tried is there"
        );
        for (sku, product) in &self.0 {
            let Some(product) = product else { continue };
            assert!(rows.contains_key(sku), "{sku} was acknowledged and is lost");
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

/// All clients create their products, one after the other; `each` sees the outcome of every attempt
/// and says whether its client goes on.
fn create_all(
    client: &Client,
    prefix: &str,
    each: fn(&Result<Answer, reqwest::Error>, Duration) -> bool,
) -> JoinSet<Ledger> {
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let (client, prefix) = (client.clone(), prefix.to_owned());
        clients.spawn(async move {
            let mut ledger = Ledger::default();
            for count in 0..PRODUCTS_EACH {
                let sku = format!("{prefix}{number}-{count}");
                let began = Instant::now();
                let request = client
                    .request(reqwest::Method::POST, "/products")
                    .json(&product(&sku));
                let outcome = client.send(request).await;
                let created = outcome
                    .as_ref()
                    .ok()
                    .filter(|answer| answer.status == 201)
                    .map(Answer::json);
                ledger.0.insert(sku, created);
                if !each(&outcome, began.elapsed()) {
                    break;
                }
            }
            ledger
        });
    }
    clients
}

async fn joined(clients: JoinSet<Ledger>) -> Ledger {
    Ledger(
        clients
            .join_all()
            .await
            .into_iter()
            .flat_map(|ledger| ledger.0)
            .collect(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_the_program_loses_nothing_acknowledged() {
    let home = Home::seeded();
    let mut server = home.program(["dev"]).start();
    let mut client = Client::owner(&server.url()).await;
    for round in 0..if full() { 25 } else { 3 } {
        let prefix = format!("KILL-{round}-");
        let clients = create_all(&client, &prefix, |outcome, _| outcome.is_ok());
        // From the first request to about the last.
        sleep(Duration::from_millis(20 + 97 * round % 350)).await;
        server.kill9();
        let ledger = joined(clients).await;

        server = home.program(["dev"]).start();
        // The data directory's secret is the same, so the token still works.
        client = client.at(&server.url());
        ledger.check(&home, &client, &prefix).await;
    }
    server.stop().success();
}

/// During an outage only this is right: a success, or a 503 problem, soon.
fn success_or_unavailable(outcome: &Result<Answer, reqwest::Error>, took: Duration) -> bool {
    let answer = outcome.as_ref().expect("the program runs: it always answers");
    assert!(took < PATIENCE, "{took:?}: {answer:?}");
    match answer.status {
        201 => {}
        503 => {
            assert!(
                ["503 unavailable", "503 busy"].contains(&answer.problem().as_str()),
                "{answer:?}"
            );
            assert!(!answer.header("retry-after").is_empty(), "{answer:?}");
        }
        _ => panic!("{answer:?}"),
    }
    true
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_the_database_is_an_outage_of_seconds() {
    let home = Home::seeded();
    let server = home.program(["dev"]).start();
    let client = Client::owner(&server.url()).await;
    for round in 0..if full() { 15 } else { 2 } {
        let prefix = format!("DOWN-{round}-");
        let clients = create_all(&client, &prefix, success_or_unavailable);
        sleep(Duration::from_millis(30 + 61 * round % 250)).await;
        kill(home.postmaster_pid(), Signal::KILL);

        let killed = Instant::now();
        while client.get("/products").await.status != 200 {
            assert!(killed.elapsed() < Duration::from_secs(20), "it does not recover");
            sleep(Duration::from_millis(20)).await;
        }
        eprintln!("reads are back after {:?}", killed.elapsed());
        let ledger = joined(clients).await;
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
