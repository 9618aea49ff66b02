//! For API tests: a database of its own for every test, cloned from a migrated template, and clients
//! that read like sentences.

mod client;
mod database;
mod figures;
mod jobs;
mod mails;
mod redis;
mod store;

pub use client::{Answer, Client};
pub use database::TestDb;
pub use figures::{figures, full};
pub use jobs::RunningWorker;
pub use mails::Mail;
pub use redis::RedisServer;
pub use store::{SampleStore, TestStore, external_store};

use std::convert::Infallible;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use axum::extract::Request;
use axum::response::Response;
use clap::Parser;
use company_settings::SettingsCache;
use files::{Files, FilesConfig};
use inspect::{InspectConfig, Inspector};
use kernel::app::App;
use kernel::clock::Clock;
use kernel::config::{Config, parse_pooler};
use kernel::db::{Db, PoolSize, RolePasswords};
use kernel::job::JobKind;
use kernel::keys::Keys;
use mail::{MailConfig, Mailer};
use serde_json::json;
use sqlx::PgConnection;
use storage::StorageConfig;
use tokio::sync::Mutex;
use tokio::task::AbortHandle;
use tower::util::BoxCloneSyncService;

/// The API under test.
pub type ApiService = BoxCloneSyncService<Request, Response, Infallible>;

/// The installation's secret, unless a test has `app_secret_string` set.
pub const SECRET: &str = "a secret of the tests, 32 bytes long";
/// Password of all users that the kit makes.
pub const PASSWORD: &str = "a long test phrase";
/// Its hash, with cheap parameters: verifying takes those of the hash.
const PASSWORD_HASH: &str =
    "$argon2id$v=19$m=8,t=1,p=1$+qKPvjckUGzPQe4BcXl6vA$Z9AHzV/Bshnq/48HVkg7/71nXQORV+84FlNycbIe9xg";

#[derive(Parser)]
struct Defaults {
    #[command(flatten)]
    config: Config,
    #[command(flatten)]
    storage: StorageConfig,
    #[command(flatten)]
    files: FilesConfig,
    #[command(flatten)]
    inspect: InspectConfig,
    #[command(flatten)]
    mail: MailConfig,
}

/// Token with which the store of a test may report uploads.
pub const STORE_EVENT_TOKEN: &str = "the token of the store in tests, 32 bytes";

/// An API in this process on a database of its own.
pub struct TestApp {
    pub app: App,
    service: ApiService,
    db: Arc<TestDb>,
    users: AtomicU32,
    /// The jobs that [`run_jobs`](TestApp::run_jobs) knows.
    kinds: Vec<JobKind>,
    store: Mutex<TestStore>,
    /// Passes the store's arrivals on.
    follower: StdMutex<Option<AbortHandle>>,
}

impl TestApp {
    /// Starts with the default settings; `build` makes the service from the state.
    pub async fn new<S>(build: impl FnOnce(&App) -> S) -> TestApp
    where
        S: tower::Service<Request, Response = Response, Error = Infallible> + Clone + Send + Sync + 'static,
        S::Future: Send,
    {
        TestApp::with(build, |_| {}).await
    }

    /// Starts with changed settings.
    pub async fn with<S>(build: impl FnOnce(&App) -> S, change: impl FnOnce(&mut Config)) -> TestApp
    where
        S: tower::Service<Request, Response = Response, Error = Infallible> + Clone + Send + Sync + 'static,
        S::Future: Send,
    {
        TestApp::with_files(build, change, |_| {}).await
    }

    /// Starts with changed settings and another way to treat files.
    pub async fn with_files<S>(
        build: impl FnOnce(&App) -> S,
        change: impl FnOnce(&mut Config),
        change_files: impl FnOnce(&mut Files),
    ) -> TestApp
    where
        S: tower::Service<Request, Response = Response, Error = Infallible> + Clone + Send + Sync + 'static,
        S::Future: Send,
    {
        // Shown with a failing test.
        let _ = tracing_subscriber::fmt()
            .with_env_filter("warn")
            .with_test_writer()
            .try_init();
        let db = Arc::new(TestDb::create().await);
        TestApp::on(db, build, change, change_files).await
    }

