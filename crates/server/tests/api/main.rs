//! The API in process, on a real PostgreSQL with a database for every test.

mod catalog;

use testkit::TestApp;

/// The whole API with the default settings.
async fn app() -> TestApp {
    TestApp::new(server::service).await
}
