//! A change is seen by every process, at once while it is heard, within seconds when it is not.

use std::time::{Duration, Instant};

use futures::future::join_all;
use redis_link::RedisLink;
use serde_json::json;
use sqlx::{Connection, Executor, PgConnection};
use testkit::{Client, RedisServer, TestApp};

use super::{PATH, settings};
use crate::app;
use crate::redis::{link, until_up};

/// Many times what a notification takes, and less than what is cached lives.
const SOON: Duration = Duration::from_secs(3);

/// Asks until the company's language is this; how long that took.
async fn until_language(client: &Client, language: &str, within: Duration) -> Duration {
    let begun = Instant::now();
    while settings(client).await["language"] != language {
        assert!(begun.elapsed() < within, "not {language} after {within:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    begun.elapsed()
}

async fn set_language(conn: &mut PgConnection, client: &Client, language: &str) {
    sqlx::query(
        "update ally.companies set settings = jsonb_build_object('language', $2) where tenant_id = $1",
    )
    .bind(client.company())
    .bind(language)
    .execute(conn)
    .await
    .expect("settings");
}

/// A connection whose changes notify nobody.
async fn unheard(t: &TestApp) -> PgConnection {
    let mut conn = t.superuser().await;
    conn.execute("set session_replication_role = replica")
        .await
        .expect("superuser");
    conn
}

/// Changes the language here often, and asserts that it is seen there within a tenth of a second: in the median, since
/// a machine may be busy. What is cached lives many times as long.
async fn told_at_once(here: &Client, there: &Client) {
    let mut times = Vec::new();
    for language in ["en", "es"].repeat(5) {
        settings(there).await;
        here.patch(PATH, json!({"language": language})).await.ok();
        assert_eq!(settings(here).await["language"], language);
        times.push(until_language(there, language, SOON).await);
    }
    times.sort();
    let median = times[times.len() / 2];
    assert!(median < Duration::from_millis(100), "{times:?}");
}

/// Those who listen, at least this many.
async fn listeners(conn: &mut PgConnection, at_least: usize) -> Vec<i32> {
    let begun = Instant::now();
    loop {
        let pids: Vec<i32> = sqlx::query_scalar(
            "select pid from pg_stat_activity
              where datname = current_database() and query ilike 'listen%ally_changes%'",
        )
        .fetch_all(&mut *conn)
        .await
        .expect("pg_stat_activity");
        if pids.len() >= at_least {
            // LISTEN counts once it has committed, which the next statement of ours does not wait for.
            tokio::time::sleep(Duration::from_millis(100)).await;
            return pids;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "nobody listens");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Two processes, both hearing, and the owner of a company at each.
async fn two(t: &TestApp) -> (TestApp, Client, Client) {
    let other = t.again(server::service, |_| {}).await;
    let here = t.tenant("a").await;
    let there = here.on(&other);
    listeners(&mut t.superuser().await, 2).await;
    (other, here, there)
}

#[tokio::test]
async fn a_change_here_is_seen_here_at_once_and_there_when_it_is_heard() {
    let t = app().await;
    let (_other, here, there) = two(&t).await;
    told_at_once(&here, &there).await;
}

#[tokio::test]
async fn a_cut_listener_empties_the_cache_and_comes_back() {
    let t = app().await;
    let owner = t.tenant("a").await;
    let mut conn = t.superuser().await;
    let [pid] = listeners(&mut conn, 1).await[..] else {
        panic!("one listener")
    };
    settings(&owner).await;
    let mut unheard = unheard(&t).await;
    set_language(&mut unheard, &owner, "en").await;
    sqlx::query("select pg_terminate_backend($1)")
        .bind(pid)
        .execute(&mut conn)
        .await
        .expect("terminate");
    until_language(&owner, "en", SOON).await;
    let [again] = listeners(&mut conn, 1).await[..] else {
        panic!("one listener")
    };
    assert_ne!(again, pid);
    set_language(&mut conn, &owner, "es").await;
    until_language(&owner, "es", SOON).await;
}

#[tokio::test]
async fn a_change_that_nobody_hears_counts_within_seconds() {
    let t = app().await;
    let owner = t.tenant("a").await;
    listeners(&mut t.superuser().await, 1).await;
    settings(&owner).await;
    let mut unheard = unheard(&t).await;
    set_language(&mut unheard, &owner, "en").await;
    assert_eq!(settings(&owner).await["language"], "es", "it is cached");
    until_language(&owner, "en", kernel::changes::MAX_AGE * 3).await;
}

/// The two, linked by Redis, with a database that notifies nobody.
#[tokio::test]
async fn redis_tells_of_changes_too_and_without_either_they_count_within_seconds() {
    let t = app().await;
    let (other, here, there) = two(&t).await;
    let mut redis = RedisServer::start(&[]);
    let links = [link(&t, &redis).await, link(&other, &redis).await];
    for (link, app) in links.iter().zip([&t.app, &other.app]) {
        redis_link::share_changes(link, app);
    }
    until_subscribed(&links[0], 2).await;
    t.superuser()
        .await
        .execute("alter table ally.companies disable trigger tell_change")
        .await
        .expect("no notification");
    told_at_once(&here, &there).await;

    redis.kill();
    settings(&there).await;
    here.patch(PATH, json!({"language": "en"})).await.ok();
    assert_eq!(
        settings(&here).await["language"],
        "en",
        "where it was made, at once"
    );
    until_language(&there, "en", kernel::changes::MAX_AGE * 3).await;

    redis.restart();
    until_up(&links[0], true).await;
    until_subscribed(&links[0], 2).await;
    told_at_once(&here, &there).await;
}

/// Waits until so many hear changes.
async fn until_subscribed(link: &RedisLink, count: i64) {
    let begun = Instant::now();
    loop {
        let subscribed = link.ask(Duration::from_secs(1), async |mut connection| {
            let mut command = redis_link::redis::cmd("PUBSUB");
            command.arg("NUMSUB").arg("ally360:changes");
            command.query_async::<(String, i64)>(&mut connection).await
        });
        if subscribed.await.is_ok_and(|(_, subscribed)| subscribed >= count) {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "nobody subscribes");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// While the company's row cannot be read, a hundred requests wait for one who reads it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_requests_at_once_load_once() {
    let t = app().await;
    let owner = t.tenant("a").await;
    settings(&owner).await;
    let mut conn = t.superuser().await;
    listeners(&mut conn, 1).await;
    let mut lock = conn.begin().await.expect("a transaction");
    sqlx::query("update ally.companies set settings = '{\"language\": \"en\"}' where tenant_id = $1")
        .bind(owner.company())
        .execute(&mut *lock)
        .await
        .expect("settings");
    lock.commit().await.expect("committed");
    until_language(&owner, "en", SOON).await;

    // Only those who have forgotten ask.
    let mut lock = conn.begin().await.expect("a transaction");
    sqlx::query("lock table ally.companies in access exclusive mode")
        .execute(&mut *lock)
        .await
        .expect("the lock");
    t.app.changes.changed(owner.company()).await;
    let caller = t.app.part::<company_settings::SettingsCache>().expect("settings");
    let asked = (0..100).map(|_| caller.of(owner.company()));
    let watched = async {
        let mut watcher = t.superuser().await;
        let waiting = "select count(*) from pg_stat_activity
            where datname = current_database() and wait_event_type = 'Lock' and query ilike '%from companies%'";
        let begun = Instant::now();
        let mut most: i64 = 0;
        while begun.elapsed() < Duration::from_secs(5)
            && (most == 0 || begun.elapsed() < Duration::from_millis(500))
        {
            let now: i64 = sqlx::query_scalar(waiting)
                .fetch_one(&mut watcher)
                .await
                .expect("a count");
            most = most.max(now);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        lock.rollback().await.expect("released");
        most
    };
    let (loaded, most) = tokio::join!(join_all(asked), watched);
    assert_eq!(most, 1, "who wait for the database");
    for settings in loaded {
        assert_eq!(settings.expect("loaded").language, kernel::language::Language::En);
    }
}
