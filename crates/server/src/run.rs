//! Starting, serving and stopping.

use std::future::pending;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use company_settings::SettingsCache;
use embedded_pg::EmbeddedPg;
use files::{Files, PlanChange};
use inspect::Inspector;
use kernel::app::App;
use kernel::clock::Clock;
use kernel::config::Environment;
use kernel::db::{Db, migrate};
use kernel::keys::Keys;
use log::LevelFilter;
use redis_link::RedisLink;
use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;
use storage::{EmbeddedStore, Storage};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{error, info, warn};
use uuid::Uuid;
use worker::Worker;

use crate::cli::say;
use crate::monitor::Monitor;
use crate::settings::Settings;
use crate::{demo, listen, service, start};

/// Between two attempts to reach the object store at start.
const STORE_PAUSE: Duration = Duration::from_secs(5);

/// Between two trials of what upload URLs are good for.
const PROBE_PAUSE: Duration = Duration::from_mins(5);

/// What one process does.
#[derive(Clone, Copy, Debug, Default)]
pub struct Parts {
    pub api: bool,
    pub worker: bool,
    pub scheduler: bool,
}

impl Parts {
    const ALL: Parts = Parts {
        api: true,
        worker: true,
        scheduler: true,
    };

    fn all(self) -> bool {
        self.api && self.worker && self.scheduler
    }
}

/// A database to work with, external or embedded, and the keys that belong to it.
pub(crate) struct Database {
    /// The migrating login.
    pub login: PgConnectOptions,
    pub keys: Keys,
    pub embedded: Option<EmbeddedPg>,
}

impl Database {
    /// The configured server, or the embedded one, started.
    pub async fn open(settings: &Settings) -> anyhow::Result<Database> {
        let config = &settings.config.database;
        if let Some(login) = kernel::db::connect_options(config)? {
            return Ok(Database {
                login,
                keys: settings.keys(false)?,
                embedded: None,
            });
        }
        let embedded = EmbeddedPg::start(embedded_pg::Options::new(&settings.data_dir)).await?;
        let login = PgConnectOptions::new_without_pgpass()
            .socket(embedded.socket_dir())
            .port(embedded.port())
            .username(embedded.superuser())
            .password(embedded.superuser_password());
        let login = kernel::db::ssl_free(login);
        create_database(&login, &config.postgres_db).await?;
        let keys = settings.keys(true)?;
        Ok(Database {
            login: login.database(&config.postgres_db),
            keys,
            embedded: Some(embedded),
        })
    }

    /// The state of request code over this database.
    pub fn app(&self, settings: &Settings) -> App {
        let slow = Duration::from_millis(settings.config.database.db_slow_ms);
        let login = self.login.clone().log_slow_statements(LevelFilter::Warn, slow);
        let db = Db::connect_lazy_through(
            settings.config.database.db_pooler.as_ref(),
            &login,
            &settings.role_passwords(&self.keys),
            &settings.pool_size(),
        );
        let app = App::new(settings.config.clone(), db, self.keys.clone(), Clock::default());
        let cache = SettingsCache::new(&app, &settings.files.installation());
        app.with_part(cache)
    }

    async fn migrate(&self, settings: &Settings) -> anyhow::Result<usize> {
        migrate::up(&self.login, &settings.role_passwords(&self.keys))
            .await
            .context("the migrations failed")
    }

    pub async fn close(self) {
        if let Some(embedded) = self.embedded {
            embedded.stop().await;
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "CREATE DATABASE takes no parameters; the name is quoted here"
)]
async fn create_database(server: &PgConnectOptions, name: &str) -> anyhow::Result<()> {
    let mut conn = server.clone().database("postgres").connect().await?;
    let exists = sqlx::query_scalar::<_, bool>("select exists (select from pg_database where datname = $1)");
    if !exists.bind(name).fetch_one(&mut conn).await? {
        let statement = format!("create database \"{}\"", name.replace('"', "\"\""));
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement))
            .execute(&mut conn)
            .await?;
    }
    Ok(())
}

/// `ally360 dev`.
pub async fn dev(settings: Settings) -> anyhow::Result<()> {
    ensure!(
        settings.config.environment != Environment::Production,
        "`dev` refuses to run with ENVIRONMENT=production: use `serve`"
    );
    let listener = bind(&settings).await?;
    let monitor = monitor(&settings).await?;
    let database = Database::open(&settings).await?;
    database.migrate(&settings).await?;
    demo::seed(&database.app(&settings)).await?;
    serve(&settings, database, Parts::ALL, (Some(listener), monitor), true).await
}

/// `serve`, `api`, `worker`, `scheduler`.
pub async fn processes(settings: Settings, parts: Parts) -> anyhow::Result<()> {
    let external = kernel::db::connect_options(&settings.config.database)?.is_some();
    ensure!(
        external || parts.all(),
        "processes of their own need a database to share: set POSTGRES_HOST or DATABASE_URL, or run `ally360 serve`"
    );
    let listener = if parts.api {
        Some(bind(&settings).await?)
    } else {
        None
    };
    let monitor = monitor(&settings).await?;
    let database = Database::open(&settings).await?;
    if database.embedded.is_some() {
        database.migrate(&settings).await?;
    }
    serve(&settings, database, parts, (listener, monitor), false).await
}

