//! What the queue costs the database: reads by index, a history that is dropped by days.

use std::time::{Duration, Instant};

use sqlx::PgConnection;

use super::support::{app, execute, number, quick, sql, start};

/// How often the whole table was read so far.
async fn whole_reads(conn: &mut PgConnection) -> i64 {
    // Backends report what they did when they end, or a second later.
    tokio::time::sleep(Duration::from_millis(1200)).await;
    execute(conn, "select pg_stat_force_next_flush()").await;
    number(
        conn,
        "select seq_scan from pg_stat_user_tables where relid = 'ally.jobs'::regclass",
    )
    .await
}

#[tokio::test]
async fn a_worker_never_reads_the_whole_queue() {
    let t = app().await;
    let mut conn = sql(&t).await;
    execute(
        &mut conn,
        "insert into companies (tenant_id, name, nit, nit_check_digit, phone_number)
         select md5(n::text)::uuid, 'c', '900123456', '8', '+573001234567' from generate_series(1, 300) as n;
         insert into jobs (tenant_id, id, name, payload, state, run_at)
         select md5((case when n % 5 = 0 then 1 + n / 5 % 299 else 300 end)::text)::uuid, gen_random_uuid(), 'test.act',
                jsonb_build_object('n', n), case when n % 50 = 0 then 'scheduled' else 'ready' end,
                now() + case when n % 100 = 0 then interval '1 h' else interval '0' end
           from generate_series(1, 100000) as n;
         analyze jobs;",
    )
    .await;
    let before = whole_reads(&mut conn).await;
    let begun = Instant::now();
    let worker = start(&t, quick());
    tokio::time::sleep(Duration::from_secs(4)).await;
    worker.stop().await;
    let took = begun.elapsed();
    let after = whole_reads(&mut conn).await;
    let ran = number(&mut conn, "select count(*) from effects").await;
    let served = number(&mut conn, "select count(distinct tenant_id) from effects").await;
    eprintln!("of 100,000 jobs of 300 companies {ran} ran in {took:?}, of {served} companies");
    assert!(ran > 100, "{ran}");
    assert_eq!(after - before, 0, "jobs was read from end to end");
}

#[tokio::test]
async fn the_history_is_kept_by_days_and_dropped_by_days() {
    let t = app().await;
    let mut conn = sql(&t).await;
    execute(
        &mut conn,
        "create table job_runs_20200101 partition of job_runs for values from ('2020-01-01 00:00+00') to ('2020-01-02 00:00+00');
         insert into jobs (tenant_id, id, name, payload, state, ended_at) select gen_random_uuid(), gen_random_uuid(), 'x', '{}', state, ended
           from unnest(array['dead', 'cancelled']) as state, unnest(array[now(), now() - interval '30 days']) as ended",
    )
    .await;
    let worker = start(&t, quick());
    super::support::until_number(&t, "select count(*) from jobs", 2, Duration::from_secs(10)).await;
    let days = "select count(*) from pg_inherits where inhparent = 'job_runs'::regclass";
    assert_eq!(number(&mut conn, days).await, 8, "today and the week to come");
    assert_eq!(
        number(
            &mut conn,
            "select (to_regclass('job_runs_20200101') is null)::integer::bigint"
        )
        .await,
        1
    );
    worker.stop().await;
}
