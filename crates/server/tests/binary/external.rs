//! An external PostgreSQL: migrated by its owner, shared by several processes.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::support::{COMPANY, Client, External, Home, Server, wait_until};

/// A port that was free a moment ago, for a server that is asked before it says where it listens.
fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").to_string()
}

async fn seeded() -> External {
    let external = External::create(false).await;
    external.program(["demo", "seed"]).run().success();
    external
}

#[tokio::test]
async fn an_empty_database_is_migrated_by_its_owner_or_a_superuser() {
    for plain_login in [true, false] {
        let external = External::create(plain_login).await;
        external.program(["migrate", "up"]).run().success();
        external.program(["migrate", "status"]).run().success();
        external.program(["demo", "seed"]).run().success();
        let server = external.program(["serve"]).start();
        Client::owner(&server.url())
            .await
            .get("/products")
            .await
            .expect(200);
        assert!(
            !external.home.data().join("postgres").exists(),
            "no server of our own beside the external one"
        );
        server.stop().success();
    }
}

#[tokio::test]
async fn it_becomes_ready_when_another_process_migrates() {
    // The roles are there already, of another installation of the cluster.
    let other = External::create(true).await;
    other.program(["migrate", "up"]).run().success();
    let external = External::create(true).await;
    let address = free_address();
    let mut server = external
        .program(["serve"])
        .env("ALLY360_LISTEN", &address)
        .spawn();
    wait_until("the listener", Duration::from_secs(20), || {
        std::net::TcpStream::connect(&address).is_ok()
    });
    let client = Client::anonymous(&format!("http://{address}"));
    client.get("/health/live").await.expect(200);
    let readiness = client.get("/health/ready").await.expect(503).json();
    assert_eq!(readiness["ready"], false);
    assert!(
        readiness["reasons"][0]
            .as_str()
            .expect("a reason")
            .contains("ally360 migrate up"),
        "{readiness}"
    );
    assert_eq!(server.stdout(), "");
    let health = || external.program(["health"]).env("ALLY360_LISTEN", &address).run();
    let said = health().refusal();
    assert!(
        said.starts_with("not ready: ") && said.contains("ally360 migrate up"),
        "{said}"
    );

    external.program(["migrate", "up"]).run().success();
    server.wait_ready();
    assert_eq!(health().success().stdout, "ready\n");
    assert_eq!(
        client.get("/health/ready").await.expect(200).json()["ready"],
        true
    );
    server.stop().success();
    assert!(health().refusal().contains(&address), "nothing answers there now");
}

#[tokio::test]
async fn migrating_twice_at_once_succeeds() {
    for _ in 0..5 {
        let external = External::create(true).await;
        let runs = [(); 4].map(|()| external.program(["migrate", "up"]).spawn());
        for run in runs {
            run.finish(Duration::from_secs(60)).success();
        }
        external.program(["migrate", "status"]).run().success();
    }
}

#[tokio::test]
async fn installations_of_one_cluster_migrate_at_once() {
    // Their roles are the same ones.
    for _ in 0..3 {
        let mut installations = Vec::new();
        for plain_login in [true, false, true, false] {
            installations.push(External::create(plain_login).await);
        }
        let runs: Vec<Server> = installations
            .iter()
            .map(|external| external.program(["migrate", "up"]).spawn())
            .collect();
        for run in runs {
            run.finish(Duration::from_secs(60)).success();
        }
    }
}

