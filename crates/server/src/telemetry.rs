//! Logs: JSON lines on standard error, readable ones in a terminal.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Starts logging; `RUST_LOG` overrides the level.
pub fn init(debug: bool) {
    let default = if debug {
        "debug,hyper=info,h2=info,sqlx=info"
    } else {
        "info,sqlx=warn"
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // It would say so on standard error, and end the process when that is what cannot be written.
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    // A second initialisation, in tests, changes nothing.
    let _ = if std::io::stderr().is_terminal() {
        logs.compact().try_init()
    } else {
        logs.json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .try_init()
    };
    std::panic::set_hook(Box::new(|panic| {
        metrics::counter!("ally360_panics_total").increment(1);
        let place = panic.location().map(ToString::to_string);
        tracing::error!(place, "panic: {}", panic.payload_as_str().unwrap_or("no message"));
    }));
}
