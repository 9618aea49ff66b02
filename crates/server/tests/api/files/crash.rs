//! Workers that die, a store and a scanner that go away: every upload still ends, once.

use std::sync::Arc;
use std::time::Duration;

use inspect::{InspectConfig, Inspector};
use kernel::app::App;
use kernel::clock::Clock;
use kernel::db::{Db, PoolSize, RolePasswords};
use kernel::keys::Keys;
use serde_json::json;
use storage::Storage;
use testkit::TestApp;
use tokio::sync::Notify;
use worker::{Options, Worker};

use super::clamd::Clamd;
use super::support::{
    EICAR, bytes, execute, id, png, presign, put, room, send, status, text, thumbnails, tidy, until, value,
};
use crate::{app, plan};

async fn app_with_scanner(clamd: &Clamd) -> TestApp {
    app_with(clamd, None).await
}

/// With that scanner, and another store than the embedded one where it is given.
pub async fn app_with(clamd: &Clamd, storage: Option<Storage>) -> TestApp {
    let config = InspectConfig {
        clamd_address: Some(clamd.address.clone()),
        clamd_timeout_seconds: 5,
        ..InspectConfig::default()
    };
    let inspector = Inspector::new(&config).expect("an inspector");
    let change = |files: &mut files::Files| {
        files.inspector = inspector;
        if let Some(storage) = storage {
            files.storage = storage;
        }
    };
    let t = TestApp::with_files(server::service, |_| {}, change).await;
    t.with_jobs(server::jobs().0)
}

/// A worker on a thread, a runtime and connections of its own; killed, it stops at whatever await it is.
struct Process {
    kill: Arc<Notify>,
    thread: std::thread::JoinHandle<()>,
}