/// The metrics' listener, if one is set.
async fn monitor(settings: &Settings) -> anyhow::Result<Option<Monitor>> {
    match settings.metrics_listen {
        Some(address) => Monitor::open(address).await.map(Some),
        None => Ok(None),
    }
}

async fn bind(settings: &Settings) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(settings.listen).await;
    listener.with_context(|| {
        format!(
            "cannot listen on {}: choose another with --listen",
            settings.listen
        )
    })
}

async fn serve(
    settings: &Settings,
    database: Database,
    parts: Parts,
    (listener, monitor): (Option<TcpListener>, Option<Monitor>),
    dev: bool,
) -> anyhow::Result<()> {
    let address = listener.as_ref().and_then(|listener| listener.local_addr().ok());
    let mailer = match crate::mail::mailer(settings, address, dev) {
        Ok(mailer) => mailer,
        Err(error) => {
            database.close().await;
            return Err(error);
        }
    };
    let mut app = database.app(settings).with_part(mailer);
    match RedisLink::open(&settings.redis, &app) {
        Ok(Some(redis)) => {
            redis_link::share_changes(&redis, &app);
            app = app.with_part(redis);
        }
        Ok(None) => {}
        Err(error) => {
            database.close().await;
            return Err(anyhow::Error::from(error).context("REDIS_HOST and the other REDIS_ settings"));
        }
    }
    let mut store = None;
    let shares_store = !settings.storage.is_embedded() || parts.all();
    if !shares_store {
        warn!("no object store to share: files are unavailable until MINIO_HOST is set");
    } else if parts.api || parts.worker {
        match open_files(settings).await {
            Ok((files, embedded)) => {
                app.tasks
                    .spawn(prepare(app.clone(), files.storage.clone(), parts.api));
                app = app.with_part(files);
                store = embedded;
            }
            Err(error) => {
                database.close().await;
                return Err(error);
            }
        }
    }
    if let Some(store) = &store {
        app.tasks.spawn(files::follow(app.clone(), store.subscribe()));
    }
    kernel::changes::listen(&app);
    let bell = app.clone();
    app.tasks.spawn(async move {
        bell.stopping
            .run_until_cancelled(bell.db.bell().carry(&bell.db))
            .await
    });
    if let Some(monitor) = monitor {
        monitor.serve(&app, parts.worker || parts.scheduler);
    }
    let (mut kinds, schedules) = crate::jobs();
    if !shares_store {
        kinds.retain(|kind| kind.queue != files::QUEUE);
    }
    if parts.worker {
        app.tasks.spawn(Worker::new(&app, kinds, settings.worker()).run());
    }
    if parts.scheduler {
        app.tasks.spawn(worker::schedule(app.clone(), schedules));
    }
    // Before anybody is served, who may tell the process to stop as soon as it answers.
    let told_to_stop = stop_signal();
    let api = listener.map(|listener| {
        app.tasks.spawn(listen::serve(
            listener,
            service(&app),
            settings.limits(),
            (&app).into(),
        ))
    });

    let failed = async {
        match &database.embedded {
            Some(embedded) => embedded.failed().await,
            None => pending().await,
        }
    };
    let outcome = tokio::select! {
        signal = told_to_stop => Ok(signal),
        error = failed => Err(anyhow::Error::from(error)),
        error = start::announce(&app, address, settings, dev) => Err(error),
    };
    // Where the database is embedded there is no other process that could take over.
    let asked = matches!(outcome, Ok(signal) if signal == SignalKind::terminate());
    if asked && api.is_some() && database.embedded.is_none() {
        take_leave(&app, settings.stop_notice_seconds).await;
    }
    info!("stopping");
    let deadline = Instant::now() + Duration::from_secs(settings.config.http.drain_seconds);
    app.leaving.cancel();
    app.stopping.cancel();
    if let Some(api) = api {
        match api.await {
            Ok(drained) if drained.cut > 0 => {
                warn!(cut = drained.cut, "connections were still busy and were cut");
            }
            _ => {}
        }
    }
    app.tasks.close();
    if timeout_at(deadline, app.tasks.wait()).await.is_err() {
        warn!("work was still running at the end of the drain time");
    }
    if let Some(store) = store {
        store.stop().await;
    }
    app.db.close();
    database.close().await;
    outcome.map(drop)
}

/// Serves on for so long while readiness says that the process leaves, so that balancers send nothing more.
/// Another signal ends it.
async fn take_leave(app: &App, seconds: u64) {
    info!(seconds, "leaving: not ready any more, and still serving");
    app.leaving.cancel();
    tokio::select! {
        () = sleep(Duration::from_secs(seconds)) => {}
        _ = stop_signal() => {}
    }
}

