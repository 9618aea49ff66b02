//! Starting and ending: the one line, the signals, what stays and what does not.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::support::{Client, Home, wait_until};

#[tokio::test]
async fn an_empty_directory_becomes_a_running_demo() {
    let home = Home::empty();
    let server = home.program(["dev"]).start();
    let address = server.address();
    assert!(address.ip().is_loopback() && address.port() != 0);

    let client = Client::owner(&server.url()).await;
    for (path, key, expected) in [
        ("/", "status", json!("healthy")),
        ("/health", "status", json!("healthy")),
        ("/health/live", "status", json!("alive")),
        ("/health/ready", "ready", json!(true)),
    ] {
        assert_eq!(client.get(path).await.expect(200).json()[key], expected, "{path}");
    }
    for login in [
        "user@example.com",
        "caja@example.com",
        "panadera@example.com",
        "contador@example.com",
    ] {
        assert!(server.stderr().contains(login), "the greeting names {login}");
    }
    let ended = server.stop().success();
    assert_eq!(ended.stdout, format!("ready http://{address}\n"));
}

#[test]
fn signals_end_it_with_everything_it_started() {
    for signal in [Signal::TERM, Signal::INT] {
        let home = Home::seeded();
        let server = home.program(["dev"]).start();
        assert!(!home.database_processes().is_empty());
        server.signal(signal);
        let ended = server.finish(Duration::from_secs(25)).success();
        assert_eq!(
            home.database_processes(),
            Vec::<u32>::new(),
            "at the moment it ended"
        );
        eprintln!("{signal:?}: ended after {:?}", ended.took);
        assert!(
            ended.took < Duration::from_secs(5),
            "{:?} with nothing to wait for",
            ended.took
        );
    }
}

#[test]
fn a_signal_in_the_middle_of_the_start_leaves_nothing_behind() {
    for pause in [20, 300, 1500] {
        let home = Home::empty();
        let server = home.program(["dev"]).spawn();
        std::thread::sleep(Duration::from_millis(pause));
        server.signal(Signal::TERM);
        // At rest before it serves: the signal's own end is as good as a clean one.
        drop(server);
        wait_until("the end of the database", Duration::from_secs(10), || {
            home.database_processes().is_empty()
        });
        // And nothing stands in the way of the next start.
        home.program(["dev"]).start().stop().success();
    }
}

#[tokio::test]
async fn the_second_start_is_quick_and_keeps_the_data() {
    let home = Home::seeded();
    let server = home.program(["dev"]).start();
    let new = json!({"name": "Tinto de la mañana", "sku": "KEEP-1"});
    let product = Client::owner(&server.url())
        .await
        .post("/products", &new)
        .await
        .expect(201)
        .json();
    server.stop().success();

    let began = Instant::now();
    let server = home.program(["dev"]).start();
    let took = began.elapsed();
    eprintln!("second start: {took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    let id = product["id"].as_str().expect("an id");
    let client = Client::owner(&server.url()).await;
    assert_eq!(
        client.get(&format!("/products/{id}")).await.expect(200).json(),
        product
    );
}

#[tokio::test]
async fn a_token_outlives_a_restart() {
    let home = Home::seeded();
    let server = home.program(["dev"]).start();
    let client = Client::owner(&server.url()).await;
    server.stop().success();
    let server = home.program(["serve"]).start();
    client.at(&server.url()).get("/auth/me").await.expect(200);
    drop(server);

    // The secret of the data directory is what signs: with another one the token is worth nothing.
    let server = home
        .program(["serve"])
        .env("APP_SECRET_STRING", "another secret of more than 32 bytes")
        .start();
    assert_eq!(
        client.at(&server.url()).get("/auth/me").await.problem(),
        "401 unauthenticated"
    );
}
