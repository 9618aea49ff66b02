//! The services beside the database: object store, virus scanner and Redis. All but files works without
//! the first two, everything without the last, so that their absence degrades a process and does not make
//! it unready.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use files::Files;
use inspect::{Inspector, Scanner};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use kernel::app::App;
use moka::future::Cache;
use redis_link::{RedisConfig, RedisLink};
use storage::Storage;
use tokio::time::timeout;

/// Longer than this, and a service counts as away.
const PATIENCE: Duration = Duration::from_millis(1500);
/// For so long an answer is given to all who ask.
const KEPT: Duration = Duration::from_secs(3);
const REDIS_AWAY: &str = "Redis cannot be used: limits and caches are each process's own until it is back";

/// Older signatures are a week behind: those of ClamAV change every day.
const SIGNATURES_FRESH: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Why a service cannot be used, or not as it should be.
#[derive(Debug)]
pub(crate) struct Fault {
    /// For everybody who asks.
    pub what: &'static str,
    /// For operators: may name addresses.
    pub cause: String,
}

/// What is known of the services. Looked up by one of those who ask at once, kept for seconds: asking is cheap.
#[derive(Clone)]
pub(crate) struct Services(Cache<(), Arc<Vec<String>>>);

impl Default for Services {
    fn default() -> Services {
        Services(Cache::builder().max_capacity(1).time_to_live(KEPT).build())
    }
}

impl Services {
    /// What does not work, a sentence each; empty when all does.
    pub async fn faults(&self, app: &App) -> Vec<String> {
        self.0.get_with((), look(app)).await.to_vec()
    }
}

async fn look(app: &App) -> Arc<Vec<String>> {
    let mut told = match app.part::<Files>() {
        Ok(files) => of_files(app, files).await,
        Err(_) => vec![
            "files are unavailable: separate processes need an object store to share, set MINIO_HOST"
                .to_owned(),
        ],
    };
    // The link tells the log by itself.
    if app.part::<RedisLink>().is_ok_and(|redis| !redis.is_up()) {
        told.push(REDIS_AWAY.to_owned());
    }
    Arc::new(told)
}

async fn of_files(app: &App, files: &Files) -> Vec<String> {
    let (store, scanner) = tokio::join!(store(&files.storage), scanner(&files.inspector));
    let scanner = match scanner {
        Ok(scanner) => outdated(&scanner, app.clock.now()),
        Err(fault) => Some(fault),
    };
    let faults = [store.err(), scanner].into_iter().flatten();
    let told = faults.map(|fault| {
        tracing::warn!(cause = fault.cause, "{}", fault.what);
        fault.what.to_owned()
    });
    told.collect()
}

/// What a start waits for: a sentence for each service that is set, shared by all processes and away.
pub(crate) async fn awaited(app: &App) -> Vec<&'static str> {
    let mut away = Vec::new();
    if let Ok(files) = app.part::<Files>() {
        away.extend(store(&files.storage).await.err().map(|fault| fault.what));
    }
    if app.part::<RedisLink>().is_ok_and(|redis| !redis.is_up()) {
        away.push(REDIS_AWAY);
    }
    away
}

/// Whether the object store can be used.
///
/// # Errors
/// Why not.
pub(crate) async fn store(storage: &Storage) -> Result<(), Fault> {
    use storage::Error::{Denied, NotFound};
    within(storage.check()).await.map_err(|error| {
        let what = match &error {
            Some(NotFound) => "the object store lacks a bucket: a running process makes it within seconds",
            Some(Denied(_)) => "the object store refuses MINIO_ACCESS_KEY and MINIO_SECRET_KEY",
            _ => "the object store cannot be reached: uploads and downloads fail, files wait",
        };
        Fault::new(what, error)
    })
}

/// Who scans uploads.
///
/// # Errors
/// Why nobody does.
pub(crate) async fn scanner(inspector: &Inspector) -> Result<Scanner, Fault> {
    let what = "the virus scanner cannot be reached: uploads wait for it";
    within(inspector.scanner())
        .await
        .map_err(|error| Fault::new(what, error))
}

/// The version of the Redis server; none when none is set.
///
/// # Errors
/// Why it cannot be used.
pub(crate) async fn redis(config: &RedisConfig) -> Result<Option<String>, Fault> {
    let version = async { redis_link::probe(config).await.transpose() };
    within(version)
        .await
        .map_err(|error| Fault::new(REDIS_AWAY, error))
}

/// Whether the scanner would miss what is new: uploads go on, somebody should look.
pub(crate) fn outdated(scanner: &Scanner, now: Timestamp) -> Option<Fault> {
    let made = scanner.signatures_made?;
    // In the scanner's own time zone, so wrong by hours at most.
    let age = now.duration_since(TimeZone::UTC.to_timestamp(made).ok()?);
    (age > SIGNATURES_FRESH).then(|| Fault {
        what: "the virus scanner's signatures are older than a week: new malware is not found",
        cause: format!("{} of {}: does freshclam run?", scanner.name, made.date()),
    })
}

impl Fault {
    fn new(what: &'static str, cause: Option<impl Display>) -> Fault {
        let no_answer = || format!("no answer in {PATIENCE:?}");
        Fault {
            what,
            cause: cause.map_or_else(no_answer, |cause| cause.to_string()),
        }
    }
}

/// The outcome, unless it takes too long: then an error of none.
async fn within<T, E>(call: impl Future<Output = Result<T, E>>) -> Result<T, Option<E>> {
    timeout(PATIENCE, call).await.map_err(|_| None)?.map_err(Some)
}
