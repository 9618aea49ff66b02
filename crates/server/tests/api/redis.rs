//! The link to Redis: it is used while the server answers, costs nobody time while it does not, and comes
//! back by itself.

use std::time::{Duration, Instant};

use clap::Parser;
use redis_link::{RedisConfig, RedisLink, probe, redis};
use testkit::{RedisServer, TestApp};
use tokio::time::{sleep, timeout};

use crate::app;

#[derive(Parser)]
struct Settings {
    #[command(flatten)]
    redis: RedisConfig,
}

/// Many times what anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// The settings of this server.
pub fn settings(server: &RedisServer) -> RedisConfig {
    let mut settings = Settings::parse_from(["test"]).redis;
    settings.redis_host = Some(server.socket().display().to_string());
    settings
}

/// A link to this server, when it is up.
pub async fn link(t: &TestApp, server: &RedisServer) -> RedisLink {
    let link = RedisLink::open(&settings(server), &t.app)
        .expect("settings")
        .expect("a server");
    until_up(&link, true).await;
    link
}

pub async fn until_up(link: &RedisLink, up: bool) {
    let reached = async {
        while link.is_up() != up {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, reached).await.expect("the link notices");
}

async fn echo(link: &RedisLink) -> Result<String, redis_link::Away> {
    link.ask(Duration::from_millis(200), async |mut connection| {
        redis::cmd("ECHO")
            .arg("hear me")
            .query_async(&mut connection)
            .await
    })
    .await
}

#[tokio::test]
async fn a_server_that_dies_is_away_until_it_is_back() {
    let t = app().await;
    let mut server = RedisServer::start(&[]);
    let link = link(&t, &server).await;
    assert_eq!(echo(&link).await.as_deref(), Ok("hear me"));

    server.kill();
    assert!(echo(&link).await.is_err());
    assert!(!link.is_up(), "known by the first who asked");
    server.restart();
    until_up(&link, true).await;
    assert_eq!(echo(&link).await.as_deref(), Ok("hear me"));
}

#[tokio::test]
async fn a_loss_is_noticed_while_nobody_asks() {
    let t = app().await;
    let server = RedisServer::start(&[]);
    let link = link(&t, &server).await;
    server.stall();
    until_up(&link, false).await;
    server.resume();
    until_up(&link, true).await;
}

#[tokio::test]
async fn a_server_that_stalls_makes_one_wait_and_not_the_next() {
    let t = app().await;
    let server = RedisServer::start(&[]);
    let link = link(&t, &server).await;
    server.stall();
    assert!(echo(&link).await.is_err());
    let began = Instant::now();
    for _ in 0..100 {
        assert!(echo(&link).await.is_err());
    }
    // Each would wait 200 ms.
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    server.resume();
    until_up(&link, true).await;
    assert_eq!(echo(&link).await.as_deref(), Ok("hear me"));
}

#[tokio::test]
async fn a_refused_command_loses_no_connection() {
    let t = app().await;
    let server = RedisServer::start(&[]);
    let link = link(&t, &server).await;
    assert!(tell(&link, &["INCR"]).await.is_err(), "of what?");
    assert!(link.is_up());
    assert_eq!(echo(&link).await.as_deref(), Ok("hear me"));
}

async fn tell(link: &RedisLink, words: &[&str]) -> Result<(), redis_link::Away> {
    let call = async |mut connection| {
        redis::cmd(words[0])
            .arg(&words[1..])
            .query_async(&mut connection)
            .await
    };
    link.ask(PATIENCE, call).await
}

/// After a failover, say, or when its memory is full: nothing can be counted there.
#[tokio::test]
async fn a_server_that_takes_no_writes_is_away() {
    let t = app().await;
    let server = RedisServer::start(&[]);
    let link = link(&t, &server).await;
    let mut by_hand = redis::Client::open(format!("unix://{}", server.socket().display()))
        .expect("an address")
        .get_connection()
        .expect("a connection");
    for (hinder, recover) in [
        ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE"),
        ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0"),
    ] {
        let mut command = |words: &str| {
            let mut words = words.split(' ');
            let mut command = redis::cmd(words.next().expect("a word"));
            words
                .fold(&mut command, |command, word| command.arg(word))
                .exec(&mut by_hand)
                .expect("done");
        };
        command(hinder);
        until_up(&link, false).await;
        let probed = probe(&settings(&server)).await.expect("a server");
        assert!(probed.is_err(), "{hinder}: {probed:?}");
        command(recover);
        until_up(&link, true).await;
    }
}

#[tokio::test]
async fn messages_are_heard_until_the_connection_is_lost() {
    let t = app().await;
    let mut server = RedisServer::start(&[]);
    let link = link(&t, &server).await;
    let mut heard = link.subscribe("news").await.expect("a subscription");
    link.publish("news", "first").await.expect("published");
    link.publish("other", "not for us").await.expect("published");
    // A while without any is no loss.
    sleep(Duration::from_millis(2500)).await;
    link.publish("news", "second").await.expect("published");
    for expected in ["first", "second"] {
        let message = timeout(PATIENCE, heard.next()).await.expect("in time");
        assert_eq!(message.as_deref(), Some(expected));
    }
    server.stall();
    let end = timeout(PATIENCE, heard.next()).await;
    assert_eq!(end.expect("noticed"), None);
    assert!(link.subscribe("news").await.is_err());
    server.restart();
    until_up(&link, true).await;
    link.subscribe("news").await.expect("a subscription");
}

#[tokio::test]
async fn the_password_is_that_of_the_settings() {
    let t = app().await;
    let server = RedisServer::start(&["--requirepass", "open sesame"]);
    let mut settings = settings(&server);
    let refused = probe(&settings).await.expect("a server");
    assert!(refused.is_err(), "{refused:?}");
    settings.redis_password = Some("open sesame".to_owned());
    let version = probe(&settings).await.expect("a server").expect("an answer");
    assert!(version.starts_with(|c: char| c.is_ascii_digit()), "{version}");
    let link = RedisLink::open(&settings, &t.app)
        .expect("settings")
        .expect("a server");
    until_up(&link, true).await;
}

/// The API, and what `/health/ready` says of Redis, when that is what is expected.
async fn until_status(t: &TestApp, status: &str) -> String {
    let ready = async {
        loop {
            let answer = t.anonymous().get("/health/ready").await.ok().json;
            if answer["status"] == status {
                return answer["reasons"].to_string();
            }
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, ready).await.expect(status)
}

#[tokio::test]
async fn readiness_is_degraded_while_it_is_away() {
    let mut server = RedisServer::start(&[]);
    let t = TestApp::new(|app| {
        let link = RedisLink::open(&settings(&server), app).expect("settings");
        server::service(&app.clone().with_part(link.expect("a server")))
    })
    .await;
    until_status(&t, "ready").await;
    server.kill();
    let reasons = until_status(&t, "degraded").await;
    assert!(reasons.contains("Redis cannot be used"), "{reasons}");
    server.restart();
    until_status(&t, "ready").await;
}
