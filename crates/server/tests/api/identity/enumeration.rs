//! Nobody learns which addresses have accounts: neither by what is answered nor by how long it takes.

use std::time::Instant;

use http::HeaderMap;
use serde_json::{Value, json};
use testkit::{Answer, TestApp};

use super::registration;

/// Rounds of a measurement; each asks about a known and an unknown address in turns.
const ROUNDS: i32 = 60;
const PATHS: [&str; 2] = ["/auth/request-password-reset", "/auth/resend-verification"];

fn visible(mut answer: Answer) -> (u16, HeaderMap, Value) {
    answer.headers.remove("x-request-id");
    (answer.status.as_u16(), answer.headers, answer.json)
}

async fn ask(t: &TestApp, path: &str, email: &str) -> Answer {
    t.anonymous().post(path, json!({"email": email})).await
}

#[tokio::test]
async fn asking_for_mails_answers_the_same() {
    let t = super::app_that_verifies().await;
    let verified = t.user("ana").await.email;
    let waiting = "eva@example.com";
    t.anonymous()
        .post("/auth/register", registration(waiting, "una frase bien larga"))
        .await
        .created();
    let disabled = t.user("bob").await;
    super::set_active(&mut t.superuser().await, disabled.user_id, false).await;
    for path in PATHS {
        let unknown = visible(ask(&t, path, "nobody@example.com").await);
        assert_eq!(unknown.0, 202);
        for email in [verified.as_str(), waiting, disabled.email.as_str()] {
            assert_eq!(visible(ask(&t, path, email).await), unknown, "{path} {email}");
        }
    }
}

#[tokio::test]
async fn asking_for_mails_takes_the_same_time() {
    let t = super::app_that_verifies().await;
    for path in PATHS {
        // What else the machine does only adds; what the program does is in the least of any number.
        let mut least = [u128::MAX; 2];
        let alike = |[known, unknown]: [u128; 2]| known * 10 < unknown * 13 && unknown * 10 < known * 13;
        for _ in 0..10 {
            for (least, time) in least.iter_mut().zip(least_times(&t, path).await) {
                *least = time.min(*least);
            }
            if alike(least) {
                break;
            }
        }
        assert!(alike(least), "{path}: known and unknown took {least:?} us");
    }
}

/// The least times in microseconds for known and unknown addresses, taken in turns.
async fn least_times(t: &TestApp, path: &str) -> [u128; 2] {
    let known: Vec<String> = sqlx::query_scalar(
        "insert into ally.users (id, email, password_hash, first_name, last_name, email_verified_at)
         select id, id || '@example.com', '', 'Ana', 'Paz', case when $1 = '/auth/resend-verification' then null else now() end
           from (select gen_random_uuid() as id from generate_series(1, $2)) as ids
         returning email",
    )
    .bind(path)
    .bind(ROUNDS)
    .fetch_all(&mut t.superuser().await)
    .await
    .expect("users");
    let mut least = [u128::MAX; 2];
    for (round, known) in known.iter().enumerate() {
        let emails = [known.clone(), known.replace('-', "_")];
        // Each goes first as often as the other.
        for which in [round % 2, 1 - round % 2] {
            let started = Instant::now();
            ask(t, path, &emails[which]).await.status(202);
            least[which] = started.elapsed().as_micros().min(least[which]);
        }
    }
    least
}

#[tokio::test]
async fn the_work_for_a_known_and_an_unknown_address_is_the_same() {
    let t = super::app_that_verifies().await;
    let known = t.user("ana").await.email;
    let rows = "select (select count(*) from ally.mail_requests), (select count(*) from ally.jobs), (select count(*) from ally.email_tokens)";
    let mut conn = t.superuser().await;
    for path in PATHS {
        let mut work = Vec::new();
        for email in [known.as_str(), "nobody@example.com"] {
            let before: (i64, i64, i64) = sqlx::query_as(rows).fetch_one(&mut conn).await.expect("rows");
            ask(&t, path, email).await.status(202);
            let after: (i64, i64, i64) = sqlx::query_as(rows).fetch_one(&mut conn).await.expect("rows");
            work.push((after.0 - before.0, after.1 - before.1, after.2 - before.2));
        }
        assert_eq!(
            work,
            [(1, 1, 0), (1, 1, 0)],
            "{path}: nothing is looked up before the answer"
        );
    }
}
