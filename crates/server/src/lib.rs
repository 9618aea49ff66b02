//! Assembly: the modules of all domain crates become one router, one OpenAPI document, one program.

mod audit_command;
pub mod cli;
mod company;
pub mod demo;
mod docs;
pub mod doctor;
mod health;
mod http;
mod listen;
mod mail;
mod measured;
mod memory;
mod monitor;
mod openapi;
mod probe;
mod run;
mod secrets;
mod services;
pub mod settings;
mod start;
mod telemetry;

use axum::Router;
use files::Followers;
use identity::Identity;
use kernel::app::App;
use kernel::job::{JobKind, Schedule};
use kernel::module::Module;
use limits::Limits;
use tower_http::normalize_path::NormalizePath;

pub use health::Readiness;
pub use openapi::problem_codes;

/// The whole API as a service: a path with and without a trailing slash is the same path.
pub type Service = NormalizePath<Router>;

/// The modules of all domain crates.
pub fn modules() -> Vec<Module> {
    let mut modules = identity::modules();
    modules.extend(company_settings::modules());
    modules.extend(catalog::modules());
    modules.extend(files::modules());
    modules.extend(::mail::modules());
    modules.extend(audit::modules());
    modules.extend(worker::modules());
    modules
}

/// The jobs that this program runs, and those that it runs periodically.
pub fn jobs() -> (Vec<JobKind>, Vec<Schedule>) {
    let modules = modules();
    let kinds = modules.iter().flat_map(|m| m.jobs.iter().cloned()).collect();
    (
        kinds,
        modules.iter().flat_map(|m| m.schedules.iter().copied()).collect(),
    )
}

/// The queues that jobs are in, each once.
pub(crate) fn queues() -> Vec<&'static str> {
    let mut queues: Vec<_> = jobs().0.iter().map(|kind| kind.queue).collect();
    queues.sort_unstable();
    queues.dedup();
    queues
}

/// The API of a process.
pub fn service(app: &App) -> Service {
    let modules = modules();
    kernel::module::register(&modules);
    kernel::changes::listen(app);
    let (problems, limits) = (problem_codes(&modules), Limits::new(app, &modules));
    let (api, document) = openapi::assemble(modules);
    let router = api
        .merge(health::routes(app))
        .merge(docs::routes(&document, problems));
    let identity = Identity::new(app);
    let app = &app.clone().with_part(followers(identity.clone()));
    let router = http::guard(router, app, identity, &limits);
    NormalizePath::trim_trailing_slash(http::envelop(router, app).with_state(app.clone()))
}

/// Who follows files is asked for anew as if he made another request.
fn followers(identity: Identity) -> Followers {
    Followers::new(move |headers| {
        let identity = identity.clone();
        Box::pin(async move { identity.caller(&headers).await })
    })
}

/// The OpenAPI document.
pub fn openapi_document() -> serde_json::Value {
    openapi::assemble(modules()).1
}
