//! The disk of the embedded database is full: nothing acknowledged is lost, and all it takes is space.

use std::fs::{DirBuilder, File};
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::getuid;
use serde_json::{Value, json};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection};
use tokio::time::{Instant, sleep};

use crate::support::{Answer, Client, Home, figures, full};

const MEGABYTES: u32 = 500;
/// No answer takes longer.
const PATIENCE: Duration = Duration::from_secs(17);

/// A path as the process sees it, whose mounts are its own.
fn seen_by(pid: u32, path: &Path) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/root{}", path.display()))
}

/// Takes all the space that is left.
fn fill(path: &Path) {
    let mut file = File::create(path).expect("a file");
    let block = vec![0; 1 << 16];
    while file.write_all(&block).is_ok() {}
    while file.write_all(&[0; 512]).is_ok() {}
}

async fn superuser(data: &Path) -> Option<PgConnection> {
    let password = std::fs::read_to_string(data.join("postgres/ally360.password")).ok()?;
    let options = PgConnectOptions::new_without_pgpass()
        .socket(data.join("postgres.run"))
        .username("ally_root")
        .password(password.trim())
        .database("ally_db");
    options.connect().await.ok()
}

/// A success, or a 503 problem, soon.
async fn create(client: &Client, number: usize) -> Option<Value> {
    let sku = format!("FULL-{number}");
    let new = json!({"name": sku, "sku": sku, "price_sale": "100.00", "description": "x".repeat(200)});
    let began = Instant::now();
    let answer: Answer = client.post("/products", &new).await;
    assert!(began.elapsed() < PATIENCE, "{:?}: {answer:?}", began.elapsed());
    if answer.status == 201 {
        return Some(answer.json());
    }
    assert!(
        ["503 unavailable", "503 busy"].contains(&answer.problem().as_str()),
        "{answer:?}"
    );
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_loses_nothing_acknowledged_and_needs_space_only() {
    if !getuid().is_root() {
        eprintln!("skipped: only root can make a small disk");
        return;
    }
    let home = Home::empty();
    DirBuilder::new()
        .mode(0o711)
        .create(home.data())
        .expect("a directory");
    let server = home
        .program(["dev"])
        .on_small_disk(&home.data(), MEGABYTES)
        .start();
    let data = seen_by(server.pid(), &home.data());
    let client = Client::owner(&server.url()).await;
    let mut kept = Vec::new();
    let mut refused = 0;
    for number in 0..50 {
        kept.push(create(&client, number).await.expect("there is space"));
    }

    fill(&data.join("ballast"));
    let filled = Instant::now();
    let mut number = kept.len();
    // Until there is no place for another segment of the log of changes, and the server stops.
    while client.get("/health/ready").await.status == 200 {
        assert!(filled.elapsed() < Duration::from_secs(60), "the server goes on");
        match create(&client, number).await {
            Some(product) => kept.push(product),
            None => refused += 1,
        }
        number += 1;
        if let Some(mut conn) = superuser(&data).await {
            let _ = sqlx::query("select pg_switch_wal()").execute(&mut conn).await;
        }
    }
    let unready = filled.elapsed();

    // More than ten attempts to start, after which a server that cannot start for another cause is given up.
    let shortest = Duration::from_secs(if full() { 30 } else { 0 });
    let began = Instant::now();
    let attempts = || {
        server
            .stderr()
            .matches("no space for PostgreSQL to start")
            .count()
    };
    while attempts() <= 10 || began.elapsed() < shortest {
        assert!(
            began.elapsed() < Duration::from_secs(120),
            "{} attempts",
            attempts()
        );
        assert!(
            create(&client, number).await.is_none(),
            "acknowledged without a place to keep it"
        );
        refused += 1;
        client.get("/health/live").await.expect(200);
        client.get("/health/ready").await.expect(503);
        sleep(Duration::from_millis(100)).await;
    }

    let away = began.elapsed();
    std::fs::remove_file(data.join("ballast")).expect("removed");
    let freed = Instant::now();
    while client.get("/health/ready").await.status != 200 {
        assert!(freed.elapsed() < Duration::from_secs(60), "it does not recover");
        sleep(Duration::from_millis(50)).await;
    }
    let back = freed.elapsed();
    for product in &kept {
        let path = format!("/products/{}", product["id"].as_str().expect("an id"));
        assert_eq!(&client.get(&path).await.expect(200).json(), product);
    }
    create(&client, number + 1).await.expect("there is space again");
    figures(
        "disk of the embedded database full",
        &format!(
            "unready after {} ms, full for {} s: {} acknowledged, 0 lost, {refused} refused with 503; \
             ready {} ms after space was made, by itself",
            unready.as_millis(),
            away.as_secs(),
            kept.len(),
            back.as_millis()
        ),
    );
    server.stop().success();
}
