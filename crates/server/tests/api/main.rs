//! The API in process, on a real PostgreSQL with a database for every test.

mod audit;
mod catalog;
mod company_settings;
mod disconnect;
mod files;
mod idempotency;
mod identity;
mod jobs;
mod limits;
mod mail;
mod matrix;
mod openapi;
mod pool;
mod problems;
mod redis;
mod roles;

use kernel::types::Timestamp;
use testkit::TestApp;

/// Plans what is due on a schedule by now.
async fn plan(t: &TestApp) {
    let now = Timestamp(t.app.clock.now());
    worker::plan(&t.app, &server::jobs().1, now)
        .await
        .expect("planned");
}

/// The whole API with the default settings.
async fn app() -> TestApp {
    TestApp::new(server::service).await.with_jobs(server::jobs().0)
}
