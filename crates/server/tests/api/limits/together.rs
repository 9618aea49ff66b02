//! What several processes count together in a real Redis, and each alone while that is away.

use std::time::{Duration, Instant};

use kernel::app::App;
use kernel::config::Config;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use redis_link::{RedisConfig, RedisLink};
use testkit::{Client, RedisServer, TestApp};
use tokio::time::sleep;

use super::{EXPORT, EXPORT_POLICY, admitted};
use crate::redis::{settings, until_up};

/// A process that counts in this Redis.
async fn process(beside: Option<&TestApp>, redis: &RedisConfig, percent: u32) -> TestApp {
    let mut with_link = None;
    let build = |app: &App| {
        let link = RedisLink::open(redis, app).expect("settings").expect("a server");
        let app = app.clone().with_part(link);
        with_link = Some(app.clone());
        server::service(&app)
    };
    let change = |config: &mut Config| config.limits.rate_limit_percent = percent;
    let mut t = match beside {
        Some(first) => first.again(build, change).await,
        None => TestApp::with(build, change).await,
    };
    t.app = with_link.expect("an app");
    until_up(t.app.part().expect("a link"), true).await;
    t
}

/// Requests that were counted in the process although there is a Redis: what took too long on a busy machine.
struct Fallbacks {
    recorder: PrometheusHandle,
    _here: metrics::LocalRecorderGuard<'static>,
}

impl Fallbacks {
    /// Counts those of this thread, on which all of a test runs.
    fn new() -> Fallbacks {
        let recorder = Box::leak(Box::new(PrometheusBuilder::new().build_recorder()));
        Fallbacks {
            recorder: recorder.handle(),
            _here: metrics::set_default_local_recorder(recorder),
        }
    }

    fn count(&self) -> usize {
        let page = self.recorder.render();
        let count = page
            .lines()
            .find_map(|line| line.strip_prefix("ally360_rate_limit_fallbacks_total "));
        count.map_or(0, |count| count.parse().expect("a number"))
    }
}

/// How many of the exports that are asked for here and there are admitted, and how many at least and at most
/// should be: `quota` and one each `refill`. Counted once more, by a new company, when the machine was too
/// busy for Redis to answer in time.
async fn counted(t: &TestApp, others: &[&TestApp], asked: usize, quota: usize, refill: Duration) {
    let fallbacks = Fallbacks::new();
    for _ in 0..10 {
        let before = fallbacks.count();
        let a = t.tenant("a").await;
        let places: Vec<Client> = others
            .iter()
            .map(|other| a.on(other))
            .chain([a.clone()])
            .collect();
        let began = Instant::now();
        let mut count = 0;
        for _ in 0..asked / places.len() {
            let answers = futures::future::join_all(places.iter().map(|place| place.get(EXPORT))).await;
            assert!(
                answers
                    .iter()
                    .all(|answer| [200, 429].contains(&answer.status.as_u16()))
            );
            count += admitted(&answers);
        }
        let back = (began.elapsed().as_millis() / refill.as_millis()) as usize + 1;
        if fallbacks.count() == before {
            assert!(
                (quota..=quota + back).contains(&count),
                "{count}, {back} came back"
            );
            let told = a.get(EXPORT).await;
            assert!(told.header("ratelimit").contains(EXPORT_POLICY), "{told:?}");
            return;
        }
        until_up(t.app.part().expect("a link"), true).await;
    }
    panic!("Redis never answered in time");
}

#[tokio::test]
async fn processes_count_together_in_redis() {
    let redis = RedisServer::start(&[]);
    // 50 exports a minute, one back every 1.2 s.
    let one = process(None, &settings(&redis), 500).await;
    let other = process(Some(&one), &settings(&redis), 500).await;
    counted(&one, &[&other], 90, 50, Duration::from_millis(1200)).await;
}

#[tokio::test]
async fn without_redis_each_process_counts_at_the_same_policy_until_it_is_back() {
    let mut redis = RedisServer::start(&[]);
    let t = process(None, &settings(&redis), 500).await;
    let link: &RedisLink = t.app.part().expect("a link");
    counted(&t, &[], 60, 50, Duration::from_millis(1200)).await;

    let a = t.tenant("a").await;
    redis.kill();
    let began = Instant::now();
    let mut alone = Vec::new();
    for _ in 0..80 {
        alone.push(a.get(EXPORT).await);
    }
    let back = began.elapsed().as_millis() as usize / 1200 + 1;
    let count = admitted(&alone);
    assert!((50..=50 + back).contains(&count), "{count}, {back} came back");
    assert!(
        alone
            .iter()
            .all(|answer| [200, 429].contains(&answer.status.as_u16()))
    );
    assert!(!link.is_up());

    redis.restart();
    until_up(link, true).await;
    counted(&t, &[], 60, 50, Duration::from_millis(1200)).await;
}

#[tokio::test]
async fn a_redis_that_stalls_delays_nobody_for_long_and_fails_nothing() {
    let redis = RedisServer::start(&[]);
    let t = process(None, &settings(&redis), 100).await;
    let link: &RedisLink = t.app.part().expect("a link");
    let a = t.tenant("a").await;
    a.get("/brands").await.ok();
    redis.stall();
    let mut slowest = Duration::ZERO;
    let began = Instant::now();
    // Longer than it takes to try for another connection.
    while began.elapsed() < Duration::from_secs(3) {
        let asked = Instant::now();
        a.get("/brands").await.ok();
        slowest = slowest.max(asked.elapsed());
        sleep(Duration::from_millis(20)).await;
    }
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    redis.resume();
    until_up(link, true).await;
    a.get("/brands").await.ok();
}

/// As after a clock that was ahead, or a rate that was slower.
#[tokio::test]
async fn what_lies_further_ahead_than_a_window_comes_back_within_one() {
    let redis = RedisServer::start(&[]);
    let t = process(None, &settings(&redis), 100).await;
    let link: &RedisLink = t.app.part().expect("a link");
    let a = t.tenant("a").await;
    a.get("/brands").await.ok();
    let patience = Duration::from_secs(5);
    let command = async |script: &'static str| -> i64 {
        let script = redis_link::redis::Script::new(script);
        let call = script.prepare_invoke();
        let asked = link.ask(patience, async |mut connection| {
            call.invoke_async(&mut connection).await
        });
        asked.await.expect("an answer")
    };
    let ahead = "local now = redis.call('TIME')[1]
        for _, key in ipairs(redis.call('KEYS', 'ally360:rate:*')) do
          redis.call('SET', key, string.format('%.0f', (now + 36000) * 1000000))
        end
        return #redis.call('KEYS', 'ally360:rate:*')";
    assert!(command(ahead).await > 0);
    a.get("/brands").await.problem(429, "rate-limited");
    let furthest = "local now, furthest = redis.call('TIME')[1], 0
        for _, key in ipairs(redis.call('KEYS', 'ally360:rate:*')) do
          furthest = math.max(furthest, redis.call('GET', key) / 1000000 - now)
        end
        return math.ceil(furthest)";
    let furthest = command(furthest).await;
    assert!(furthest <= 61, "{furthest} s");
}
