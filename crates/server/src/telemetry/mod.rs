//! Logs: JSON lines on standard error, readable ones in a terminal. Traces, where `OTEL_…` asks for them.

mod otlp;
mod spans;
mod sql;

use std::io::IsTerminal;

use opentelemetry::trace::TracerProvider;
use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::FilterFn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

pub(crate) use otlp::Otlp;
pub(crate) use spans::Traces;

/// Our own spans at this level or above are shown by traces; what libraries trace of themselves is not.
const CRATES: [&str; 9] = [
    "audit", "catalog", "files", "identity", "kernel", "mail", "server", "storage", "worker",
];

/// Starts logging; `RUST_LOG` overrides the level. With `traces`, spans go there.
pub(crate) fn init(debug: bool, traces: Option<&Traces>) {
    let default = if debug {
        "debug,hyper=info,h2=info,sqlx=info"
    } else {
        "info,sqlx=warn"
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let logs = fmt::layer()
        // It would say so on standard error, and end the process when that is what cannot be written.
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    let logs: Box<dyn Layer<Registry> + Send + Sync> = if std::io::stderr().is_terminal() {
        Box::new(logs.compact())
    } else {
        let logs = logs.json();
        Box::new(
            logs.flatten_event(true)
                .with_current_span(true)
                .with_span_list(false),
        )
    };
    // A second initialisation, in tests, changes nothing.
    let _ =
        match traces {
            None => tracing_subscriber::registry().with(logs).with(filter).try_init(),
            Some(traces) => {
                let tracer = traces.provider().tracer("ally360");
                let spans = tracing_opentelemetry::layer()
                    .with_location(false)
                    .with_threads(false)
                    .with_level(false)
                    .with_target(false)
                    .with_tracked_inactivity(false)
                    .with_tracer(tracer.clone());
                tracing_subscriber::registry()
                    .with(logs.with_filter(quiet(filter)))
                    .with(spans.with_filter(FilterFn::new(shown).with_max_level_hint(LevelFilter::TRACE)))
                    .with(sql::SqlSpans::new(tracer).with_filter(
                        FilterFn::new(sql::is_statement).with_max_level_hint(LevelFilter::TRACE),
                    ))
                    .try_init()
            }
        };
    std::panic::set_hook(Box::new(|panic| {
        metrics::counter!("ally360_panics_total").increment(1);
        let place = panic.location().map(ToString::to_string);
        tracing::error!(place, "panic: {}", panic.payload_as_str().unwrap_or("no message"));
    }));
}

/// Without what only traces show.
fn quiet(filter: EnvFilter) -> EnvFilter {
    match format!("{}=off", kernel::trace::TARGET).parse() {
        Ok(directive) => filter.add_directive(directive),
        Err(_) => filter,
    }
}

/// What becomes part of a trace: our spans, and what is logged in them as a warning or an error.
fn shown(metadata: &tracing::Metadata<'_>) -> bool {
    let target = metadata.target();
    if metadata.is_event() {
        return *metadata.level() <= Level::WARN && !target.starts_with("sqlx");
    }
    let ours = CRATES.contains(&target.split("::").next().unwrap_or_default());
    target == kernel::trace::TARGET || (ours && *metadata.level() <= Level::INFO)
}
