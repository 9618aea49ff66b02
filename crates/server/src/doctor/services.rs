//! Object store, virus scanner, Redis and collector of traces, as they are set.

use std::time::Duration;

use anyhow::Context;
use inspect::Inspector;
use kernel::clock::Clock;
use kernel::config::Environment;
use storage::Storage;

use super::report::Report;
use crate::services::{self, Fault};
use crate::settings::Settings;
use crate::telemetry::Otlp;

/// Longer than this, and a collector counts as away.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where files are kept. The embedded store is not started: it belongs to the process that runs.
pub(super) async fn store(settings: &Settings, report: &mut Report) {
    if settings.storage.is_embedded() {
        let objects = settings.data_dir.join("objects");
        return report.ok("store", format!("embedded, in {}", objects.display()));
    }
    let storage = match Storage::external(&settings.storage) {
        Ok(storage) => storage,
        Err(error) => return report.fail("store", error),
    };
    match services::store(&storage).await {
        Ok(()) => {
            report.ok("store", "the server of MINIO_HOST answers and has both buckets");
            match storage.probe_upload_urls().await {
                Ok(false) => report.ok("upload URLs", "good for one upload and nothing else"),
                Ok(true) => report.fail("upload URLs", files::LOOSE_UPLOAD_URLS),
                Err(error) => report.warn(
                    "upload URLs",
                    format!("what they are good for cannot be tried from here: {error}"),
                ),
            }
        }
        Err(fault) => report.fail(
            "store",
            advice(&fault, "MINIO_HOST, MINIO_PORT and MINIO_USE_SSL"),
        ),
    }
}

pub(super) async fn scanner(settings: &Settings, report: &mut Report) {
    let inspector = match Inspector::new(&settings.inspect) {
        Ok(inspector) => inspector,
        Err(error) => return report.fail("scanner", error),
    };
    match services::scanner(&inspector).await {
        Ok(scanner) if scanner.name == inspect::BUILTIN => {
            let text = "CLAMD_ADDRESS is not set: the built-in content check runs, which is no antivirus";
            if settings.config.environment == Environment::Production {
                report.warn("scanner", text);
            } else {
                report.ok("scanner", text);
            }
        }
        Ok(scanner) => match services::outdated(&scanner, Clock::default().now()) {
            Some(fault) => report.warn("scanner", format!("{} ({})", fault.what, fault.cause)),
            None => report.ok("scanner", scanner.name),
        },
        Err(fault) => report.fail("scanner", advice(&fault, "CLAMD_ADDRESS")),
    }
}

pub(super) async fn redis(settings: &Settings, report: &mut Report) {
    match services::redis(&settings.redis).await {
        Ok(Some(version)) => report.ok("redis", format!("Redis {version} answers")),
        Ok(None) => report.ok("redis", "not set: limits and caches are each process's own"),
        Err(fault) => report.fail(
            "redis",
            advice(&fault, "REDIS_HOST, REDIS_PORT and REDIS_PASSWORD"),
        ),
    }
}

fn advice(fault: &Fault, settings: &str) -> String {
    format!(
        "{} ({}). Check {settings}, and that it runs",
        fault.what, fault.cause
    )
}

/// Where traces go. Nothing but traces is lost without it.
pub(super) async fn traces(report: &mut Report) {
    let otlp = match Otlp::from_env() {
        Ok(Some(otlp)) => otlp,
        Ok(None) => return report.ok("traces", "not told: OTEL_EXPORTER_OTLP_ENDPOINT is not set"),
        Err(error) => return report.fail("traces", format!("{error:#}")),
    };
    // Without what may stand before the host or after the path.
    let place = otlp.endpoint.host().unwrap_or_default();
    let checked = tokio::time::timeout(PATIENCE, otlp.check()).await;
    match checked.context("no answer in 5 s").and_then(|checked| checked) {
        Ok(()) => report.ok("traces", format!("the collector at {place} takes them")),
        Err(error) => report.fail(
            "traces",
            format!(
                "the collector at {place} does not take them, they are dropped: {error:#}. Check \
                 OTEL_EXPORTER_OTLP_ENDPOINT and OTEL_EXPORTER_OTLP_HEADERS, and that it runs"
            ),
        ),
    }
}