    /// Another process on the same database, with settings of its own.
    pub async fn again<S>(&self, build: impl FnOnce(&App) -> S, change: impl FnOnce(&mut Config)) -> TestApp
    where
        S: tower::Service<Request, Response = Response, Error = Infallible> + Clone + Send + Sync + 'static,
        S::Future: Send,
    {
        TestApp::on(self.db.clone(), build, change, |_| {}).await
    }

    async fn on<S>(
        db: Arc<TestDb>,
        build: impl FnOnce(&App) -> S,
        change: impl FnOnce(&mut Config),
        change_files: impl FnOnce(&mut Files),
    ) -> TestApp
    where
        S: tower::Service<Request, Response = Response, Error = Infallible> + Clone + Send + Sync + 'static,
        S::Future: Send,
    {
        let defaults = Defaults::parse_from(["test"]);
        let mut config = defaults.config;
        // As cheap as there is; the hashes of the kit's own users have the same parameters.
        config.auth.password_memory_kib = 8;
        // Tests ask as often as they like, on machines that are busy.
        config.limits.rate_limit_percent = 0;
        config.database.db_acquire_seconds = 5;
        change(&mut config);
        let size = PoolSize {
            app: config.database.db_app_connections,
            system: config.database.db_system_connections,
            acquire_timeout: Duration::from_secs(config.database.db_acquire_seconds),
        };
        // The test cluster trusts its socket: passwords are not looked at.
        let roles = RolePasswords {
            app: vec![String::new()],
            system: vec![String::new()],
        };
        let pooler = std::env::var("ALLY360_TEST_PG_POOLER").ok();
        let pooler = pooler.map(|pooler| parse_pooler(&pooler).expect("HOST:PORT"));
        let pools = Db::connect_lazy_through(pooler.as_ref(), db.options(), &roles, &size);
        let secret = config.auth.app_secret_string.as_deref().unwrap_or(SECRET);
        let keys = Keys::rotated(secret, &config.auth.previous_secrets);
        let app = App::new(config, pools, keys, Clock::default());
        let (store, storage) = TestStore::start(&defaults.storage).await;
        let inspector = Inspector::new(&defaults.inspect).expect("an inspector");
        let mut files = Files {
            storage,
            inspector,
            config: defaults.files,
        };
        files.config.store_event_token = Some(STORE_EVENT_TOKEN.to_owned());
        change_files(&mut files);
        let mailer = Mailer::mailbox(&defaults.mail, "http://ally360.test").expect("a mailer");
        let settings = SettingsCache::new(&app, &files.config.installation());
        let app = app.with_part(files).with_part(mailer).with_part(settings);
        let service = BoxCloneSyncService::new(build(&app));
        let (users, store, follower) = (AtomicU32::new(0), Mutex::new(store), StdMutex::new(None));
        let t = TestApp {
            app,
            service,
            db,
            users,
            kinds: Vec::new(),
            store,
            follower,
        };
        t.follow_store().await;
        t
    }

    /// The same with these kinds of jobs for [`run_jobs`](TestApp::run_jobs).
    #[must_use]
    pub fn with_jobs(self, kinds: Vec<JobKind>) -> TestApp {
        TestApp { kinds, ..self }
    }

    /// Nobody hears any more of what arrives at the store.
    pub fn ignore_store(&self) {
        let follower = self
            .follower
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        follower.inspect(AbortHandle::abort);
    }

    /// The store goes away.
    pub async fn stop_store(&self) {
        self.store.lock().await.stop().await;
    }

    /// The store comes back.
    pub async fn restart_store(&self) {
        self.store.lock().await.restart().await;
        self.follow_store().await;
    }

