//! Processes whose clock is wrong, or jumps: tokens are judged by it, and nothing else goes wrong.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use tokio::time::sleep;

use crate::files::support::{Installation, ordinary, upload_all};
use crate::support::{Client, Program, Server, figures};

/// What libfaketime takes a change for, at the latest.
const NOTICED: Duration = Duration::from_millis(1500);

/// A clock that the test sets, for one process.
struct Clock {
    library: PathBuf,
    file: PathBuf,
}

impl Clock {
    /// `None` without libfaketime on this host, which only continuous integration takes for an error.
    fn new(place: &Installation, name: &str) -> Option<Clock> {
        let machines = std::fs::read_dir("/usr/lib").expect("a directory").flatten();
        let library = machines
            .map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"))
            .find(|path| path.exists());
        if library.is_none() {
            assert!(
                std::env::var_os("CI").is_none(),
                "install the Debian package faketime"
            );
            eprintln!("skipped: libfaketime not found (Debian package faketime)");
        }
        let file = place.external.home.path().join(format!("clock-{name}"));
        let clock = Clock {
            library: library?,
            file,
        };
        clock.set("+0");
        Some(clock)
    }

    /// So far from the true time from now on.
    fn set(&self, offset: &str) {
        let next = self.file.with_extension("next");
        std::fs::write(&next, offset).expect("written");
        std::fs::rename(next, &self.file).expect("a rename");
    }

    fn of(&self, program: Program) -> Program {
        program
            .env("LD_PRELOAD", &self.library)
            .env("FAKETIME_TIMESTAMP_FILE", &self.file)
            .env("FAKETIME_CACHE_DURATION", "1")
            // Time that passes is true: it is the time of day that jumps.
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("DONT_FAKE_MONOTONIC", "1")
    }
}

/// Signs in as soon as the server's clock is that many seconds off: it notices within a second, and later when busy.
async fn sign_in_at(server: &Server, offset: i64) -> Client {
    let began = Instant::now();
    loop {
        let client = Client::owner(&server.url()).await;
        let claims = client.token.split('.').nth(1).expect("a payload");
        let claims = BASE64_URL_SAFE_NO_PAD.decode(claims).expect("base64url");
        let claims: serde_json::Value = serde_json::from_slice(&claims).expect("JSON");
        let ahead = claims["iat"].as_i64().expect("iat") - kernel::clock::Clock::default().unix();
        if (ahead - offset).abs() < 10 {
            return client;
        }
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "{ahead} s instead of {offset}"
        );
        sleep(Duration::from_millis(200)).await;
    }
}

fn assert_no_panic(server: &Server) {
    assert!(!server.stderr().contains("panic"), "{}", server.stderr());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_whose_clock_jumps_refuses_tokens_of_another_time_and_nothing_else() {
    let place = Installation::start(&[]).await;
    let Some(clock) = Clock::new(&place, "api") else {
        return;
    };
    let server = clock.of(place.program("api")).start();
    let right = &place.client;
    let mut requests = 0;
    // By how much, the answer there to a token of the true time, and elsewhere to one from there, which also is too
    // old or too new; but for the one that is five minutes early and lives thirty.
    let jumps = [
        (20, 200, 200),
        (3600, 401, 401),
        (-3600, 401, 401),
        (2 * 86400, 401, 401),
        (-300, 401, 200),
        (0, 200, 200),
    ];
    for (offset, here, elsewhere) in jumps {
        clock.set(&format!("{offset:+}"));
        let there = sign_in_at(&server, offset).await;
        right.at(&server.url()).get("/products").await.expect(here);
        for _ in 0..10 {
            there.get("/products").await.expect(200);
        }
        there.at(right.url()).get("/products").await.expect(elsewhere);
        right.get("/products").await.expect(200);
        let ready = there.get("/health/ready").await.expect(200).json();
        assert_eq!(ready["ready"], true, "{ready}");
        requests += 15;
    }
    assert_no_panic(&server);
    figures(
        "clock of an API process: +20 s, +1 h, -1 h, +2 d, -5 min, right again",
        &format!(
            "{requests} requests: tokens beyond 30 s leeway refused (401), everything else served, no panic"
        ),
    );
    server.stop().success();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_and_schedules_go_by_the_clock_of_the_database() {
    let place = Installation::start(&[]).await;
    let Some(clock) = Clock::new(&place, "worker") else {
        return;
    };
    // The same clock for a worker and a scheduler, beside ones that are right.
    let wrong = [
        clock.of(place.program("worker")).spawn(),
        clock.of(place.program("scheduler")).spawn(),
    ];
    let right = [place.worker(), place.program("scheduler").spawn()];
    let mut uploads = Vec::new();
    for offset in ["+1h", "-1h", "+2d", "-5m", "+0"] {
        clock.set(offset);
        uploads.extend(upload_all(&place.client, ordinary(6)).await);
        sleep(NOTICED).await;
    }
    // A tick of the schedulers, 10 s, has passed meanwhile or does so now.
    place.settle(Duration::from_secs(90)).await;
    let slots = "select count(*) from ally.schedule_slots";
    let (began, limit) = (Instant::now(), Duration::from_secs(60));
    while place.count(slots).await == 0 {
        assert!(began.elapsed() < limit, "nothing was planned");
        sleep(Duration::from_millis(100)).await;
    }
    let ahead = "select count(*) from ally.schedule_slots where slot > now()";
    assert_eq!(place.count(ahead).await, 0, "slots of the future");
    let lost = "select count(*) from ally.job_runs where outcome = 'lost'";
    assert_eq!(place.count(lost).await, 0, "leases taken early");
    place.check_all_ready(&uploads).await;
    wrong.iter().for_each(assert_no_panic);
    figures(
        "clocks of a worker and a scheduler: +1 h, -1 h, +2 d, -5 min, right again",
        &format!(
            "{} files done once each, {} slots planned, none of the future, no lease taken early",
            uploads.len(),
            place.count(slots).await
        ),
    );
    for process in wrong.into_iter().chain(right) {
        process.stop().success();
    }
}
