//! The history changes its partitions beside those who read it for long.

use std::time::{Duration, Instant};

use super::support::{app, execute, number, rows, sql};

const DAYS: &str = "select count(*) from pg_inherits where inhparent = 'job_runs'::regclass";

#[tokio::test]
async fn a_backup_keeps_nobody_from_the_history() {
    let t = app().await;
    let mut conn = sql(&t).await;
    execute(
        &mut conn,
        "create table job_runs_20200101 partition of job_runs for values from ('2020-01-01') to ('2020-01-02')",
    )
    .await;
    // As after a night: the last of the days to come is not there yet.
    let last = rows(&mut conn, "select max(relname) from pg_inherits join pg_class on oid = inhrelid where inhparent = 'job_runs'::regclass").await;
    execute(&mut conn, &format!("drop table {}", last[0])).await;
    let days = number(&mut conn, DAYS).await;
    let mut backup = sql(&t).await;
    execute(&mut backup, "begin; lock table job_runs in access share mode").await;

    let begun = Instant::now();
    execute(&mut conn, "select job_runs_rotate(14)").await;
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(number(&mut conn, DAYS).await, days + 1, "made, and none dropped");
    let run = "insert into job_runs (tenant_id, job_id, attempt, queue, name, outcome, enqueued_at, started_at, finished_at)
               select gen_random_uuid(), gen_random_uuid(), 1, 'default', 'test.act', 'done', now(), now(), now() + n * interval '1 day'
                 from generate_series(0, 7) as n";
    execute(&mut conn, run).await;

    execute(&mut backup, "commit").await;
    execute(&mut conn, "select job_runs_rotate(14)").await;
    assert_eq!(number(&mut conn, DAYS).await, days, "the old day is gone");
    assert_eq!(number(&mut conn, "select count(*) from job_runs").await, 8);
}

/// What is made apart and attached is as what is made in place.
#[tokio::test]
async fn partitions_have_the_indexes_and_the_guard_of_their_table() {
    let t = app().await;
    let mut conn = sql(&t).await;
    for parent in ["job_runs", "audit_entries", "audit_links", "security_events"] {
        let unlike = format!(
            "select child.relname from pg_inherits
               join pg_class as child on child.oid = inhrelid join pg_class as parent on parent.oid = inhparent
              where inhparent = '{parent}'::regclass
                and ((child.relrowsecurity, child.relforcerowsecurity) <> (parent.relrowsecurity, parent.relforcerowsecurity)
                     or (select count(*) from pg_index where indrelid = child.oid and indisvalid)
                        <> (select count(*) from pg_index where indrelid = parent.oid)
                     or (select count(*) from pg_index join pg_inherits as i on i.inhrelid = indexrelid where indrelid = child.oid)
                        <> (select count(*) from pg_index where indrelid = parent.oid))"
        );
        assert_eq!(rows(&mut conn, &unlike).await, [""; 0], "{parent}");
    }
}
