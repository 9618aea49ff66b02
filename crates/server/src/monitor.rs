//! `/metrics` for Prometheus and health for whoever supervises the process, on a listener of its own: numbers of
//! the installation are not for its clients.
//! What each metric is good for stands in docs/monitoring.md.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::get;
use http::header;
use kernel::app::App;
use kernel::error::{BUSY, Error, Result};
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;
use moka::future::Cache;
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::health;
use crate::listen::{self, Limits, Stop};

/// Upper bounds of the histograms, in seconds: from a cached read to the longest job.
const BUCKETS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0,
];
/// How often the recorder folds what was recorded into its buckets; it keeps every value until then.
const UPKEEP: Duration = Duration::from_secs(5);
/// For so long the database is not asked again, however often Prometheus asks.
const KEPT: Duration = Duration::from_secs(5);
/// Longer than this, and the database counts as down.
const PATIENCE: Duration = Duration::from_millis(1500);
/// Nobody but a few scrapers connects.
const CONNECTIONS: usize = 16;
/// Queue of jobs that this program does not know.
const UNKNOWN: &str = "unknown";

/// The listener and what it will show.
pub(crate) struct Monitor {
    listener: TcpListener,
    recorder: PrometheusHandle,
}

impl Monitor {
    /// Listens, and records from now on: a handle to a metric that was taken before records nothing.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn open(address: SocketAddr) -> anyhow::Result<Monitor> {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen on {address}: choose another ALLY360_METRICS_LISTEN"))?;
        let seconds = Matcher::Suffix("_seconds".to_owned());
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(seconds, &BUCKETS)?
            .build_recorder();
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).context("metrics are recorded already")?;
        describe();
        // Rare: one that appeared with its first event would show no increase, and nobody would be told.
        for rare in ["ally360_panics_total", "ally360_jobs_lost_total"] {
            counter!(rare).increment(0);
        }
        Ok(Monitor {
            listener,
            recorder: handle,
        })
    }

    /// Answers scrapes until the process stops. Whoever works on the queue tells how it stands.
    pub fn serve(self, app: &App, tells_queue: bool) {
        gauge!("ally360_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1);
        if let Ok(address) = self.listener.local_addr() {
            info!(%address, "metrics are served");
        }
        let (recorder, stopping) = (self.recorder.clone(), app.stopping.clone());
        app.tasks.spawn(stopping.run_until_cancelled_owned(async move {
            loop {
                sleep(UPKEEP).await;
                recorder.run_upkeep();
            }
        }));
        let page = Page {
            app: app.clone(),
            recorder: self.recorder,
            process: Arc::default(),
            database: Cache::builder().max_capacity(1).time_to_live(KEPT).build(),
            queues: tells_queue.then(|| [crate::queues(), vec![UNKNOWN]].concat()),
        };
        // Health also, which at the limit of its connections the API's listener has no place for.
        let router = Router::new()
            .route("/metrics", get(scrape))
            .with_state(page)
            .merge(health::routes(app).with_state(app.clone()));
        let limits = Limits {
            max_connections: CONNECTIONS,
            ..Limits::default()
        };
        let serving = listen::serve(self.listener, router, limits, Stop::from(app));
        app.tasks.spawn(serving);
    }
}

/// What is looked up at a scrape.
#[derive(Clone)]
struct Page {
    app: App,
    recorder: PrometheusHandle,
    process: Arc<Collector>,
    /// Filled once the database was asked.
    database: Cache<(), ()>,
    /// None in a process that does not work on them.
    queues: Option<Vec<&'static str>>,
}

async fn scrape(State(page): State<Page>) -> impl IntoResponse {
    page.process.collect();
    for pool in page.app.db.pools() {
        let set = |state, count: usize| {
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            gauge!("ally360_db_connections", "pool" => pool.name, "state" => state).set(count);
        };
        set("idle", pool.idle);
        set("used", pool.open.saturating_sub(pool.idle));
        set("max", pool.max);
        set("waiting", pool.waiting);
    }
    page.database.get_with((), ask_database(&page)).await;
    let text = page.recorder.render();
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        text,
    )
}

async fn ask_database(page: &Page) {
    let asked = timeout(PATIENCE, read_database(page)).await;
    let answer = asked.unwrap_or_else(|_| Err(Error::new(&BUSY)));
    let up = if answer.is_ok() { 1 } else { 0 };
    gauge!("ally360_database_up").set(up);
    if let Err(error) = answer {
        warn!(%error, "the database does not tell how the queue stands");
    }
}

