//! Connections to the database that fall silent, as after a failover or behind a firewall that forgot them: neither
//! end is told. New ones work.

use std::sync::Arc;
use std::time::Duration;

use kernel::app::App;
use kernel::changes;
use sqlx::postgres::PgConnectOptions;
use testkit::{Client, TestApp};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::Notify;
use uuid::Uuid;
use worker::Worker;

use super::support::{Act, app, enqueue, execute, kinds, number, quick, sql, state_on, until, until_number};

/// Between a process and the server of the tests.
struct Relay {
    port: u16,
    silence: Arc<Notify>,
}

impl Relay {
    async fn start(t: &TestApp) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let directory = t.database().options().get_socket().expect("a socket").clone();
        let silence = Arc::new(Notify::new());
        let silenced = silence.clone();
        let tasks = t.app.tasks.clone();
        let connections = tasks.clone();
        tasks.spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut server = UnixStream::connect(directory.join(".s.PGSQL.5432"))
                    .await
                    .expect("a server");
                let silenced = silenced.clone();
                connections.spawn(async move {
                    let heard = silenced.notified();
                    tokio::select! {
                        _ = copy_bidirectional(&mut client, &mut server) => return,
                        () = heard => {}
                    }
                    // Open for ever, and nothing passes.
                    std::future::pending::<()>().await;
                });
            }
        });
        Relay { port, silence }
    }

    /// A process whose connections pass here.
    fn process(&self, t: &TestApp) -> App {
        let options = PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(self.port)
            .database(t.database().name());
        state_on(t, &options, 4)
    }

    /// All connections that are open fall silent.
    fn silence(&self) {
        self.silence.notify_waiters();
    }
}

#[tokio::test]
async fn a_worker_whose_claim_is_never_answered_goes_on() {
    let t = app().await;
    let a = t.tenant("a").await;
    let relay = Relay::start(&t).await;
    let process = relay.process(&t);
    // The claim of its queue waits for this, in the middle of its transaction.
    let mut conn = sql(&t).await;
    let lock = "select pg_advisory_lock(hashtextextended('jobs default', 0))";
    execute(&mut conn, lock).await;
    let worker = t.app.tasks.spawn(Worker::new(&process, kinds(), quick()).run());
    let waiting = "select count(*) from pg_locks where locktype = 'advisory' and not granted and database = (select oid from pg_database where datname = current_database())";
    until_number(&t, waiting, 1, Duration::from_secs(10)).await;
    relay.silence();
    let kept = "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and not granted and database = (select oid from pg_database where datname = current_database())";
    execute(&mut conn, kept).await;
    execute(&mut conn, "select pg_advisory_unlock_all()").await;
    enqueue(&t, &a, &Act::new(1, &[])).await;
    until_number(&t, "select count(*) from effects", 1, Duration::from_secs(40)).await;
    process.stopping.cancel();
    worker.await.expect("the worker ends");
}

#[tokio::test]
async fn a_listener_that_hears_nothing_any_more_notices() {
    let t = app().await;
    let relay = Relay::start(&t).await;
    let process = relay.process(&t);
    changes::listen(&process);
    let is_heard = || async { process.changes.are_heard() };
    until("it hears", Duration::from_secs(10), is_heard).await;
    relay.silence();
    until("it notices", Duration::from_secs(20), || async {
        !process.changes.are_heard()
    })
    .await;
    until("it hears again", Duration::from_secs(20), is_heard).await;
    process.stopping.cancel();
}

/// Whatever a write waits for, its connection comes back.
#[tokio::test]
async fn a_write_that_is_never_answered_gives_its_connection_back() {
    let t = TestApp::with(server::service, |config| config.http.request_timeout_seconds = 1).await;
    let a = t.tenant("a").await;
    let relay = Relay::start(&t).await;
    let mut process = relay.process(&t);
    process = process
        .with_part(t.app.part::<files::Files>().expect("files").clone())
        .with_part(
            t.app
                .part::<company_settings::SettingsCache>()
                .expect("settings")
                .clone(),
        )
        .with_part(t.app.part::<mail::Mailer>().expect("a mailer").clone());
    let service = server::service(&process);
    let elsewhere = Client::of(service).with_token(&a.token).in_company(a.company());
    elsewhere.get("/brands").await.ok();
    let mut conn = sql(&t).await;
    execute(&mut conn, "begin; lock table brands in exclusive mode").await;
    let body = serde_json::json!({"name": Uuid::new_v4().to_string()});
    let write = elsewhere.post("/brands", body);
    let silence = async {
        until_number(
            &t,
            "select count(*) from pg_locks where not granted and database = (select oid from pg_database where datname = current_database())",
            1,
            Duration::from_secs(5),
        )
        .await;
        relay.silence();
    };
    let (answer, ()) = tokio::join!(write, silence);
    answer.problem(503, "timeout");
    let used = || process.db.pools()[0].open - process.db.pools()[0].idle;
    assert_eq!(used(), 1);
    until("it comes back", Duration::from_secs(20), || async { used() == 0 }).await;
    execute(&mut conn, "rollback").await;
    // Those that were idle when they fell silent cost a request each.
    let works = || async { elsewhere.get("/brands").await.status == 200 };
    until("it works again", Duration::from_secs(20), works).await;
    assert_eq!(number(&mut conn, "select count(*) from brands").await, 0);
}
