//! What Prometheus reads of the running program.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{COMPANY, Client, Home, Program, Server, kill};

/// Every metric is explained there.
const GUIDE: &str = include_str!("../../../../docs/monitoring.md");
/// Every metric has its help text there.
const PROGRAM: &str = include_str!("../../src/monitor.rs");
/// What answers a forgotten password.
const JOB: &str = r#"ally360_job_duration_seconds_count{job="identity.answer_mail_request",outcome="done"}"#;
/// Waits in these tests at most.
const LIMIT: Duration = Duration::from_secs(30);

fn monitored(program: Program) -> Server {
    program.env("ALLY360_METRICS_LISTEN", "127.0.0.1:0").start()
}

/// Where it says that its metrics are.
fn metrics_of(server: &Server) -> Client {
    let log = server.stderr();
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let line = lines
        .into_iter()
        .find(|line| line["message"] == "metrics are served");
    let line = line.unwrap_or_else(|| panic!("no line: {log}"));
    Client::anonymous(&format!(
        "http://{}",
        line["address"].as_str().expect("an address")
    ))
}

async fn scrape(metrics: &Client) -> String {
    let answer = metrics.get("/metrics").await.expect(200);
    assert_eq!(
        answer.header("content-type"),
        "text/plain; version=0.0.4; charset=utf-8"
    );
    answer.text
}

/// The value of a series, written as the page writes it.
fn value(page: &str, series: &str) -> Option<f64> {
    let line = page
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map(|value| value.parse().expect("a number"))
}

