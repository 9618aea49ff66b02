//! A start waits for what is on its way, says for what, and does not wait for ever.

use std::path::PathBuf;
use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, UnixStream};

use crate::support::{Client, External, Home, wait_until};

/// The test cluster at this listener's address, for as long as it is polled.
async fn relay(listener: TcpListener, host: &str) {
    let socket = PathBuf::from(host).join(".s.PGSQL.5432");
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((mut client, _)) = listener.accept().await {
        let socket = socket.clone();
        connections.spawn(async move {
            let mut server = UnixStream::connect(socket).await?;
            copy_bidirectional(&mut client, &mut server).await
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn migrations_wait_for_a_server_that_starts() {
    let external = External::create(false).await;
    // The port is ours, and nobody listens on it yet.
    let port = tokio::net::TcpSocket::new_v4().expect("a socket");
    port.bind("127.0.0.1:0".parse().expect("an address"))
        .expect("a port");
    let address = port.local_addr().expect("an address");
    let migrate = |seconds: &str| {
        let program = external.program(["migrate", "up"]).envs([
            ("POSTGRES_HOST", "127.0.0.1"),
            ("POSTGRES_PORT", &address.port().to_string()),
            ("ALLY360_START_SECONDS", seconds),
        ]);
        program.spawn()
    };
    let given_up = migrate("1").finish(Duration::from_secs(30)).refusal();
    assert!(
        given_up.starts_with("the database cannot be reached"),
        "{given_up}"
    );

    let waiting = migrate("60");
    wait_until("it waits", Duration::from_secs(30), || {
        waiting.stderr().contains("waiting for the database")
    });
    let listener = port.listen(64).expect("a listener");
    let relay = relay(listener, &external.host);
    tokio::select! {
        () = relay => panic!("the relay ended"),
        finished = tokio::task::spawn_blocking(|| waiting.finish(Duration::from_secs(60))) => {
            finished.expect("no panic").success();
        }
    }
}

#[tokio::test]
async fn a_process_says_what_it_waits_for_and_ends_when_the_database_does_not_come() {
    let external = External::create(false).await;
    for role in ["api", "worker", "scheduler"] {
        let program = external.program([role]);
        let ended = program
            .envs([("POSTGRES_HOST", "/nowhere"), ("ALLY360_START_SECONDS", "1")])
            .run();
        let told = "waiting: the database cannot be reached";
        assert_eq!(ended.stderr.matches(told).count(), 1, "once: {}", ended.stderr);
        assert_eq!(
            ended.refusal(),
            "not ready after 1s: the database cannot be reached"
        );
    }
}

#[tokio::test]
async fn an_object_store_that_does_not_come_keeps_nobody_from_serving() {
    let external = External::create(false).await;
    external.program(["demo", "seed"]).run().success();
    let api = external.program(["api"]).envs([
        ("MINIO_HOST", "127.0.0.1"),
        ("MINIO_PORT", "9"),
        ("MINIO_ACCESS_KEY", "a"),
        ("MINIO_SECRET_KEY", "s"),
        ("ALLY360_START_SECONDS", "1"),
    ]);
    let api = api.start();
    for told in ["waiting: the object store cannot be reached", "going on without"] {
        assert!(api.stderr().contains(told), "{told}: {}", api.stderr());
    }
    Client::owner(&api.url()).await.get("/products").await.expect(200);
    api.stop().success();
}

/// Or it would keep what a few uploads once needed.
#[tokio::test]
async fn what_is_freed_goes_back_to_the_system() {
    let home = Home::seeded();
    let server = home.program(["dev"]).start();
    let environment = std::fs::read(format!("/proc/{}/environ", server.pid())).expect("its environment");
    let text = String::from_utf8_lossy(&environment);
    assert!(text.contains("MALLOC_MMAP_THRESHOLD_=131072"), "{text}");
}
