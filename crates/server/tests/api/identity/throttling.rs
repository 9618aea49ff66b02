//! Guessing passwords: how many guesses there are, and that nobody is locked out by others.

use std::time::Duration;

use testkit::{Answer, PASSWORD, TestApp};

use super::{DAY, registration};
use crate::app;

const ATTACKER: &str = "203.0.113.9";
const HOME: &str = "198.51.100.7";

async fn guess(t: &TestApp, address: &str, email: &str, password: &str) -> Answer {
    let form = [("username", email), ("password", password)];
    t.anonymous()
        .from_address(address)
        .post_form("/auth/login", &form)
        .await
}

/// Seconds of `Retry-After`.
fn pause(answer: &Answer) -> u64 {
    answer.header("retry-after").parse().expect("seconds")
}

#[tokio::test]
async fn failures_are_followed_by_growing_pauses() {
    let t = app().await;
    let user = t.user("ana").await;
    for _ in 0..5 {
        guess(&t, ATTACKER, &user.email, "wrong")
            .await
            .problem(401, "invalid-credentials");
    }
    let mut pauses = Vec::new();
    for _ in 0..12 {
        let blocked = guess(&t, ATTACKER, &user.email, PASSWORD)
            .await
            .problem(429, "too-many-attempts");
        pauses.push(pause(&blocked));
        t.app.clock.advance(Duration::from_secs(pause(&blocked)));
        guess(&t, ATTACKER, &user.email, "wrong")
            .await
            .problem(401, "invalid-credentials");
    }
    assert!(
        pauses.is_sorted() && pauses[0] <= 2 && pauses[4] >= 16,
        "{pauses:?}"
    );
    let longest = pauses.last().copied().unwrap_or_default();
    assert!((899..=901).contains(&longest), "a quarter of an hour: {longest}");
    // In time, the right password lets in, and all is forgotten.
    t.app.clock.advance(Duration::from_secs(901));
    guess(&t, ATTACKER, &user.email, PASSWORD).await.ok();
    guess(&t, ATTACKER, &user.email, "wrong")
        .await
        .problem(401, "invalid-credentials");
    guess(&t, ATTACKER, &user.email, PASSWORD).await.ok();
}

#[tokio::test]
async fn unknown_accounts_are_throttled_as_known_ones() {
    let t = app().await;
    let user = t.user("ana").await;
    let mut seen = Vec::new();
    for email in [user.email.as_str(), "nobody@example.com"] {
        let mut answers = Vec::new();
        for spelling in [email.to_owned(), email.to_uppercase()].iter().cycle().take(12) {
            let answer = guess(&t, ATTACKER, spelling, "wrong").await;
            answers.push((answer.summary(), answer.header("retry-after").to_owned()));
        }
        seen.push(answers);
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0][5].0, "429 too-many-attempts");
}

/// For the database `İ` is an `i`; for Rust it is another letter.
#[tokio::test]
async fn however_an_address_is_spelled_its_failures_are_counted_together() {
    let t = app().await;
    let user = t.user("mimi").await;
    let mut guesses = 0;
    for spelling in [
        "mimi",
        "m\u{130}mi",
        "mim\u{130}",
        "m\u{130}m\u{130}",
        "MIMI",
        "MIM\u{130}",
    ] {
        let spelling = user.email.replace("mimi", spelling);
        for _ in 0..5 {
            guesses += u32::from(guess(&t, ATTACKER, &spelling, "wrong").await.status == 401);
        }
    }
    // The first pauses are seconds, which pass while the test runs.
    assert!((5..=8).contains(&guesses), "{guesses}");
    // From elsewhere, the account's own limit.
    let mut guesses = 0;
    for i in 0..60 {
        let spelling = user
            .email
            .replace("mimi", ["mimi", "m\u{130}mi", "mim\u{130}"][i % 3]);
        let address = format!("203.0.113.{i}");
        guesses += u32::from(guess(&t, &address, &spelling, "wrong").await.status == 401);
    }
    assert!(guesses <= 25, "{guesses}");
}

#[tokio::test]
async fn a_stranger_locks_nobody_out() {
    let t = app().await;
    let user = t.user("ana").await;
    guess(&t, HOME, &user.email, PASSWORD).await.ok();
    let mut guesses = 0;
    for i in 0..200_u32 {
        let address = format!("203.0.{}.{}", i / 200, i % 200);
        guesses += u32::from(guess(&t, &address, &user.email, "wrong").await.status == 401);
    }
    // The first pauses are seconds, which pass while the test runs.
    assert!(
        (20..=30).contains(&guesses),
        "the account's own limit, from however many addresses: {guesses}"
    );
    // Until the pauses are long, however long the test takes.
    let mut failures = 0;
    while failures < 10 {
        let answer = guess(&t, &format!("203.0.9.{failures}"), &user.email, "wrong").await;
        match answer.status.as_u16() {
            401 => failures += 1,
            _ => t.app.clock.advance(Duration::from_secs(pause(&answer))),
        }
    }
    // The owner at a place where he was before does not notice.
    guess(&t, HOME, &user.email, PASSWORD).await.ok();
    // Elsewhere he waits at most five minutes.
    let away = guess(&t, "192.0.2.77", &user.email, PASSWORD)
        .await
        .problem(429, "too-many-attempts");
    assert!(pause(&away) <= 301);
    t.app.clock.advance(Duration::from_secs(pause(&away)));
    guess(&t, "192.0.2.77", &user.email, PASSWORD).await.ok();
}