impl Process {
    fn start(t: &TestApp) -> Process {
        let roles = RolePasswords {
            app: vec![String::new()],
            system: vec![String::new()],
        };
        let size = PoolSize {
            app: 4,
            system: 4,
            acquire_timeout: Duration::from_secs(5),
        };
        let db = Db::connect_lazy(t.database().options(), &roles, &size);
        let files = t.app.part::<files::Files>().expect("files").clone();
        let app = App::new(
            t.app.config.clone(),
            db,
            Keys::new("a secret of the tests, 32 bytes long"),
            Clock::default(),
        )
        .with_part(files);
        let kill = Arc::new(Notify::new());
        let killed = kill.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("runtime");
            runtime.block_on(async {
                tokio::select! {
                    () = killed.notified() => {}
                    () = Worker::new(&app, server::jobs().0, Options { lease: Duration::from_secs(2), ..Options::default() }).run() => {}
                }
            });
        });
        Process { kill, thread }
    }

    fn kill(self) {
        self.kill.notify_one();
        self.thread.join().expect("the worker's thread");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_ready_once_though_its_worker_died_while_it_was_scanned() {
    let clamd = Clamd::start(0).await;
    let t = app_with_scanner(&clamd).await;
    let a = t.tenant("a").await;
    let upload = send(&a, text("a.txt"), "hello").await;
    let dying = Process::start(&t);
    clamd.begun.acquire().await.expect("open").forget();
    assert_eq!(status(&a, &id(&upload)).await, "scanning");
    let job = value(&t, "select id::text from ally.jobs where name = 'files.process'").await;
    let job = a.get(&format!("/jobs/{job}")).await.ok().json;
    assert_eq!((&job["state"], &job["progress"]), (&json!("running"), &json!(40)));
    dying.kill();

    clamd.allow(2);
    let worker = t.start_worker();
    until(async || status(&a, &id(&upload)).await == "ready").await;
    worker.stop().await;
    t.run_jobs().await;
    assert_eq!(bytes(&a, &id(&upload)).await, b"hello");
    assert_eq!(room(&t).await, "5 0 0");
    let runs =
        "select string_agg(outcome, ' ' order by attempt) from ally.job_runs where name = 'files.process'";
    assert_eq!(value(&t, runs).await, "lost done");
    assert_eq!(
        value(&t, "select scanned_by from ally.files").await,
        "clamd 1.4.6/27800"
    );
    let found = files::sweep(&t.app, true).await.expect("a sweep");
    assert_eq!((found.objects, found.missing.count), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_that_die_at_any_moment_leave_nothing_behind() {
    let t = app().await;
    let a = t.tenant("a").await;
    let picture = png(400, 300);
    let new = json!({"filename": "foto.png", "content_type": "image/png", "module": "products"});
    let mut uploads = Vec::new();
    for _ in 0..8 {
        uploads.push(send(&a, new.clone(), picture.clone()).await);
    }
    for moment in 1..=12 {
        let worker = Process::start(&t);
        tokio::time::sleep(Duration::from_millis(40 * moment)).await;
        worker.kill();
        // As if the leases had ended; each death is forgiven, for there are more than a job survives.
        execute(&t, "update ally.jobs set state = 'ready', lost = 0, failures = 0, run_at = now() where state <> 'dead' and name <> 'files.await_upload'").await;
    }
    t.run_jobs().await;
    for upload in &uploads {
        assert_eq!(bytes(&a, &id(upload)).await, picture);
        assert_eq!(status(&a, &id(upload)).await, "ready");
    }
    assert_eq!(
        room(&t).await,
        format!("{} 0 0", 8 * picture.len() as u64 + thumbnails(&t).await)
    );
    let objects = value(
        &t,
        "select sum(1 + jsonb_array_length(variants))::text from ally.files",
    )
    .await;
    let found = files::sweep(&t.app, true).await.expect("a sweep");
    assert_eq!(
        found,
        files::Orphans {
            dry_run: true,
            objects: objects.parse().expect("a number"),
            ..files::Orphans::default()
        }
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_put_while_the_first_bytes_were_scanned_is_not_served() {
    let clamd = Clamd::start(0).await;
    let t = app_with_scanner(&clamd).await;
    let a = t.tenant("a").await;
    let upload = send(&a, text("a.txt"), "hello").await;
    let worker = t.start_worker();
    clamd.begun.acquire().await.expect("open").forget();
    assert_eq!(put(&upload, EICAR).await, 200);
    clamd.allow(1);
    until(async || status(&a, &id(&upload)).await == "ready").await;
    worker.stop().await;
    t.run_jobs().await;
    assert_eq!(bytes(&a, &id(&upload)).await, b"hello");
    assert_eq!(files::sweep(&t.app, true).await.expect("a sweep").objects, 1);
}

#[tokio::test]
async fn nothing_passes_while_the_scanner_is_away() {
    let clamd = Clamd::start(0).await;
    let t = app_with_scanner(&clamd).await;
    let port = clamd
        .address
        .rsplit_once(':')
        .expect("a port")
        .1
        .parse()
        .expect("a number");
    drop(clamd);
    let a = t.tenant("a").await;
    let upload = send(&a, text("a.txt"), "hello").await;
    for _ in 0..3 {
        t.run_jobs().await;
        assert_eq!(status(&a, &id(&upload)).await, "scanning");
        a.get(&format!("/files/{}/download", id(&upload)))
            .await
            .problem(409, "file-not-ready");
        t.pass(Duration::from_secs(300)).await;
    }
    let clamd = Clamd::start(port).await;
    clamd.allow(1);
    t.run_jobs().await;
    assert_eq!(status(&a, &id(&upload)).await, "ready");
}

#[tokio::test]
async fn a_store_that_was_away_for_a_while_costs_nothing_but_time() {
    let t = app().await;
    let a = t.tenant("a").await;
    let upload = send(&a, text("a.txt"), "hello").await;
    t.stop_store().await;
    for _ in 0..3 {
        t.run_jobs().await;
        assert_eq!(status(&a, &id(&upload)).await, "scanning");
        t.pass(Duration::from_secs(60)).await;
    }
    a.post("/files/upload/presign", text("b.txt")).await.created();
    t.restart_store().await;
    t.run_jobs().await;
    assert_eq!(status(&a, &id(&upload)).await, "ready");
    assert_eq!(bytes(&a, &id(&upload)).await, b"hello");
}

#[tokio::test]
async fn an_upload_whose_job_was_lost_gets_another() {
    let t = app().await;
    let a = t.tenant("a").await;
    let upload = send(&a, text("a.txt"), "hello").await;
    let pending = presign(&a, text("b.txt")).await;
    execute(&t, "delete from ally.jobs").await;
    t.pass(Duration::from_secs(600 + 3601)).await;
    tidy(&t).await;
    let a = t.sign_in(&a.email).await.in_company(a.company());
    assert_eq!(
        (status(&a, &id(&upload)).await, status(&a, &id(&pending)).await),
        ("ready".to_owned(), "expired".to_owned())
    );
    assert_eq!(room(&t).await, "5 0 0");
}

#[tokio::test]
async fn a_file_that_ends_every_worker_is_rejected_at_last() {
    let t = app().await;
    let a = t.tenant("a").await;
    let upload = send(&a, text("a.txt"), "hello").await;
    execute(
        &t,
        "update ally.jobs set state = 'dead', lost = 3 where name = 'files.process'",
    )
    .await;
    execute(&t, "update ally.files set state = 'scanning'").await;
    t.pass(Duration::from_secs(600 + 3601)).await;
    plan(&t).await;
    execute(&t, "update ally.jobs set ended_at = now()").await;
    let worker = t.start_worker();
    let a = t.sign_in(&a.email).await.in_company(a.company());
    until(async || status(&a, &id(&upload)).await == "rejected unprocessable").await;
    worker.stop().await;
    assert_eq!(room(&t).await, "0 0 0");
}

#[tokio::test]
async fn a_file_on_which_the_scanner_always_fails_is_rejected_at_last() {
    let clamd = Clamd::start(0).await;
    let t = app_with_scanner(&clamd).await;
    let a = t.tenant("a").await;
    let killer = send(&a, text("killer.txt"), "crash").await;
    // The eighth time the scanner is asked whether it scans anything, and says nothing: then it is not the file.
    for _ in 0..8 {
        t.run_jobs().await;
        assert_eq!(status(&a, &id(&killer)).await, "scanning");
        let again = "update ally.jobs set run_at = now() where name = 'files.process'";
        execute(&t, again).await;
    }
    // The scan that nobody waits for any more has one of them.
    clamd.allow(2);
    t.run_jobs().await;
    assert_eq!(status(&a, &id(&killer)).await, "rejected unscannable");
    assert_eq!(room(&t).await, "0 0 0");
    // Another one is none the worse for it.
    let other = send(&a, text("other.txt"), "hello").await;
    clamd.allow(1);
    t.run_jobs().await;
    assert_eq!(status(&a, &id(&other)).await, "ready");
}

#[tokio::test]
async fn a_file_whose_job_dies_again_and_again_is_rejected_at_last() {
    // Which never answers.
    let clamd = Clamd::start(0).await;
    let t = app_with_scanner(&clamd).await;
    let a = t.tenant("a").await;
    let upload = send(&a, text("a.txt"), "hello").await;
    let waits =
        "update ally.jobs set state = 'dead', failures = 8, ended_at = now() where name = 'files.process'";
    for _ in 0..3 {
        execute(&t, waits).await;
        execute(
            &t,
            "update ally.files set state = 'scanning', upload_expires_at = now() - interval '2 hours'",
        )
        .await;
        assert_eq!(status(&a, &id(&upload)).await, "scanning");
        execute(&t, "delete from ally.schedule_slots").await;
        plan(&t).await;
        let worker = t.start_worker();
        let tidied = "select count(*)::text from ally.jobs where name = 'files.tidy'";
        until(async || value(&t, tidied).await == "0").await;
        worker.stop().await;
    }
    assert_eq!(status(&a, &id(&upload)).await, "rejected unprocessable");
}

/// A bucket that is away as a whole has no object at all, and that says nothing of any.
#[tokio::test]
async fn a_missing_bucket_is_waited_for() {
    let t = app().await;
    let a = t.tenant("a").await;
    let processed = send(&a, text("a.txt"), "hello").await;
    let awaited = presign(&a, text("b.txt")).await;
    t.pass(Duration::from_secs(600 + 16 * 60)).await;
    t.rename_bucket("ally360-quarantine", "away").await;
    t.run_jobs().await;
    let a = t.sign_in(&a.email).await.in_company(a.company());
    assert_eq!(status(&a, &id(&processed)).await, "scanning");
    assert_eq!(status(&a, &id(&awaited)).await, "pending");
    t.rename_bucket("away", "ally360-quarantine").await;
    t.pass(Duration::from_secs(600)).await;
    t.run_jobs().await;
    assert_eq!(status(&a, &id(&processed)).await, "ready");
    assert_eq!(status(&a, &id(&awaited)).await, "expired");
}

#[tokio::test]
async fn an_upload_whose_job_was_cancelled_ends_and_is_not_taken_up_again() {
    let t = app().await;
    let a = t.tenant("a").await;
    let arrived = send(&a, text("a.txt"), "hello").await;
    let awaited = presign(&a, text("b.txt")).await;
    for job in a.get("/jobs").await.ok().items("id") {
        a.post(&format!("/jobs/{job}/cancel"), json!({}))
            .await
            .status(204);
    }
    t.pass(Duration::from_secs(600 + 3601)).await;
    tidy(&t).await;
    let a = t.sign_in(&a.email).await.in_company(a.company());
    assert_eq!(
        (status(&a, &id(&arrived)).await, status(&a, &id(&awaited)).await),
        ("rejected cancelled".to_owned(), "expired".to_owned())
    );
    assert_eq!(room(&t).await, "0 0 0");
}
