//! Traces, as a collector gets them.

mod collector;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use clap::Parser;
use reqwest::Method;
use serde_json::{Value, json};
use storage::StorageConfig;
use testkit::TestStore;

use self::collector::{Collector, Span, mail_server, relay, text};
use crate::files::support::{http, put};
use crate::support::{COMPANY, Client, External, Home, Server};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

#[derive(Parser)]
struct Defaults {
    #[command(flatten)]
    storage: StorageConfig,
}

/// A request of somebody who has begun the trace.
async fn post(client: &Client, path: &str, body: &Value) -> Value {
    let request = client
        .request(Method::POST, path)
        .header("traceparent", format!("00-{TRACE}-{CALLER}-01"))
        .header("tracestate", "vendor=value")
        .json(body);
    let answer = client.send(request).await.expect("an answer");
    assert!(answer.status < 300, "{answer:?}");
    serde_json::from_str(&answer.text).unwrap_or_default()
}

fn lines(server: &Server) -> Vec<Value> {
    let log = server.stderr();
    log.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// Two processes, an object store and a mail server, and everything in the client's own trace.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_trace_leads_from_a_request_through_statements_and_jobs_to_store_and_mail() {
    let (collector, endpoint) = Collector::start().await;
    let external = External::create(false).await;
    external.program(["demo", "seed"]).run().success();
    let (store, _) = TestStore::start(&Defaults::parse_from(["test"]).storage).await;
    let running = store.running().expect("a store");
    let (credentials, (relay, heard)) = (running.credentials(), relay(running.addr()).await);
    let mail = mail_server().await;
    let settings = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
        ("OTEL_EXPORTER_OTLP_HEADERS", "key=s3cret".to_owned()),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip".to_owned()),
        (
            "OTEL_RESOURCE_ATTRIBUTES",
            "deployment.environment.name=test".to_owned(),
        ),
        ("OTEL_BSP_SCHEDULE_DELAY", "50".to_owned()),
        ("MINIO_HOST", relay.ip().to_string()),
        ("MINIO_PORT", relay.port().to_string()),
        ("MINIO_ACCESS_KEY", credentials.access_key.clone()),
        ("MINIO_SECRET_KEY", credentials.secret_key.clone()),
        ("EMAIL_SMTP_SERVER", mail.ip().to_string()),
        ("EMAIL_SMTP_PORT", mail.port().to_string()),
        ("EMAIL_USE_TLS", "false".to_owned()),
        ("EMAIL_FROM", "ally@example.com".to_owned()),
    ];
    let settings = || settings.iter().map(|(name, value)| (*name, value.as_str()));
    let api = external.program(["api"]).envs(settings()).start();
    let worker = external.program(["worker"]).envs(settings()).spawn();
    let client = Client::owner(&api.url()).await;

    let new = json!({"filename": "muy-privado.txt", "content_type": "text/plain", "module": "documents"});
    let upload = post(&client, "/files/upload/presign", &new).await;
    put(&http(), &upload, b"nada".to_vec()).await;
    let id = upload["file_id"].as_str().expect("an id");
    post(&client, &format!("/files/{id}/complete"), &json!({})).await;
    let invitation = json!({"email": "invitada@example.com", "role": "seller"});
    post(&client, "/auth/invite-user", &invitation).await;

    // A request continues the client's trace, for the API's own resources.
    let complete = collector.wait_for(TRACE, "POST /files/{file_id}/complete").await;
    assert_eq!((complete.parent.as_str(), complete.kind), (CALLER, 2));
    assert_eq!(complete.state, "vendor=value");
    for (name, value) in [
        ("http.request.method", "POST"),
        ("http.route", "/files/{file_id}/complete"),
        ("http.response.status_code", "200"),
        ("tenant.id", COMPANY),
    ] {
        assert_eq!(
            complete.attributes.get(name).map(String::as_str),
            Some(value),
            "{complete:?}"
        );
    }
    for (name, value) in [
        ("service.name", "ally360"),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("deployment.environment.name", "test"),
    ] {
        assert_eq!(
            complete.process.get(name).map(String::as_str),
            Some(value),
            "{complete:?}"
        );
    }
    // Its job, in another process, and what that does.
    let job = collector.wait_for(TRACE, "job files.process").await;
    assert_eq!((job.parent.as_str(), job.kind), (complete.id.as_str(), 5));
    assert_eq!(job.state, "vendor=value");
    assert_eq!(
        job.attributes.get("job.outcome").map(String::as_str),
        Some("done")
    );
    let child = async |name: &str, parent: &Span| {
        let span = collector.wait_for(TRACE, name).await;
        let spans = collector.spans();
        let children = spans
            .iter()
            .filter(|span| span.trace == TRACE && span.parent == parent.id);
        let children: Vec<&Span> = children.collect();
        let found = children.iter().find(|child| child.name == name);
        let names: Vec<&str> = children.iter().map(|child| child.name.as_str()).collect();
        let found = (*found.unwrap_or_else(|| panic!("{span:?} is none of {names:?}"))).clone();
        assert_eq!(found.kind, 3, "{found:?}");
        found
    };
    for statement in ["begin", "insert jobs", "commit"] {
        let statement = child(statement, &complete).await;
        assert_eq!(
            statement.attributes.get("db.system.name").map(String::as_str),
            Some("postgresql")
        );
        assert!(statement.took <= complete.took, "{statement:?}");
    }
    child("update files", &job).await;
    let got = child("S3 GET", &job).await;
    let put = child("S3 PUT", &job).await;
    // The store is told.
    let heard = text(&heard);
    for span in [&got, &put] {
        let header = format!(
            "traceparent: 00-{TRACE}-{}-01\r\ntracestate: vendor=value\r\n",
            span.id
        );
        assert!(heard.contains(&header), "{header}");
    }
    let invite = collector.wait_for(TRACE, "POST /auth/invite-user").await;
    let letter = collector.wait_for(TRACE, "job identity.send_invitation").await;
    assert_eq!(letter.parent, invite.id);
    child("SMTP send", &letter).await;

    // A line of the log says where it belongs.
    let answered = lines(&api).into_iter().find(|line| {
        line["message"] == "answered" && line["span"]["http.route"] == "/files/{file_id}/complete"
    });
    let span = &answered.expect("a line")["span"];
    assert_eq!(
        (&span["trace_id"], &span["span_id"]),
        (&json!(TRACE), &json!(complete.id))
    );
    let sent = lines(&worker)
        .into_iter()
        .find(|line| line["message"] == "mail" && line["span"]["trace_id"] == TRACE);
    assert_eq!(sent.expect("a line")["span"]["span_id"], letter.id);

    // Other requests have traces of their own, and no span shows what a statement was about.
    let login = collector
        .spans()
        .into_iter()
        .find(|span| span.name == "POST /auth/login");
    let login = login.expect("a span");
    assert_ne!(login.trace, TRACE);
    assert_eq!(login.parent, "");
    let all = format!("{:?}", collector.spans());
    assert!(all.contains("insert into jobs"));
    // At its start the program asks the store for what this one does not have.
    let failed = |span: &&Span| span.trace == TRACE && span.status == 2;
    assert_eq!(collector.spans().iter().filter(failed).count(), 0, "{all}");
    for value in ["invitada@example.com", "muy-privado", "user@example.com"] {
        assert!(!all.contains(value), "{value} is in a span");
    }

    let doctor = external.program(["doctor"]).envs(settings()).run();
    assert!(
        doctor
            .stdout
            .contains("ok    traces      the collector at 127.0.0.1 takes them"),
        "{}",
        doctor.stdout
    );
    let stranger = external
        .program(["doctor"])
        .envs(settings())
        .env("OTEL_EXPORTER_OTLP_HEADERS", "key=other");
    let said = stranger.run().stdout;
    assert!(
        said.contains("FAIL  traces      the collector at 127.0.0.1 does not take them")
            && said.contains("the collector answers 401 Unauthorized"),
        "{said}"
    );
    worker.stop().success();
    api.stop().success();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_decide_what_is_sampled_where_the_sampler_asks_them() {
    let (collector, endpoint) = Collector::start().await;
    let home = Home::seeded();
    let server = home
        .program(["serve"])
        .env(
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            format!("{endpoint}/v1/traces"),
        )
        .env("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "key=s3cret")
        .env("OTEL_SERVICE_NAME", "shop")
        .env("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
        .env("OTEL_TRACES_SAMPLER_ARG", "0")
        .start();
    let client = Client::owner(&server.url()).await;
    let get = async |parent: &str| {
        let request = client
            .request(Method::GET, "/brands")
            .header("traceparent", parent);
        client.send(request).await.expect("an answer").expect(200);
    };
    get(&format!("00-{TRACE}-{CALLER}-00")).await;
    get("00-not-a-parent-01").await;
    get(&format!("00-{TRACE}-{CALLER}-01")).await;
    // What waits is sent at the end.
    server.stop().success();
    let spans = collector.spans();
    let requests: Vec<&Span> = spans.iter().filter(|span| span.kind == 2).collect();
    let [request] = requests[..] else {
        panic!("not one request: {requests:?}")
    };
    assert_eq!(
        (request.name.as_str(), request.trace.as_str()),
        ("GET /brands", TRACE)
    );
    assert_eq!(
        request.process.get("service.name").map(String::as_str),
        Some("shop")
    );
    assert!(spans.iter().all(|span| span.trace == TRACE), "{spans:?}");
    assert!(spans.iter().any(|span| span.name == "select brands"), "{spans:?}");
}

/// Accepts and never answers.
#[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
async fn mute() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::task::spawn(async move {
        let mut held = Vec::new();
        while let Ok((client, _)) = listener.accept().await {
            held.push(client);
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_hangs_or_is_away_costs_spans_and_nothing_else() {
    let home = Home::seeded();
    let server = home
        .program(["serve"])
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", mute().await))
        .env("OTEL_EXPORTER_OTLP_TIMEOUT", "600000")
        .env("OTEL_BSP_MAX_QUEUE_SIZE", "16")
        .env("OTEL_BSP_SCHEDULE_DELAY", "50")
        .env("ALLY360_METRICS_LISTEN", "127.0.0.1:0")
        .start();
    let client = Client::owner(&server.url()).await;
    for _ in 0..30 {
        client.get("/brands").await.expect(200);
    }
    let metrics = lines(&server)
        .into_iter()
        .find(|line| line["message"] == "metrics are served");
    let metrics = metrics.expect("a line")["address"]
        .as_str()
        .expect("an address")
        .to_owned();
    let page = Client::anonymous(&format!("http://{metrics}"))
        .get("/metrics")
        .await
        .text;
    let dropped = page
        .lines()
        .find_map(|line| line.strip_prefix(r#"ally360_trace_spans_total{outcome="dropped"} "#));
    let dropped: u64 = dropped.expect("a count").parse().expect("a number");
    assert!(dropped > 30, "{dropped}");
    // It does not wait for the answer.
    let log = server.stop().success().stderr;
    assert!(log.contains("the last traces could not be sent"), "{log}");

    let server = home
        .program(["serve"])
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
        .env("OTEL_BSP_SCHEDULE_DELAY", "50")
        .start();
    Client::owner(&server.url())
        .await
        .get("/brands")
        .await
        .expect(200);
    let deadline = Instant::now() + Duration::from_secs(30);
    while !server.stderr().contains("traces cannot be sent") {
        assert!(Instant::now() < deadline, "{}", server.stderr());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let log = server.stop().success().stderr;
    assert_eq!(
        log.matches("traces cannot be sent").count(),
        1,
        "said once: {log}"
    );
}

#[test]
fn what_is_not_spoken_is_refused() {
    let home = Home::empty();
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317");
    let grpc = [endpoint, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")];
    let refused = home.program(["serve"]).envs(grpc).run().refusal();
    assert_eq!(
        refused,
        "OTEL_EXPORTER_OTLP_PROTOCOL=grpc is not supported: set http/protobuf, which collectors take on port 4318"
    );
    let report = home.program(["doctor"]).envs(grpc).run().stdout;
    assert!(
        report.contains("FAIL  traces      OTEL_EXPORTER_OTLP_PROTOCOL=grpc"),
        "{report}"
    );
    let away = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")];
    let report = home.program(["doctor"]).envs(away).run().stdout;
    assert!(
        report
            .contains("FAIL  traces      the collector at 127.0.0.1 does not take them, they are dropped: ")
            && report.contains("Check OTEL_EXPORTER_OTLP_ENDPOINT"),
        "{report}"
    );
    let report = home.program(["doctor"]).run().stdout;
    assert!(report.contains("ok    traces      not told"), "{report}");
}