#[tokio::test]
async fn who_resets_his_password_signs_in_during_an_attack() {
    let t = app().await;
    let user = t.user("ana").await;
    let away = t.anonymous().from_address("192.0.2.77");
    let body = serde_json::json!({"email": user.email});
    away.post("/auth/request-password-reset", body).await.status(202);
    t.run_jobs().await;
    let token = t.mail_to(&user.email).await[0].token().to_owned();
    for i in 0..40 {
        guess(&t, &format!("203.0.113.{i}"), &user.email, "wrong").await;
    }
    guess(&t, "192.0.2.77", &user.email, PASSWORD)
        .await
        .problem(429, "too-many-attempts");
    let body = serde_json::json!({"token": token, "new_password": "otra frase bien larga"});
    away.post("/auth/reset-password", body).await.status(204);
    guess(&t, "192.0.2.77", &user.email, "otra frase bien larga")
        .await
        .ok();
}

#[tokio::test]
async fn a_known_place_is_no_licence_to_guess() {
    let t = app().await;
    let user = t.user("ana").await;
    guess(&t, HOME, &user.email, PASSWORD).await.ok();
    for _ in 0..5 {
        guess(&t, HOME, &user.email, "wrong")
            .await
            .problem(401, "invalid-credentials");
    }
    guess(&t, HOME, &user.email, PASSWORD)
        .await
        .problem(429, "too-many-attempts");
}

#[tokio::test]
async fn one_address_does_not_try_one_password_on_everybody() {
    let t = app().await;
    let mut guesses = 0;
    for i in 0..100 {
        // Any address of its /64.
        let address = format!("2001:db8:1:2::{i:x}");
        guesses += u32::from(
            guess(&t, &address, &format!("user-{i}@example.com"), "wrong")
                .await
                .status
                == 401,
        );
    }
    assert!((40..=46).contains(&guesses), "{guesses}");
    let user = t.user("ana").await;
    guess(&t, "2001:db8:1:3::1", &user.email, PASSWORD).await.ok();
}

#[tokio::test]
async fn an_own_account_does_not_buy_more_guesses_at_others() {
    let t = app().await;
    let attacker = t.user("eva").await;
    let mut guesses = 0;
    for i in 0..100 {
        guess(&t, ATTACKER, &attacker.email, PASSWORD).await.ok();
        guesses += u32::from(
            guess(&t, ATTACKER, &format!("user-{i}@example.com"), "wrong")
                .await
                .status
                == 401,
        );
    }
    assert!((40..=46).contains(&guesses), "{guesses}");
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_at_once_do_not_pass_together_and_processes_count_together() {
    let t = app().await;
    let user = t.user("ana").await;
    let other = t.again(server::service, |_| {}).await;
    let rush = (0..60).map(|i| {
        guess(
            if i % 2 == 0 { &t } else { &other },
            ATTACKER,
            &user.email,
            "wrong",
        )
    });
    let answers = futures::future::join_all(rush).await;
    let passed = answers.iter().filter(|answer| answer.status == 401).count();
    let blocked = answers.iter().filter(|answer| answer.status == 429).count();
    // The first pauses are seconds, which pass while the test runs.
    assert!(
        (5..=8).contains(&passed) && passed + blocked == 60,
        "{passed} passed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn right_passwords_at_once_leave_no_trace() {
    let t = app().await;
    let user = t.user("ana").await;
    for _ in 0..5 {
        let rush = (0..4).map(|_| guess(&t, HOME, &user.email, PASSWORD));
        for answer in futures::future::join_all(rush).await {
            answer.ok();
        }
    }
    let traces: i64 = sqlx::query_scalar("select count(*) from ally.attempts")
        .fetch_one(&mut t.superuser().await)
        .await
        .expect("attempts");
    assert_eq!(traces, 0);
}

#[tokio::test]
async fn counts_are_forgotten_after_a_day_and_deleted() {
    let t = app().await;
    t.anonymous()
        .from_address(HOME)
        .post(
            "/auth/register",
            registration("ana@example.com", "una frase bien larga"),
        )
        .await
        .created();
    for _ in 0..5 {
        guess(&t, HOME, "ana@example.com", "wrong").await.status(401);
    }
    t.app.clock.advance(DAY + Duration::from_secs(1));
    for _ in 0..5 {
        guess(&t, HOME, "ana@example.com", "wrong").await.status(401);
    }
    t.app.clock.advance(DAY + Duration::from_secs(1));
    identity::purge_expired(&t.app).await.expect("purge");
    let left: (i64, i64) =
        sqlx::query_as("select (select count(*) from ally.attempts), (select count(*) from ally.allowances)")
            .fetch_one(&mut t.superuser().await)
            .await
            .expect("counts");
    assert_eq!(left, (0, 0));
}

#[tokio::test]
async fn the_tables_tell_of_no_address() {
    let t = app().await;
    let user = t.user("ana").await;
    guess(&t, HOME, &user.email, PASSWORD).await.ok();
    guess(&t, ATTACKER, &user.email, "wrong").await.status(401);
    let rows: String = sqlx::query_scalar(
        "select concat((select string_agg(a::text, ' ') from ally.attempts a), (select string_agg(k::text, ' ') from ally.known_devices k))",
    )
    .fetch_one(&mut t.superuser().await)
    .await
    .expect("rows");
    assert!(!rows.is_empty());
    for secret in [HOME, ATTACKER, user.email.as_str()] {
        let hex: String = secret.bytes().map(|b| format!("{b:02x}")).collect();
        assert!(!rows.contains(secret) && !rows.contains(&hex), "{rows}");
    }
}