/// Scrapes until the series has the value.
async fn wait_for(metrics: &Client, series: &str, wanted: f64) -> String {
    let deadline = tokio::time::Instant::now() + LIMIT;
    loop {
        let page = scrape(metrics).await;
        if value(&page, series) == Some(wanted) {
            return page;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "no {series} {wanted} in {page}"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn requests_and_jobs_are_counted_by_names_that_no_client_chooses() {
    let home = Home::seeded();
    let server = monitored(home.program(["dev"]));
    let (metrics, client) = (metrics_of(&server), Client::owner(&server.url()).await);
    let product = json!({"name": "Arroz", "sku": "ARROZ-1"});
    let id = client.post("/products", &product).await.expect(201).json()["id"].clone();
    client.post("/products", &product).await.expect(409);
    let path = format!("/products/{}", id.as_str().expect("an id"));
    for _ in 0..3 {
        client.get(&path).await.expect(200);
    }
    client
        .get(&format!("/products/{}", Uuid::new_v4()))
        .await
        .expect(404);
    let scans = 200;
    for number in 0..scans {
        client
            .get(&format!("/wp-admin/{number}?id={}", Uuid::new_v4()))
            .await
            .expect(404);
    }
    for invented in ["BREW", "SPILL"] {
        let method = reqwest::Method::from_bytes(invented.as_bytes()).expect("a method");
        client
            .send(client.request(method, "/products"))
            .await
            .expect("an answer");
    }
    // Answered by a job.
    let forgotten = json!({"email": "nobody@example.com"});
    client
        .post("/auth/request-password-reset", &forgotten)
        .await
        .expect(202);

    let page = wait_for(&metrics, JOB, 1.0).await;
    let requests = |route: &str, method: &str, status: &str| {
        let labels = format!(r#"route="{route}",method="{method}",status="{status}""#);
        value(
            &page,
            &format!("ally360_http_request_duration_seconds_count{{{labels}}}"),
        )
    };
    assert_eq!(requests("/products", "POST", "2xx"), Some(1.0), "{page}");
    assert_eq!(requests("/products", "POST", "4xx"), Some(1.0));
    assert_eq!(requests("/products", "other", "4xx"), Some(2.0));
    assert_eq!(requests("/products/{product_id}", "GET", "2xx"), Some(3.0));
    assert_eq!(requests("/products/{product_id}", "GET", "4xx"), Some(1.0));
    assert_eq!(requests("unmatched", "GET", "4xx"), Some(f64::from(scans)));
    assert_eq!(
        value(&page, r#"ally360_problems_total{code="product-sku-taken"}"#),
        Some(1.0)
    );
    assert_eq!(value(&page, "ally360_http_requests_in_flight"), Some(0.0));
    assert_eq!(value(&page, "ally360_database_up"), Some(1.0));
    for series in [
        r#"ally360_cache_requests_total{cache="callers",result="hit"}"#,
        r#"ally360_db_wait_seconds_count{pool="app"}"#,
        r#"ally360_db_connections{pool="app",state="max"}"#,
        "process_resident_memory_bytes",
        "process_open_fds",
    ] {
        assert!(
            value(&page, series).is_some_and(|value| value > 0.0),
            "{series}: {page}"
        );
    }

    assert!(!page.contains(COMPANY) && !page.contains("wp-admin") && !page.contains("BREW"));
    bounded(&page);
    // The API's own listener tells nothing of it.
    assert_eq!(client.get("/metrics").await.problem(), "404 not-found");
    // One histogram of a route has 17 lines.
    assert!(page.lines().count() < 1500, "{} lines", page.lines().count());
    explained(&page);
    server.stop().success();
}

/// No label has a value of which there may be any number: an id, a name, an address, a path, a text.
fn bounded(page: &str) {
    let labelled = page.lines().filter(|line| !line.starts_with('#'));
    let labels = labelled.flat_map(|line| {
        let labels = line
            .split_once('{')
            .map_or("", |(_, rest)| rest.rsplit_once('}').map_or("", |(l, _)| l));
        labels
            .split("\",")
            .filter_map(|label| label.trim_end_matches('"').split_once("=\""))
    });
    let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (label, value) in labels {
        values.entry(label).or_default().insert(value);
    }
    assert!(values.len() > 8, "{values:?}");
    for (label, values) in values {
        if label == "le" {
            continue;
        }
        let longest = if label == "route" { 80 } else { 40 };
        for value in &values {
            let digits = value.chars().filter(char::is_ascii_digit).count();
            let known = |c: char| c.is_ascii_alphanumeric() || "/{}_-.".contains(c);
            assert!(
                value.len() <= longest && digits <= 4 && value.chars().all(known),
                "{label} may have any number of values: {value}"
            );
        }
        assert!(values.len() <= 200, "{label} has {} values", values.len());
    }
}

#[test]
#[should_panic(expected = "route may have any number of values")]
fn a_route_with_an_id_in_it_would_be_noticed() {
    let metric = |route: &str| {
        format!(r#"m{{a="1",b="2",c="3",d="4",e="5",f="6",g="7",h="8",route="{route}",le="0.25"}} 1"#)
    };
    bounded(&metric("/products/{product_id}"));
    bounded(&metric(&format!("/products/{}", Uuid::new_v4())));
}

/// Each has a help text and a place in the guide, and the guide names no other.
fn explained(page: &str) {
    let names: BTreeSet<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    assert!(names.len() > 15, "{names:?}");
    for name in names {
        assert!(
            page.contains(&format!("# HELP {name} ")),
            "{name} has no help text"
        );
        assert!(
            GUIDE.contains(&format!("`{name}`")) || name.starts_with("process_"),
            "{name} is not in docs/monitoring.md"
        );
    }
    let named = GUIDE.split('`').filter(|word| word.starts_with("ally360_"));
    for name in named.filter(|name| !name.contains('…')) {
        let name = name.split('{').next().unwrap_or_default();
        assert!(
            PROGRAM.contains(&format!("\"{name}\"")),
            "there is no metric {name}"
        );
    }
}

#[tokio::test]
async fn queues_show_what_waits_and_for_how_long() {
    let home = Home::seeded();
    let server = monitored(home.program(["serve"]));
    let metrics = metrics_of(&server);
    let page = scrape(&metrics).await;
    assert_eq!(
        value(&page, r#"ally360_queue_jobs{queue="default",state="dead"}"#),
        Some(0.0),
        "{page}"
    );
    let mut database = home.connect().await;
    let insert = "insert into ally.jobs (tenant_id, id, queue, name, payload, state, run_at)
                  select gen_random_uuid(), gen_random_uuid(), queue, 'test.nothing', '{}', state, now() - interval '1 hour'
                    from (values ('default', 'dead'), ('forgotten', 'ready'), ('forgotten', 'scheduled')) as job (queue, state)";
    sqlx::raw_sql(insert).execute(&mut database).await.expect("jobs");
    let page = wait_for(
        &metrics,
        r#"ally360_queue_jobs{queue="default",state="dead"}"#,
        1.0,
    )
    .await;
    assert_eq!(
        value(&page, r#"ally360_queue_jobs{queue="unknown",state="ready"}"#),
        Some(1.0),
        "{page}"
    );
    assert_eq!(
        value(&page, r#"ally360_queue_jobs{queue="unknown",state="scheduled"}"#),
        Some(1.0)
    );
    let oldest = value(&page, r#"ally360_queue_oldest_seconds{queue="unknown"}"#).expect("an age");
    assert!((3600.0..3700.0).contains(&oldest), "{oldest}");
    assert!(!page.contains("forgotten"));
    server.stop().success();
}

#[tokio::test]
async fn a_database_that_hangs_is_seen_and_seen_to_come_back() {
    let home = Home::seeded();
    let server = monitored(home.program(["serve"]));
    let metrics = metrics_of(&server);
    wait_for(&metrics, "ally360_database_up", 1.0).await;
    let processes = home.database_processes();
    assert!(!processes.is_empty());
    processes.iter().for_each(|pid| kill(*pid, Signal::STOP));
    wait_for(&metrics, "ally360_database_up", 0.0).await;
    processes.iter().for_each(|pid| kill(*pid, Signal::CONT));
    wait_for(&metrics, "ally360_database_up", 1.0).await;
    server.stop().success();
}

#[tokio::test]
async fn slow_statements_are_logged_without_their_values() {
    let home = Home::seeded();
    let server = home.program(["serve"]).env("ALLY360_DB_SLOW_MS", "0").start();
    let client = Client::owner(&server.url()).await;
    let product = json!({"name": "Nombre Muy Privado", "sku": "PRIVADO-1"});
    client.post("/products", &product).await.expect(201);
    client.get("/products?search=Privado").await.expect(200);
    let log = server.stop().success().stderr;
    let slow = |line: &&str| line.contains("slow statement") && line.contains("insert into products");
    assert!(log.lines().any(|line| slow(&line)), "{log}");
    assert!(!log.to_lowercase().contains("privado"), "{log}");
}

/// Whoever supervises the process asks there: the API's listener may have all the connections that it takes.
#[tokio::test]
async fn health_is_told_beside_the_metrics_whatever_the_api_has_to_do() {
    let home = Home::seeded();
    let server = monitored(home.program(["dev"]).env("ALLY360_MAX_CONNECTIONS", "2"));
    let metrics = metrics_of(&server);
    let _all: Vec<_> = (0..2)
        .map(|_| std::net::TcpStream::connect(server.address()).expect("a connection"))
        .collect();
    for path in ["/health/live", "/health/ready"] {
        metrics.get(path).await.expect(200);
    }
}
