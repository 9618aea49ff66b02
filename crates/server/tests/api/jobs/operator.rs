//! The operator's view, and who may have it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use testkit::{Client, TestApp};

use super::support::{Act, Step, enqueue, execute, number, prepare, quick, rows, sql, start, until_number};

const TOKEN: &str = "an operator token of the tests, long enough";

async fn with_operator() -> (TestApp, Client) {
    let t = TestApp::with(server::service, |config| {
        config.auth.operator_token = Some(TOKEN.to_owned());
    })
    .await;
    prepare(&t).await;
    let operator = t.anonymous().with_token(TOKEN);
    (t, operator)
}

/// As a browser that was asked for a password.
fn browser(t: &TestApp, password: &str) -> Client {
    let pair = STANDARD.encode(format!("anyone:{password}"));
    t.anonymous()
        .with_header("Authorization", &format!("Basic {pair}"))
}

#[tokio::test]
async fn the_view_asks_for_the_token_and_does_not_exist_without_one() {
    let (t, operator) = with_operator().await;
    for path in ["/operator/jobs", "/operator/jobs.json"] {
        operator.get(path).await.ok();
        browser(&t, TOKEN).get(path).await.ok();
        let owner = t.tenant("a").await;
        for refused in [
            t.anonymous(),
            owner,
            browser(&t, "wrong"),
            browser(&t, ""),
            operator.with_token(&TOKEN[1..]),
        ] {
            let answer = refused.get(path).await.problem(401, "unauthenticated");
            assert_eq!(
                answer.header("www-authenticate"),
                "Basic realm=\"ally360 operator\", charset=\"UTF-8\""
            );
        }
    }
    let closed = crate::app().await;
    for client in [
        closed.anonymous(),
        closed.anonymous().with_token(TOKEN),
        browser(&closed, ""),
    ] {
        client.get("/operator/jobs").await.problem(404, "not-found");
    }
}

#[tokio::test]
async fn the_numbers_are_those_of_the_queue() {
    let (t, operator) = with_operator().await;
    let (a, b) = (t.tenant("Panadería").await, t.tenant("b").await);
    let mut conn = sql(&t).await;
    for n in 0..3 {
        enqueue(&t, &a, &Act::new(n, &[])).await;
    }
    enqueue(&t, &b, &Act::new(3, &[Step::Fail("no".to_owned())])).await;
    enqueue(&t, &b, &Act::new(4, &[Step::Later(100)])).await;
    let worker = start(&t, quick());
    until_number(
        &t,
        "select count(*) from jobs where state <> 'dead'",
        0,
        std::time::Duration::from_secs(10),
    )
    .await;
    worker.stop().await;
    for n in 0..5 {
        enqueue(&t, &a, &Act::new(n, &[])).await;
    }
    execute(
        &mut conn,
        "update jobs set state = 'scheduled', run_at = now() - interval '90 s' where payload->>'n' = '4'",
    )
    .await;

    let numbers = operator.get("/operator/jobs.json").await.ok().json;
    let queue = &numbers["queues"][0];
    for (field, expected) in [
        ("ready", 4),
        ("running", 0),
        // Due, and no worker is there to see it.
        ("scheduled", 1),
        ("dead", 1),
        ("done_last_hour", 4),
        ("failed_last_hour", 1),
        ("postponed_last_hour", 2),
    ] {
        assert_eq!(queue[field], expected, "{field} of {queue}");
    }
    assert!(
        (90..100).contains(&queue["oldest_seconds"].as_i64().expect("seconds")),
        "{queue}"
    );
    assert_eq!(numbers["companies"][0]["company"], "Panadería");
    assert_eq!(numbers["companies"][0]["ready"], 4);
    assert_eq!(numbers["companies"][0]["oldest_seconds"], queue["oldest_seconds"]);
    assert_eq!(numbers["companies"][1]["dead"], 1);
    assert_eq!(
        (&numbers["dead"][0]["error"], &numbers["dead"][0]["company"]),
        (&"no".into(), &"b".into())
    );
    let minutes = numbers["done_per_minute"].as_array().expect("minutes");
    assert_eq!(
        (
            minutes.len(),
            minutes.iter().filter_map(serde_json::Value::as_i64).sum::<i64>()
        ),
        (60, 4)
    );
}

