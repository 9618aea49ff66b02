//! Killed in the middle of writing: what was acknowledged stays, what was not is there once or not at all.

use std::collections::HashMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};
use sqlx::PgConnection;
use testkit::RedisServer;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::support::{Answer, Client, External, Helper, Home, figures, full, kill, wait_until};

const PGBOUNCER: &str = include_str!("../../../../deploy/pgbouncer/pgbouncer.ini");
const CLIENTS: usize = 8;
const PRODUCTS_EACH: usize = 25;
/// No answer takes longer, whatever happens to the database: the limit of a request, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(17);

type Outcome = Result<Answer, reqwest::Error>;

/// What the clients tried, by SKU; those acknowledged with the product as it was answered.
#[derive(Default)]
struct Ledger(HashMap<String, Option<Value>>);

impl Ledger {
    fn acknowledged(&self) -> usize {
        self.0.values().flatten().count()
    }

    /// Compares with what the database holds.
    async fn check(&self, conn: &mut PgConnection, client: &Client, prefix: &str) {
        let count = "select sku, count(*) from ally.products where starts_with(sku, $1) group by sku";
        let rows = sqlx::query_as(count).bind(prefix).fetch_all(conn).await;
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
    }
}

/// Several rounds together.
#[derive(Default)]
struct Tally {
    rounds: usize,
    tried: usize,
    acknowledged: usize,
    back: Vec<Duration>,
}

impl Tally {
    fn add(&mut self, ledger: &Ledger, back: Duration) {
        self.rounds += 1;
        self.tried += ledger.0.len();
        self.acknowledged += ledger.acknowledged();
        self.back.push(back);
    }

    fn tell(mut self, fault: &str) {
        self.back.sort();
        let (median, longest) = (self.back[self.back.len() / 2], self.back[self.back.len() - 1]);
        let (rounds, tried, acknowledged) = (self.rounds, self.tried, self.acknowledged);
        figures(
            fault,
            &format!(
                "{rounds} kills under {CLIENTS} writers: {acknowledged} of {tried} writes acknowledged, 0 of them lost, \
                 none doubled; writes again after {} ms (median), {} ms (longest)",
                median.as_millis(),
                longest.as_millis()
            ),
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
    let mut tally = Tally::default();
    for round in 0..if full() { 25 } else { 3 } {
        let prefix = format!("KILL-{round}-");
        let clients = Clients::start(&client, &prefix, |outcome, _| outcome.is_ok());
        clients.reach(moment(round)).await;
        server.kill9();
        let restarted = Instant::now();
        let ledger = clients.finish().await;
        assert!(
            ledger.acknowledged() < CLIENTS * PRODUCTS_EACH,
            "it came too late"
        );

        server = home.program(["dev"]).start();
        // The data directory's secret is the same, so the token still works.
        client = client.at(&server.url());
        ledger.check(&mut home.connect().await, &client, &prefix).await;
        tally.add(&ledger, restarted.elapsed());
    }
    tally.tell("kill -9 of the whole program, database embedded");
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
    let mut tally = Tally::default();
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
        tally.add(&ledger, killed.elapsed());
        ledger.check(&mut home.connect().await, &client, &prefix).await;
        client.get("/health/ready").await.expect(200);
        client
            .post("/products", &product(&format!("AFTER-{round}")))
            .await
            .expect(201);
    }
    tally.tell("kill -9 of PostgreSQL");
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

/// A PgBouncer as shipped, but for its addresses, before this database; its socket lies in the second.
fn pooler(external: &External) -> Option<(Helper, PathBuf)> {
    let mut pgbouncer = Helper::find("pgbouncer")?;
    let directory = external.home.path().join("pgbouncer");
    std::fs::create_dir(&directory).expect("a directory");
    std::fs::set_permissions(&directory, Permissions::from_mode(0o777)).expect("permissions");
    std::fs::write(
        directory.join("users"),
        "\"ally_app\" \"\"\n\"ally_system\" \"\"\n",
    )
    .expect("written");
    let settings = PGBOUNCER
        .replace("ally_db = host=postgres", &format!("* = host={}", external.host))
        .replace(
            "listen_addr = 0.0.0.0",
            &format!("unix_socket_dir = {}", directory.display()),
        )
        // As the test cluster does.
        .replace("auth_type = scram-sha-256", "auth_type = trust")
        .replace(
            "/etc/pgbouncer/userlist.txt",
            &directory.join("users").display().to_string(),
        );
    let file = directory.join("pgbouncer.ini");
    std::fs::write(&file, settings).expect("written");
    pgbouncer.arg(file);
    // Which refuses root.
    Helper::run_as_owner_of(&external.host, &mut pgbouncer);
    let helper = Helper::start(pgbouncer);
    wait_until("PgBouncer", Duration::from_secs(20), || {
        directory.join(".s.PGSQL.6432").exists()
    });
    Some((helper, directory))
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_the_pooler_is_an_outage_of_moments() {
    let external = External::create(false).await;
    external.program(["demo", "seed"]).run().success();
    let Some((mut pgbouncer, directory)) = pooler(&external) else {
        return;
    };
    let address = format!("{}:6432", directory.display());
    let server = external
        .program(["api"])
        .env("ALLY360_DB_POOLER", address)
        .start();
    let client = Client::owner(&server.url()).await;
    let mut tally = Tally::default();
    for round in 0..if full() { 30 } else { 3 } {
        let prefix = format!("POOL-{round}-");
        let clients = Clients::start(&client, &prefix, success_or_unavailable);
        clients.reach(moment(round)).await;
        pgbouncer.kill9();
        let killed = Instant::now();
        // What a service manager takes.
        sleep(Duration::from_millis(300)).await;
        pgbouncer.restart();
        let ledger = clients.finish().await;
        while client.get("/products").await.status != 200 {
            assert!(killed.elapsed() < Duration::from_secs(20), "it does not recover");
            sleep(Duration::from_millis(20)).await;
        }
        tally.add(&ledger, killed.elapsed());
        ledger
            .check(&mut external.connect().await, &client, &prefix)
            .await;
    }
    tally.tell("kill -9 of PgBouncer, 300 ms away");
    server.stop().success();
}

/// Redis may be away at any time, and nobody waits for it.
fn success_soon(outcome: &Outcome, took: Duration) -> bool {
    let answer = outcome.as_ref().expect("the program runs: it always answers");
    assert!(answer.status == 201 && took < PATIENCE, "{took:?}: {answer:?}");
    true
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_redis_is_noticed_by_nobody() {
    let external = External::create(false).await;
    external.program(["demo", "seed"]).run().success();
    let mut redis = RedisServer::start(&[]);
    let server = external
        .program(["api"])
        .env("REDIS_HOST", redis.socket())
        .start();
    let client = Client::owner(&server.url()).await;
    let rounds = if full() { 20 } else { 2 };
    let mut acknowledged = 0;
    for round in 0..rounds {
        let prefix = format!("REDIS-{round}-");
        let clients = Clients::start(&client, &prefix, success_soon);
        clients.reach(moment(round)).await;
        redis.kill();
        let ledger = clients.finish().await;
        redis.restart();
        ledger
            .check(&mut external.connect().await, &client, &prefix)
            .await;
        acknowledged += ledger.acknowledged();
        wait_until("the link is back", Duration::from_secs(20), || {
            server.stderr().matches("connected to Redis").count() > round + 1
        });
    }
    figures(
        "kill -9 of Redis",
        &format!(
            "{rounds} kills under {CLIENTS} writers: all {acknowledged} writes succeeded; the link is back by itself"
        ),
    );
    server.stop().success();
}
