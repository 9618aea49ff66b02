//! Health: is the process alive, and is it ready to serve.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use kernel::app::App;
use kernel::db::migrate;
use kernel::error::{BUSY, Error, INTERNAL, MISCONFIGURED};
use kernel::output::json;
use moka::future::Cache;
use serde::{Deserialize, Serialize};

use crate::doctor;
use crate::services::Services;

/// Longer than this, and the database counts as not reached.
const PATIENCE: Duration = Duration::from_millis(1500);

#[derive(Serialize)]
struct Health {
    status: &'static str,
    message: &'static str,
    version: &'static str,
    environment: String,
}

/// What `/health/ready` answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Readiness {
    /// Whether requests should be sent here.
    pub ready: bool,
    pub status: Status,
    /// Why the status is not `ready`; empty when it is.
    pub reasons: Vec<String>,
}

/// How much of the API works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// All of it.
    Ready,
    /// All but what needs a service that is away.
    Degraded,
    /// Nothing that matters.
    Unready,
}

/// What is wrong with roles and tables, looked for once after the migrations are current.
pub(crate) type Catalogue = Arc<Mutex<Option<Vec<String>>>>;

/// For so long what is wrong with the database is told to all who ask; one of those who ask at once looks.
const KEPT: Duration = Duration::from_millis(500);

/// What readiness knows.
#[derive(Clone)]
struct Known {
    catalogue: Catalogue,
    database: Cache<(), Arc<Vec<String>>>,
    services: Services,
}

pub fn routes(app: &App) -> Router<App> {
    let environment = format!("{:?}", app.config.environment).to_lowercase();
    let health = move || {
        let environment = environment.clone();
        async move {
            json(Health {
                status: "healthy",
                message: "Ally360 API",
                version: env!("CARGO_PKG_VERSION"),
                environment,
            })
        }
    };
    let known = Known {
        catalogue: Catalogue::default(),
        database: Cache::builder().max_capacity(1).time_to_live(KEPT).build(),
        services: Services::default(),
    };
    Router::new()
        .route("/", get(health.clone()))
        .route("/health", get(health))
        .route(
            "/health/live",
            get(async || json(serde_json::json!({"status": "alive"}))),
        )
        .route(
            "/health/ready",
            get(async move |State(app): State<App>| ready(&app, &known).await),
        )
}

async fn ready(app: &App, known: &Known) -> Response {
    let look = async { Arc::new(of_database(app, &known.catalogue).await) };
    let mut readiness = judged(app, known.database.get_with((), look).await.to_vec());
    if readiness.ready {
        readiness.reasons = known.services.faults(app).await;
        if !readiness.reasons.is_empty() {
            readiness.status = Status::Degraded;
        }
    }
    let status = if readiness.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, json(readiness)).into_response()
}

/// Whether the process can serve now, and if not why. Services beside the database are not looked at.
pub(crate) async fn readiness(app: &App, catalogue: &Catalogue) -> Readiness {
    judged(app, of_database(app, catalogue).await)
}

async fn of_database(app: &App, catalogue: &Catalogue) -> Vec<String> {
    match tokio::time::timeout(PATIENCE, database(app, catalogue)).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => vec![reason(&error).to_owned()],
        Err(_) => vec!["the database does not answer in time".to_owned()],
    }
}

/// With what is wrong with the database.
fn judged(app: &App, mut reasons: Vec<String>) -> Readiness {
    if app.leaving.is_cancelled() {
        reasons.insert(0, "the process is stopping".to_owned());
    }
    let (ready, status) = if reasons.is_empty() {
        (true, Status::Ready)
    } else {
        (false, Status::Unready)
    };
    Readiness {
        ready,
        status,
        reasons,
    }
}

/// What an operator can do about it; the cause itself is for the log.
fn reason(error: &Error) -> &'static str {
    match error.code() {
        code if code == BUSY.code => "no database connection came free in time",
        // It answered, with a refusal: a wrong password or a missing role, database or grant.
        code if code == MISCONFIGURED.code || code == INTERNAL.code => {
            "the database refuses the role ally_system: run `ally360 doctor`"
        }
        _ => "the database cannot be reached",
    }
}

async fn database(app: &App, catalogue: &Catalogue) -> kernel::error::Result<Vec<String>> {
    #[expect(clippy::disallowed_methods, reason = "readiness asks the server itself")]
    let mut tx = app.db.system().await?;
    let pending = migrate::status(&mut tx)
        .await?
        .iter()
        .filter(|m| !m.applied)
        .count();
    if pending > 0 {
        return Ok(vec![format!(
            "{pending} migrations are pending: run `ally360 migrate up`"
        )]);
    }
    let known = catalogue.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let Some(faults) = known {
        return Ok(faults);
    }
    // What exactly is for the log and the operator, not for everybody who asks.
    let faults = doctor::examine_catalogue(&mut tx).await?;
    if !faults.newer.is_empty() {
        tracing::warn!(faults = ?faults.newer, "the database is of a newer program, which knows what this one does not");
    }
    let faults = faults.known;
    for fault in &faults {
        tracing::error!(fault, "the database is not safe");
    }
    let reasons = match faults.len() {
        0 => Vec::new(),
        1 => vec!["the database has a fault in its roles or tables: run `ally360 doctor`".to_owned()],
        n => vec![format!(
            "the database has {n} faults in its roles or tables: run `ally360 doctor`"
        )],
    };
    *catalogue.lock().unwrap_or_else(PoisonError::into_inner) = Some(reasons.clone());
    Ok(reasons)
}

/// Why this database must not be served, once that is known.
pub(crate) fn refusal(catalogue: &Catalogue) -> Option<String> {
    catalogue
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .as_ref()?
        .first()
        .cloned()
}