#[tokio::test]
async fn the_page_escapes_everything_and_runs_nothing_but_its_own() {
    let (t, operator) = with_operator().await;
    let attack = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>";
    let a = t.tenant("a").await;
    let id = enqueue(&t, &a, &Act::new(1, &[])).await;
    let mut conn = sql(&t).await;
    let quoted = attack.replace('\'', "''");
    execute(&mut conn, &format!("update jobs set state = 'dead', name = '{quoted}', queue = '{quoted}', last_error = '{quoted}', request_id = '{quoted}'; update companies set name = '{quoted}'")).await;
    execute(&mut conn, &format!("insert into jobs (tenant_id, id, name, payload, state, worker, started_at, lease_until, progress_message) select tenant_id, gen_random_uuid(), '{quoted}', '{{}}', 'running', id, now(), now(), '{quoted}' from jobs where id = '{id}'")).await;

    let answer = operator.get("/operator/jobs").await.ok();
    let page = answer.text();
    assert!(
        !page.contains("<script>") && !page.contains("<img") && !page.contains("'><"),
        "{page}"
    );
    assert!(page.contains("&lt;script&gt;alert(1)"), "{page}");
    assert!(page.contains("lang=\"es\"") && page.contains("Reintentar"));
    let policy = answer.header("content-security-policy");
    let nonce = policy
        .split("script-src 'nonce-")
        .nth(1)
        .and_then(|rest| rest.split('\'').next())
        .expect("nonce");
    assert!(
        policy.starts_with("default-src 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    assert!(
        nonce.len() == 32 && page.contains(&format!("<script nonce=\"{nonce}\">")),
        "{policy}"
    );
    assert_ne!(
        operator
            .get("/operator/jobs")
            .await
            .header("content-security-policy"),
        policy
    );
    for english in [
        operator.get("/operator/jobs?lang=en").await,
        operator
            .with_header("Accept-Language", "en-US,es;q=0.5")
            .get("/operator/jobs")
            .await,
    ] {
        assert!(english.text().contains("lang=\"en\"") && english.text().contains("Retry"));
    }
}

#[tokio::test]
async fn a_dead_job_is_retried_from_the_page_and_from_nowhere_else() {
    let (t, operator) = with_operator().await;
    let a = t.tenant("a").await;
    let id = enqueue(&t, &a, &Act::new(1, &[])).await;
    let mut conn = sql(&t).await;
    execute(
        &mut conn,
        "update jobs set state = 'dead', failures = 3, lost = 3, ended_at = now()",
    )
    .await;
    let path = format!("/operator/jobs/{}/{id}/retry?lang=en", a.company());
    assert!(
        operator
            .get("/operator/jobs?lang=en")
            .await
            .text()
            .contains(&format!("action=\"{path}\""))
    );

    let browser = browser(&t, TOKEN);
    browser
        .post_form(&path, &[])
        .await
        .problem(403, "cross-site-request");
    for site in ["cross-site", "same-site", "none"] {
        browser
            .with_header("Sec-Fetch-Site", site)
            .post_form(&path, &[])
            .await
            .problem(403, "cross-site-request");
    }
    let foreign = browser
        .with_header("Host", "ally.example")
        .with_header("Origin", "https://evil.example");
    foreign
        .post_form(&path, &[])
        .await
        .problem(403, "cross-site-request");
    t.anonymous()
        .with_header("Sec-Fetch-Site", "same-origin")
        .post_form(&path, &[])
        .await
        .problem(401, "unauthenticated");
    assert_eq!(
        number(&mut conn, "select count(*) from jobs where state = 'dead'").await,
        1
    );

    let own = browser.with_header("Sec-Fetch-Site", "same-origin");
    let answer = own.post_form(&path, &[]).await.status(303);
    assert_eq!(answer.header("location"), "/operator/jobs?lang=en");
    assert_eq!(
        rows(&mut conn, "select state, failures, lost from jobs").await,
        ["ready 0 0"]
    );
    own.post_form(&path, &[]).await.problem(409, "job-not-ended");
    operator
        .post_form(
            &path.replace(&id.to_string(), &uuid::Uuid::nil().to_string()),
            &[],
        )
        .await
        .problem(404, "not-found");
}
