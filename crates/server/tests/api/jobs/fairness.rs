//! Who is served when: between companies, at the cap, and how soon.

use std::time::{Duration, Instant};

use worker::Options;

use super::support::{Act, Mail, app, drained, enqueue, execute, number, quick, sql, start, until_number};

const BIG: &str = "00000000-0000-4000-8000-000000000000";

/// Jobs of a company, straight into the queue.
fn flood(company: &str, jobs: u32, steps: &str) -> String {
    format!(
        "insert into companies (tenant_id, name, nit, nit_check_digit, phone_number)
         values ('{company}', 'c', '900123456', '8', '+573001234567') on conflict do nothing;
         insert into jobs (tenant_id, id, name, payload)
         select '{company}', gen_random_uuid(), 'test.act', jsonb_build_object('n', n, 'steps', '{steps}'::jsonb)
           from generate_series(1, {jobs}) as n;"
    )
}

fn company(number: u32) -> String {
    format!("00000000-0000-4000-9000-{number:012}")
}

#[tokio::test]
async fn a_company_with_twenty_thousand_jobs_delays_nobody() {
    let t = app().await;
    let mut conn = sql(&t).await;
    execute(&mut conn, &flood(BIG, 20_000, r#"[{"Sleep": 5}]"#)).await;
    for number in 1..=50 {
        execute(&mut conn, &flood(&company(number), 1, r#"[{"Sleep": 5}]"#)).await;
    }
    execute(&mut conn, "analyze jobs").await;
    let begun = Instant::now();
    let workers = [start(&t, quick()), start(&t, quick())];
    let small = "select count(*) from effects where tenant_id <> '00000000-0000-4000-8000-000000000000'";
    until_number(&t, small, 50, Duration::from_secs(30)).await;
    let waited = begun.elapsed();
    let before = number(
        &mut conn,
        "select count(*) from effects where tenant_id = '00000000-0000-4000-8000-000000000000' and at <=
           (select max(at) from effects where tenant_id <> '00000000-0000-4000-8000-000000000000')",
    )
    .await;
    eprintln!(
        "50 companies with one job each were done after {waited:?}, {before} jobs of the big one before"
    );
    assert!(before < 300, "{before}");
    for worker in workers {
        worker.stop().await;
    }
}

#[tokio::test]
async fn no_company_ever_runs_more_than_its_cap() {
    let t = app().await;
    let mut conn = sql(&t).await;
    execute(&mut conn, &flood(BIG, 120, r#"[{"Sleep": 60}]"#)).await;
    execute(&mut conn, &flood(&company(1), 120, r#"[{"Sleep": 60}]"#)).await;
    let options = Options {
        per_tenant: 3,
        ..quick()
    };
    let workers = [
        start(&t, options.clone()),
        start(&t, options.clone()),
        start(&t, options),
    ];
    let mut most = 0;
    let mut samples = 0;
    while number(&mut conn, "select count(*) from jobs").await > 0 {
        let running = "select coalesce(max(running), 0)::bigint from
                         (select count(*) as running from jobs where state = 'running' group by tenant_id) as by_company";
        most = most.max(number(&mut conn, running).await);
        samples += 1;
    }
    eprintln!("at most {most} running in {samples} samples");
    assert_eq!(most, 3, "the cap is held, and used");
    assert!(samples > 100, "{samples}");
    // The history says the same of every instant, not only of the sampled ones.
    let overlapping = "select coalesce(max(overlapping), 0) from (
        select count(*) as overlapping from job_runs as a join job_runs as b
            on b.tenant_id = a.tenant_id and b.started_at <= a.started_at and b.finished_at > a.started_at
         group by a.tenant_id, a.job_id) as runs";
    assert!(number(&mut conn, overlapping).await <= 3);
    for worker in workers {
        worker.stop().await;
    }
}

#[tokio::test]
async fn an_idle_worker_starts_a_job_within_milliseconds_of_the_commit() {
    let t = app().await;
    let a = t.tenant("a").await;
    let worker = start(&t, quick());
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut conn = sql(&t).await;
    for n in 0..25 {
        enqueue(&t, &a, &Act::new(n, &[])).await;
        drained(&t, Duration::from_secs(60)).await;
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    let median = "select percentile_cont(0.5) within group (order by extract(epoch from started_at - enqueued_at) * 1000)::bigint from job_runs";
    let most = "select max(extract(epoch from started_at - enqueued_at) * 1000)::bigint from job_runs";
    let (median, most) = (number(&mut conn, median).await, number(&mut conn, most).await);
    eprintln!("from enqueuing to start: median {median} ms, at most {most} ms");
    // Without the bell, half a second: the time between two looks at the queue, halved.
    assert!(median < 200, "{median} ms");
    worker.stop().await;
}

/// Figures for the documentation: `cargo nextest run -p server --test api --run-ignored only jobs`.
#[tokio::test]
#[ignore = "a measurement"]
async fn jobs_per_second_with_many_and_with_one_company() {
    let t = app().await;
    let mut conn = sql(&t).await;
    for (what, companies, jobs) in [("100 companies", 100, 40), ("one company", 1, 2000)] {
        for number in 1..=companies {
            execute(&mut conn, &flood(&company(number), jobs, "[]")).await;
        }
        execute(&mut conn, "analyze jobs").await;
        let begun = Instant::now();
        let workers = [
            start(
                &t,
                Options {
                    per_tenant: 8,
                    ..quick()
                },
            ),
            start(
                &t,
                Options {
                    per_tenant: 8,
                    ..quick()
                },
            ),
        ];
        drained(&t, Duration::from_secs(120)).await;
        let seconds = begun.elapsed().as_millis() / 100;
        eprintln!(
            "{what}: {} jobs in {} tenths of a second",
            companies * jobs,
            seconds
        );
        for worker in workers {
            worker.stop().await;
        }
    }
}

#[tokio::test]
async fn queues_that_stand_still_leave_the_others_a_slot() {
    let t = app().await;
    let a = t.tenant("a").await;
    let mut conn = sql(&t).await;
    for number in 1..=5 {
        execute(&mut conn, &flood(&company(number), 5, r#"["UntilCancelled"]"#)).await;
    }
    execute(
        &mut conn,
        "insert into jobs (tenant_id, id, queue, name, payload)
         select tenant_id, gen_random_uuid(), 'slow', 'test.slow', payload from jobs",
    )
    .await;
    // A slot for each of three queues, and two for any.
    let options = Options {
        concurrency: 5,
        ..quick()
    };
    let worker = start(&t, options);
    let running = "select count(*) from jobs where state = 'running'";
    until_number(&t, running, 4, Duration::from_secs(10)).await;
    for n in 0..3 {
        enqueue(&t, &a, &Mail(Act::new(n, &[]))).await;
        until_number(
            &t,
            "select count(*) from effects",
            i64::from(n) + 1,
            Duration::from_secs(10),
        )
        .await;
    }
    assert_eq!(number(&mut conn, running).await, 4);
    worker.stop().await;
}

#[tokio::test]
async fn the_installations_own_jobs_have_no_cap() {
    let t = app().await;
    let mut conn = sql(&t).await;
    execute(
        &mut conn,
        r#"insert into jobs (tenant_id, id, name, payload)
           select '00000000-0000-0000-0000-000000000000', gen_random_uuid(), 'test.act', '{"n": 1, "steps": ["UntilCancelled"]}'
             from generate_series(1, 9)"#,
    )
    .await;
    execute(&mut conn, &flood(&company(1), 9, r#"["UntilCancelled"]"#)).await;
    let options = Options {
        per_tenant: 2,
        concurrency: 8,
        queues: vec!["default".to_owned()],
        ..quick()
    };
    let worker = start(&t, options);
    let running = "select count(*) from jobs where state = 'running'";
    until_number(&t, running, 8, Duration::from_secs(10)).await;
    let of_company = "select count(*) from jobs where state = 'running' and tenant_id <> '00000000-0000-0000-0000-000000000000'";
    assert_eq!(
        number(&mut conn, of_company).await,
        2,
        "it has its turns, and no more"
    );
    worker.stop().await;
}

/// More companies than a claim looks at: each is served once before any is served again.
#[tokio::test]
async fn two_hundred_companies_take_turns() {
    let t = app().await;
    let mut conn = sql(&t).await;
    execute(
        &mut conn,
        "insert into companies (tenant_id, name, nit, nit_check_digit, phone_number)
         select gen_random_uuid(), 'c', '900123456', '8', '+573001234567' from generate_series(1, 200);
         insert into jobs (tenant_id, id, name, payload)
         select tenant_id, gen_random_uuid(), 'test.act', jsonb_build_object('n', n) from companies, generate_series(1, 3) as n;
         analyze jobs",
    )
    .await;
    let options = Options {
        concurrency: 1,
        queues: vec!["default".to_owned()],
        ..quick()
    };
    let worker = start(&t, options);
    let done = "select count(*) from effects";
    let begun = Instant::now();
    while number(&mut conn, done).await < 300 {
        assert!(begun.elapsed() < Duration::from_secs(60));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    worker.stop().await;
    let most = "select max(jobs) - min(jobs) from (
                  select count(effects.n) as jobs from companies left join effects using (tenant_id) group by tenant_id) as served";
    assert_eq!(number(&mut conn, most).await, 1);
}