/// Object storage as configured, embedded or not, and what looks into files.
async fn open_files(settings: &Settings) -> anyhow::Result<(Files, Option<EmbeddedStore>)> {
    let inspector = Inspector::new(&settings.inspect)?;
    let (storage, embedded) = storage::open(
        &settings.storage,
        &settings.data_dir,
        settings.files.largest_upload(),
    )
    .await?;
    Ok((
        Files {
            storage,
            inspector,
            config: settings.files.clone(),
        },
        embedded,
    ))
}

/// Makes the buckets as they have to be, however long the store is away. Who signs upload URLs then tries what they are
/// good for.
async fn prepare(app: App, storage: Storage, signs_uploads: bool) {
    while let Err(error) = storage.ensure_buckets().await {
        warn!(%error, "the object store is not ready; trying again");
        if app
            .stopping
            .run_until_cancelled(sleep(STORE_PAUSE))
            .await
            .is_none()
        {
            return;
        }
    }
    if !signs_uploads {
        return;
    }
    // Again until they are good for uploads alone: somebody may mend that.
    let probing = async {
        loop {
            match storage.probe_upload_urls().await {
                Ok(false) => return,
                Ok(true) => error!("{}", files::LOOSE_UPLOAD_URLS),
                Err(error) => warn!(%error, "what upload URLs are good for could not be tried; trying again"),
            }
            sleep(PROBE_PAUSE).await;
        }
    };
    app.stopping.run_until_cancelled(probing).await;
}

/// The next signal to end, from the call on: one that comes before anybody waits is not lost.
fn stop_signal() -> impl Future<Output = SignalKind> {
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    async {
        let (Ok(mut term), Ok(mut int)) = signals else {
            return pending().await;
        };
        tokio::select! {
            _ = term.recv() => SignalKind::terminate(),
            _ = int.recv() => SignalKind::interrupt(),
        }
    }
}

/// `ally360 migrate up`.
pub async fn migrate_up(settings: Settings) -> anyhow::Result<()> {
    let database = Database::open(&settings).await?;
    let migrate = async {
        if database.embedded.is_none() {
            start::wait(&database.login, settings.start_seconds).await?;
        }
        database.migrate(&settings).await
    };
    let applied = tokio::select! {
        applied = migrate => applied,
        // As the first process of a container it would not be ended by what it does not wait for.
        _ = stop_signal() => Err(anyhow::anyhow!("told to stop before the migrations were done")),
    };
    database.close().await;
    say(&format!(
        "{} migrations applied; the database is current",
        applied?
    ))?;
    Ok(())
}

/// `ally360 migrate status`.
pub async fn migrate_status(settings: Settings) -> anyhow::Result<()> {
    let database = Database::open(&settings).await?;
    let status = async {
        let mut conn = database.login.clone().connect().await?;
        anyhow::Ok(migrate::status(&mut conn).await?)
    };
    let status = status.await;
    database.close().await;
    let status = status?;
    for migration in &status {
        let state = if migration.applied { "applied" } else { "pending" };
        say(&format!(
            "{} {state} {}",
            migration.version, migration.description
        ))?;
    }
    if status.iter().any(|m| !m.applied) {
        bail!("migrations are pending: run `ally360 migrate up`");
    }
    Ok(())
}

/// `ally360 demo seed`.
pub async fn seed(settings: Settings) -> anyhow::Result<()> {
    ensure!(
        settings.config.environment != Environment::Production,
        "demo data is not for ENVIRONMENT=production"
    );
    let database = Database::open(&settings).await?;
    database.migrate(&settings).await?;
    let seeded = demo::seed(&database.app(&settings)).await;
    database.close().await;
    seeded?;
    say("the demo companies are there")?;
    Ok(())
}

/// `ally360 user verification-token`.
pub async fn verification_token(settings: Settings, email: &str) -> anyhow::Result<()> {
    let database = Database::open(&settings).await?;
    let token = identity::verification_token(&database.app(&settings), email).await;
    database.close().await;
    let token = token?.with_context(|| format!("no user has the address {email}"))?;
    say(&token)?;
    Ok(())
}

/// `ally360 files sweep`.
pub async fn sweep_files(settings: Settings, dry_run: bool) -> anyhow::Result<()> {
    let database = Database::open(&settings).await?;
    let swept = async {
        let (files, store) = open_files(&settings).await?;
        let found = files::sweep(&database.app(&settings).with_part(files), dry_run).await;
        if let Some(store) = store {
            store.stop().await;
        }
        found
    };
    let swept = swept.await;
    database.close().await;
    say(&serde_json::to_string_pretty(&swept?)?)?;
    Ok(())
}

/// `ally360 files quota`.
pub async fn change_plan(settings: Settings, company: Uuid, change: PlanChange) -> anyhow::Result<()> {
    let database = Database::open(&settings).await?;
    let plan = files::change_plan(&database.app(&settings), company, change).await;
    database.close().await;
    let plan = plan?.with_context(|| format!("no company has the id {company}"))?;
    say(&serde_json::to_string_pretty(&plan)?)?;
    Ok(())
}
