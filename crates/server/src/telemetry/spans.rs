//! Spans on their way out: a queue of limited length, emptied by a thread of its own, so that a collector which is
//! slow or away costs spans and nothing else.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use metrics::counter;
use opentelemetry::trace::{SpanKind, Status};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_otlp::RetryPolicy;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider, Span, SpanData, SpanExporter, SpanProcessor,
};
use tokio::runtime::Handle;
use tracing::warn;

use super::Otlp;

/// Spans that wait to be sent or are being sent, unless OTEL_BSP_MAX_QUEUE_SIZE says otherwise.
const QUEUE: usize = 2048;
/// For the last of them, when the process ends.
const FAREWELL: Duration = Duration::from_secs(3);

/// The traces of this process.
pub(crate) struct Traces {
    provider: SdkTracerProvider,
    queued: Arc<AtomicUsize>,
}

impl Traces {
    /// Sends spans to the collector from now on. What is sampled, and how the queue is emptied, the rest of the
    /// standard variables say.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn start(otlp: &Otlp, runtime: Handle) -> anyhow::Result<Traces> {
        let (exporter, _) = otlp.exporter(runtime, RetryPolicy::default())?;
        let queued = Arc::new(AtomicUsize::new(0));
        let limit = std::env::var("OTEL_BSP_MAX_QUEUE_SIZE").ok();
        let limit = limit.and_then(|limit| limit.parse().ok()).unwrap_or(QUEUE);
        let counted = Counted {
            exporter,
            queued: queued.clone(),
        };
        // It never is full: the limit is ours.
        let config = BatchConfigBuilder::default()
            .with_max_queue_size(limit + 1)
            .build();
        let queue = Queue {
            batches: BatchSpanProcessor::builder(counted)
                .with_batch_config(config)
                .build(),
            queued: queued.clone(),
            limit,
        };
        let provider = SdkTracerProvider::builder()
            .with_resource(resource())
            .with_span_processor(queue)
            .build();
        Ok(Traces { provider, queued })
    }

    pub(super) fn provider(&self) -> &SdkTracerProvider {
        &self.provider
    }

    /// Sends what waits, for three seconds at most.
    pub fn end(self) {
        if self.provider.shutdown_with_timeout(FAREWELL).is_err() {
            let spans = self.queued.load(Ordering::Relaxed);
            warn!(spans, "the last traces could not be sent");
        }
    }
}

/// OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES, over what the program knows of itself.
fn resource() -> Resource {
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let given = Resource::builder().build();
    let named = |key| {
        given
            .get(&opentelemetry::Key::new(key))
            .filter(|name| !name.as_str().starts_with("unknown_service"))
    };
    let mut resource = Resource::builder();
    if named("service.name").is_none() {
        resource = resource.with_service_name("ally360");
    }
    if named("service.version").is_none() {
        resource = resource.with_attribute(version);
    }
    resource.build()
}

/// Takes spans as long as there is room.
#[derive(Debug)]
struct Queue {
    batches: BatchSpanProcessor,
    /// Spans that wait or are being sent.
    queued: Arc<AtomicUsize>,
    limit: usize,
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if self.queued.fetch_add(1, Ordering::Relaxed) < self.limit {
            self.batches.on_end(span);
        } else {
            self.queued.fetch_sub(1, Ordering::Relaxed);
            counter!("ally360_trace_spans_total", "outcome" => "dropped").increment(1);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.batches.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.batches.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.batches.set_resource(resource);
    }
}

/// Counts what becomes of spans, and makes room.
#[derive(Debug)]
struct Counted<E> {
    exporter: E,
    queued: Arc<AtomicUsize>,
}

impl<E: SpanExporter> SpanExporter for Counted<E> {
    async fn export(&self, mut batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        batch.iter_mut().for_each(dress);
        let sent = self.exporter.export(batch).await;
        self.queued.fetch_sub(spans, Ordering::Relaxed);
        let outcome = if sent.is_ok() { "sent" } else { "failed" };
        let spans = u64::try_from(spans).unwrap_or(u64::MAX);
        counter!("ally360_trace_spans_total", "outcome" => outcome).increment(spans);
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// The spans that traces share with logs have the names and fields of logs. Here they get what OpenTelemetry's
/// conventions ask of them.
fn dress(span: &mut SpanData) {
    // A place in the trace every span has.
    span.attributes
        .retain(|attribute| !matches!(attribute.key.as_str(), "trace_id" | "span_id"));
    match &*span.name {
        "request" => {
            rename(span, "http.method", "http.request.method");
            let method = text(span, "http.request.method");
            let route = text(span, "http.route");
            span.name = format!("{method} {route}").trim_end().to_owned().into();
            span.span_kind = SpanKind::Server;
            if number(span, "http.response.status_code") >= 500 {
                span.status = Status::error("");
            }
        }
        "job" => {
            span.name = format!("job {}", text(span, "job.name")).into();
            span.span_kind = SpanKind::Consumer;
            if matches!(&*text(span, "job.outcome"), "retry" | "dead") {
                span.status = Status::error("");
            }
        }
        _ => {}
    }
}

fn find<'a>(span: &'a SpanData, name: &str) -> Option<&'a Value> {
    let found = span
        .attributes
        .iter()
        .find(|attribute| attribute.key.as_str() == name);
    found.map(|attribute| &attribute.value)
}

fn text<'a>(span: &'a SpanData, name: &str) -> Cow<'a, str> {
    find(span, name).map(Value::as_str).unwrap_or_default()
}

fn number(span: &SpanData, name: &str) -> i64 {
    match find(span, name) {
        Some(Value::I64(number)) => *number,
        _ => 0,
    }
}

fn rename(span: &mut SpanData, from: &str, to: &'static str) {
    for attribute in &mut span.attributes {
        if attribute.key.as_str() == from {
            attribute.key = to.into();
        }
    }
}
