//! One process that is told to end: readiness goes first, then the listener.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{Client, External, Raw, wait_until};

const LIVE: &str = "GET /health/live HTTP/1.1\r\nHost: h\r\n\r\n";

fn api(external: &External, notice: &str) -> crate::support::Server {
    let api = external.program(["api"]);
    api.env("ALLY360_STOP_NOTICE_SECONDS", notice).start()
}

#[tokio::test]
async fn readiness_goes_first_and_requests_are_served_until_balancers_have_noticed() {
    let external = External::create(false).await;
    external.program(["demo", "seed"]).run().success();
    let server = api(&external, "3");
    let client = Client::owner(&server.url()).await.without_keep_alive();
    let mut kept = Raw::connect(server.address());
    let answer = kept.send(LIVE).answer().expect("an answer");
    assert!(!answer.to_lowercase().contains("connection: close"), "{answer}");

    server.signal(Signal::TERM);
    let began = Instant::now();
    wait_until("leaving", Duration::from_secs(20), || {
        server.stderr().contains("leaving")
    });
    let ready = client.get("/health/ready").await.expect(503).json();
    assert_eq!(ready["reasons"][0], "the process is stopping", "{ready}");
    client.get("/products").await.expect(200);
    let answer = kept.send(LIVE).answer().expect("an answer on a kept connection");
    assert!(answer.to_lowercase().contains("connection: close"), "{answer}");
    kept.closed();

    let address = server.address();
    server.finish(Duration::from_secs(30)).success();
    assert!(began.elapsed() >= Duration::from_secs(3), "{:?}", began.elapsed());
    std::net::TcpStream::connect(address).expect_err("nobody listens");
}

#[tokio::test]
async fn a_second_signal_and_an_interrupt_end_it_at_once() {
    let external = External::create(false).await;
    external.program(["migrate", "up"]).run().success();
    let server = api(&external, "300");
    server.signal(Signal::TERM);
    wait_until("leaving", Duration::from_secs(20), || {
        server.stderr().contains("leaving")
    });
    server.stop().success();
    let server = api(&external, "300");
    server.signal(Signal::INT);
    server.finish(Duration::from_secs(30)).success();
}