    /// The store comes back with another name for one of its buckets.
    pub async fn rename_bucket(&self, from: &str, to: &str) {
        self.stop_store().await;
        self.store.lock().await.rename_bucket(from, to);
        self.restart_store().await;
    }

    async fn follow_store(&self) {
        let arrivals = self
            .store
            .lock()
            .await
            .running()
            .expect("a running store")
            .subscribe();
        let task = self.app.tasks.spawn(files::follow(self.app.clone(), arrivals));
        *self.follower.lock().unwrap_or_else(PoisonError::into_inner) = Some(task.abort_handle());
    }

    /// A caller without a token.
    pub fn anonymous(&self) -> Client {
        Client::new(self.service.clone())
    }

    /// A connection as the cluster's superuser, who sees the rows of all companies.
    pub async fn superuser(&self) -> PgConnection {
        self.db.superuser().await
    }

    /// The test's database.
    pub fn database(&self) -> &TestDb {
        &self.db
    }

    /// A new company, and its owner signed in. The company's name and the owner's carry `name`.
    pub async fn tenant(&self, name: &str) -> Client {
        let user = self.user(name).await;
        let mut conn = self.superuser().await;
        let company = kernel::ids::new_id();
        sqlx::query(
            "insert into ally.companies (tenant_id, name, nit, nit_check_digit, phone_number)
             values ($1, $2, '900123456', '8', '+573001234567')",
        )
        .bind(company)
        .bind(name)
        .execute(&mut conn)
        .await
        .expect("company");
        let mut client = user.in_company(company);
        self.join(&mut client, "owner").await;
        client
    }

    /// A new user, signed in, with this role in the company of `of`.
    pub async fn member(&self, of: &Client, role: &str) -> Client {
        let mut client = self.user(role).await.in_company(of.company());
        self.join(&mut client, role).await;
        client
    }

    /// Gives the client's user a role in the client's company.
    pub async fn join(&self, client: &mut Client, role: &str) {
        let mut conn = self.superuser().await;
        sqlx::query("insert into ally.memberships (tenant_id, user_id, role) values ($1, $2, $3)")
            .bind(client.company())
            .bind(client.user_id)
            .bind(role)
            .execute(&mut conn)
            .await
            .expect("membership");
    }

    /// A new user without a company, signed in.
    pub async fn user(&self, name: &str) -> Client {
        let number = self.users.fetch_add(1, Ordering::Relaxed);
        let email = format!("{}-{number}@example.com", name.to_lowercase());
        let id = kernel::ids::new_id();
        let mut conn = self.superuser().await;
        sqlx::query(
            "insert into ally.users (id, email, password_hash, first_name, last_name, email_verified_at)
             values ($1, $2, $3, $4, 'Test', now())",
        )
        .bind(id)
        .bind(&email)
        .bind(PASSWORD_HASH)
        .bind(name)
        .execute(&mut conn)
        .await
        .expect("user");
        self.sign_in(&email).await
    }

    /// Signs in with the kit's password.
    pub async fn sign_in(&self, email: &str) -> Client {
        let form = [("username", email), ("password", PASSWORD)];
        let answer = self.anonymous().post_form("/auth/login", &form).await;
        let answer = answer.ok();
        let mut client = self.anonymous();
        client.token = answer.json["access_token"]
            .as_str()
            .expect("access token")
            .to_owned();
        client.refresh_token = answer.json["refresh_token"]
            .as_str()
            .expect("refresh token")
            .to_owned();
        client.user_id = answer.json["user"]["id"]
            .as_str()
            .and_then(|id| id.parse().ok())
            .expect("user id");
        email.clone_into(&mut client.email);
        client
    }
}

/// A body for `POST /products`.
pub fn product(name: &str, sku: &str) -> serde_json::Value {
    json!({"name": name, "sku": sku, "price_sale": "1500.00", "price_base": "1000.00"})
}