#[tokio::test]
async fn api_worker_and_scheduler_run_apart() {
    let external = seeded().await;
    let api = external.program(["api"]).start();
    let scheduler = external.program(["scheduler"]).spawn();
    let worker = external.program(["worker"]).spawn();
    let mut conn = external.connect().await;
    let deadline = Instant::now() + Duration::from_secs(20);
    // Planned by one and run by the other.
    while sqlx::query_scalar::<_, i64>("select count(*) from ally.job_runs where outcome = 'done'")
        .fetch_one(&mut conn)
        .await
        .expect("a count")
        == 0
    {
        assert!(Instant::now() < deadline, "no job was done");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Client::owner(&api.url()).await.get("/products").await.expect(200);
    for process in [api, scheduler, worker] {
        let ended = process.stop().success();
        assert!(ended.took < Duration::from_secs(5), "{:?}", ended.took);
        assert!(
            ended.stdout.is_empty() || ended.stdout.starts_with("ready "),
            "{}",
            ended.stdout
        );
    }
}

/// Asks until the answer is `expected`; how long that took, and what was answered before.
async fn time_until(client: &Client, path: &str, expected: u16) -> Duration {
    let began = Instant::now();
    loop {
        let status = client.get(path).await.status;
        if status == expected {
            return began.elapsed();
        }
        assert_eq!(status, 200);
        assert!(
            began.elapsed() < Duration::from_secs(1),
            "still allowed after {:?}",
            began.elapsed()
        );
    }
}

fn two_processes(external: &External) -> [Server; 2] {
    let servers = [(); 2].map(|()| external.program(["api"]).start());
    for server in &servers {
        wait_until("it listens", Duration::from_secs(5), || {
            server.stderr().contains("hearing changes")
        });
    }
    servers
}

#[tokio::test]
async fn signing_out_of_one_process_is_heard_by_the_other() {
    let external = seeded().await;
    let [one, two] = two_processes(&external);
    let mut slowest = Duration::ZERO;
    for _ in 0..5 {
        let here = Client::owner(&one.url()).await;
        let there = here.at(&two.url());
        there.get("/products").await.expect(200);
        here.post("/auth/logout", &serde_json::json!({}))
            .await
            .expect(204);
        assert_eq!(
            here.get("/products").await.problem(),
            "401 unauthenticated",
            "where it was said, at once"
        );
        slowest = slowest.max(time_until(&there, "/products", 401).await);
    }
    eprintln!("signed out elsewhere after at most {slowest:?}");
}

#[tokio::test]
async fn settings_changed_at_one_process_are_obeyed_by_the_other() {
    let external = seeded().await;
    let [one, two] = two_processes(&external);
    let here = Client::owner(&one.url()).await;
    let there = here.at(&two.url());
    let path = "/company/settings";
    let mut slowest = Duration::ZERO;
    for decimals in [1, 2, 1, 2] {
        there.get(path).await.expect(200);
        let change = here.request(reqwest::Method::PATCH, path);
        let change = change.json(&serde_json::json!({"numbers": {"decimals": decimals}}));
        here.send(change).await.expect("an answer").expect(200);
        let began = Instant::now();
        assert_eq!(
            here.get(path).await.json()["numbers"]["decimals"],
            decimals,
            "at once"
        );
        while there.get(path).await.expect(200).json()["numbers"]["decimals"] != decimals {
            assert!(began.elapsed() < Duration::from_secs(3), "not seen elsewhere");
        }
        slowest = slowest.max(began.elapsed());
    }
    eprintln!("seen elsewhere after at most {slowest:?}");
}

#[tokio::test]
async fn a_lost_membership_is_heard_by_both() {
    let external = seeded().await;
    let [one, two] = two_processes(&external);
    let cashier = Client::sign_in(&one.url(), "caja@example.com", COMPANY).await;
    let clients = [cashier.clone(), cashier.at(&two.url())];
    let mut conn = external.connect().await;
    for state in ["suspended", "active", "suspended"] {
        let change = "update ally.memberships set state = $1 where role = 'cashier'";
        sqlx::query(change)
            .bind(state)
            .execute(&mut conn)
            .await
            .expect(change);
        for client in &clients {
            let expected = if state == "active" { 200 } else { 403 };
            if state == "active" {
                client.get("/products").await.expect(expected);
            } else {
                eprintln!(
                    "membership gone after {:?}",
                    time_until(client, "/products", expected).await
                );
                assert_eq!(client.get("/products").await.problem(), "403 not-a-member");
            }
        }
    }
}

#[tokio::test]
async fn a_wrong_password_is_a_reason_not_to_be_ready() {
    // The embedded server asks for passwords, which the test cluster does not: it serves as the external one here.
    let home = Home::seeded();
    let owner = home.program(["dev"]).start();
    let directory = home.data().join("postgres.run");
    let password =
        std::fs::read_to_string(home.data().join("postgres/ally360.password")).expect("a password");
    let secret = std::fs::read_to_string(home.data().join("secret")).expect("a secret");
    let url = format!(
        "postgres://ally_root:{}@localhost/ally_db?host={}",
        password.trim(),
        directory.display()
    );
    let away = Home::empty();
    let api = |secret: &str| {
        away.program(["api"])
            .envs([("DATABASE_URL", url.as_str()), ("APP_SECRET_STRING", secret)])
    };

    let address = free_address();
    let wrong = api("not the secret that the roles were made with")
        .env("ALLY360_LISTEN", &address)
        .spawn();
    wait_until("the listener", Duration::from_secs(20), || {
        std::net::TcpStream::connect(&address).is_ok()
    });
    let readiness = Client::anonymous(&format!("http://{address}"))
        .get("/health/ready")
        .await
        .expect(503)
        .json();
    let reason = readiness["reasons"][0].as_str().expect("a reason");
    assert!(
        reason.contains("ally_system") && reason.contains("ally360 doctor"),
        "{reason}"
    );
    wrong.stop().success();

    let right = api(&secret).start();
    Client::owner(&right.url())
        .await
        .get("/products")
        .await
        .expect(200);
    drop(right);
    Client::owner(&owner.url())
        .await
        .get("/products")
        .await
        .expect(200);
}

#[tokio::test]
async fn an_unreachable_database_is_said_and_waited_for() {
    let external = External::create(false).await;
    let address = free_address();
    let server = external
        .program(["serve"])
        .envs([("POSTGRES_HOST", "/nowhere"), ("ALLY360_LISTEN", &address)])
        .spawn();
    wait_until("the listener", Duration::from_secs(20), || {
        std::net::TcpStream::connect(&address).is_ok()
    });
    let client = Client::anonymous(&format!("http://{address}"));
    let readiness = client.get("/health/ready").await.expect(503).json();
    assert_eq!(readiness["reasons"][0], "the database cannot be reached");
    let form = [("username", "user@example.com"), ("password", "password123")];
    let login = client.request(reqwest::Method::POST, "/auth/login").form(&form);
    assert_eq!(
        client.send(login).await.expect("an answer").problem(),
        "503 unavailable"
    );
    server.stop().success();
}
