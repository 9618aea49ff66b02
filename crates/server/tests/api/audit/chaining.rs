//! Chaining beside writers: every entry gets one link, and nobody waits.

use std::time::Duration;

use futures::future::join_all;
use serde_json::json;
use sqlx::Connection;
use tokio::time::{Instant, sleep};

use super::{chain, create_brand, execute, whole};
use crate::app;

const WRITERS: usize = 16;
const WRITES: usize = 15;

#[tokio::test(flavor = "multi_thread")]
async fn parallel_writers_and_chainers_make_one_chain() {
    let t = app().await;
    let a = t.tenant("a").await;
    let writers = (0..WRITERS).map(|writer| {
        let a = a.clone();
        async move {
            for write in 0..WRITES {
                create_brand(&a, &format!("Brand {writer} {write}")).await;
            }
        }
    });
    let chainers = (0..3).map(|_| async {
        for _ in 0..10 {
            audit::chain(&t.app).await.expect("chained");
        }
    });
    tokio::join!(join_all(writers), join_all(chainers));
    let links = whole(&t, a.company()).await;
    // The company and its owner's membership come first.
    assert_eq!(links, (WRITERS * WRITES) as i64 + 2);
    let twice: i64 = sqlx::query_scalar(
        "select count(*) - count(distinct entry_id) + count(*) - count(distinct seq) from ally.audit_links",
    )
    .fetch_one(&mut t.superuser().await)
    .await
    .expect("links");
    assert_eq!(twice, 0);
}

/// A transaction that commits after later ones were chained is chained then.
#[tokio::test]
async fn what_commits_late_is_not_missed() {
    let t = app().await;
    let a = t.tenant("a").await;
    let mut late = t.superuser().await;
    let mut open = late.begin().await.expect("begin");
    execute(
        &mut open,
        &format!(
            "insert into ally.brands (tenant_id, id, name) values ('{}', '{}', 'Late')",
            a.company(),
            uuid::Uuid::from_u128(1)
        ),
    )
    .await
    .expect("insert");
    for round in 0..5 {
        create_brand(&a, &format!("Early {round}")).await;
        audit::chain(&t.app).await.expect("chained");
    }
    // Those before the open one; those after it wait, for their place in the order is not known yet.
    let deadline = Instant::now() + Duration::from_secs(30);
    let report = loop {
        audit::chain(&t.app).await.expect("chained");
        let report = audit::verify(&t.app, a.company(), &[]).await.expect("verified");
        if report.links == 2 {
            break report;
        }
        assert!(Instant::now() < deadline, "{report:?}");
        sleep(Duration::from_millis(50)).await;
    };
    assert_eq!((report.faults, report.waiting), (vec![], 5));
    open.commit().await.expect("commit");
    assert_eq!(whole(&t, a.company()).await, 8);
}

/// A restored copy counts its transactions anew, from below those of the rows in it.
#[tokio::test]
async fn a_restored_database_goes_on() {
    let t = app().await;
    let a = t.tenant("a").await;
    create_brand(&a, "Chained").await;
    chain(&t, a.company()).await;
    create_brand(&a, "Waiting").await;
    let mut conn = t.superuser().await;
    // As if the rows came from a cluster far ahead.
    execute(
        &mut conn,
        "update ally.audit_progress set chained_below = chained_below + 1000000000,
           seen_xact = seen_xact + 1000000000, next_xact = next_xact + 1000000000",
    )
    .await
    .expect("progress");
    create_brand(&a, "New").await;
    assert_eq!(whole(&t, a.company()).await, 5);
    create_brand(&a, "Newer").await;
    assert_eq!(whole(&t, a.company()).await, 6);
}

/// More than one batch.
#[tokio::test]
async fn a_large_import_is_chained_whole() {
    let t = app().await;
    let a = t.tenant("a").await;
    let mut conn = t.superuser().await;
    execute(
        &mut conn,
        &format!(
            "insert into ally.brands (tenant_id, id, name)
             select '{}', gen_random_uuid(), 'Brand ' || n from generate_series(1, 5000) as n",
            a.company()
        ),
    )
    .await
    .expect("import");
    assert_eq!(whole(&t, a.company()).await, 5002);
}

/// The job is there, and does it.
#[tokio::test]
async fn the_scheduled_job_chains() {
    let t = app().await;
    let a = t.tenant("a").await;
    a.post("/brands", json!({"name": "Café"})).await.created();
    let (_, schedules) = server::jobs();
    let chaining: Vec<_> = schedules
        .into_iter()
        .filter(|s| s.name.starts_with("audit."))
        .collect();
    // Entries wait while any transaction of the server is older than they are, also one of another database.
    for minute in 0.. {
        assert!(minute < 100, "nothing was chained");
        let slot = t.app.clock.now() + jiff::SignedDuration::from_mins(minute);
        let planned = worker::plan(&t.app, &chaining, kernel::types::Timestamp(slot)).await;
        assert!(
            planned.expect("planned") > 0,
            "the schedule has no slot in a minute"
        );
        t.run_jobs().await;
        let report = audit::verify(&t.app, a.company(), &[]).await.expect("verified");
        assert_eq!((report.links + report.waiting, report.faults), (3, vec![]));
        if report.waiting == 0 {
            break;
        }
        sleep(Duration::from_millis(100)).await;
    }
}