async fn read_database(page: &Page) -> Result<()> {
    let Some(queues) = &page.queues else {
        #[expect(clippy::disallowed_methods, reason = "asks whether the server answers")]
        page.app.db.system().await?;
        return Ok(());
    };
    // An empty queue has no row.
    let mut depths: BTreeMap<&str, Queue> = queues.iter().map(|queue| (*queue, Queue::default())).collect();
    for depth in worker::depths(&page.app).await? {
        let name = queues.iter().find(|queue| **queue == depth.queue).copied();
        depths.entry(name.unwrap_or(UNKNOWN)).or_default().add(&depth);
    }
    for (name, queue) in depths {
        queue.tell(name);
    }
    Ok(())
}

#[derive(Default)]
struct Queue {
    /// By state.
    jobs: BTreeMap<&'static str, i64>,
    oldest_seconds: f64,
}

impl Queue {
    fn add(&mut self, depth: &worker::Depth) {
        let states = [
            ("scheduled", depth.scheduled),
            ("ready", depth.ready),
            ("running", depth.running),
            ("dead", depth.dead),
        ];
        for (state, count) in states {
            *self.jobs.entry(state).or_default() += count;
        }
        self.oldest_seconds = self.oldest_seconds.max(depth.oldest_seconds);
    }

    fn tell(&self, queue: &str) {
        for state in ["scheduled", "ready", "running", "dead"] {
            let count = self.jobs.get(state).copied().unwrap_or(0);
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            gauge!("ally360_queue_jobs", "queue" => queue.to_owned(), "state" => state).set(count);
        }
        gauge!("ally360_queue_oldest_seconds", "queue" => queue.to_owned()).set(self.oldest_seconds);
    }
}

/// The help texts; a metric without one fails a test.
fn describe() {
    let seconds = |name: &'static str, help: &'static str| describe_histogram!(name, Unit::Seconds, help);
    seconds(
        "ally360_http_request_duration_seconds",
        "From the request's header to the answer's, by route, method and class of status",
    );
    seconds(
        "ally360_db_wait_seconds",
        "Wait for a database connection, by pool",
    );
    seconds(
        "ally360_job_duration_seconds",
        "Runs of jobs, by name and outcome",
    );
    seconds(
        "ally360_storage_request_duration_seconds",
        "Requests to the object store until the answer's header, by method and outcome",
    );
    seconds("ally360_scan_duration_seconds", "Scans by clamd, by outcome");
    seconds(
        "ally360_mail_duration_seconds",
        "Dialogues with the mail server, by outcome",
    );
    describe_counter!("ally360_problems_total", "Answers that are problems, by code");
    describe_counter!(
        "ally360_panics_total",
        "Panics; each ended one request, job or task"
    );
    describe_counter!(
        "ally360_jobs_lost_total",
        "Jobs taken back from a worker that died or stalled"
    );
    describe_counter!(
        "ally360_trace_spans_total",
        "Spans of traces that were sent, that the collector did not take, or that found no room"
    );
    describe_counter!(
        "ally360_limits_hit_total",
        "Work refused because a limit was reached, by limit"
    );
    describe_counter!(
        "ally360_rate_limited_total",
        "Requests refused because somebody asks too often, by policy"
    );
    describe_counter!(
        "ally360_rate_limit_fallbacks_total",
        "Requests counted in this process because Redis was away"
    );
    seconds(
        "ally360_request_wait_seconds",
        "Wait for a slot of those who found none free, by gate",
    );
    describe_gauge!(
        "ally360_requests_waiting",
        "Requests that wait for a slot, by gate"
    );
    describe_counter!("ally360_cache_requests_total", "Look-ups in a cache, by result");
    describe_gauge!("ally360_http_requests_in_flight", "Requests under way");
    describe_gauge!(
        "ally360_db_connections",
        "Connections of a pool, by state; those who wait for one"
    );
    describe_gauge!(
        "ally360_redis_up",
        "Whether Redis answers; only where REDIS_HOST is set"
    );
    describe_gauge!("ally360_database_up", "Whether the database answers in 1.5 s");
    describe_gauge!(
        "ally360_queue_jobs",
        "Jobs of a queue, by state; every worker tells the same"
    );
    describe_gauge!(
        "ally360_queue_oldest_seconds",
        Unit::Seconds,
        "How long the job has waited that is due for longest; 0 when none is"
    );
    describe_gauge!("ally360_build_info", "1; the label is the version");
    Collector::default().describe();
}
