//! The pages that mails link to.

use uuid::Uuid;

use crate::app;
use crate::matrix::rows_of_others;

const PAGES: [&str; 5] = [
    "/account/verify-email",
    "/account/request-password-reset",
    "/account/reset-password",
    "/account/confirm-email",
    "/account/accept-invitation",
];

#[tokio::test]
async fn they_speak_spanish_or_english_and_run_nothing_but_their_own() {
    let t = app().await;
    let english = t.anonymous().with_header("Accept-Language", "en-GB, es;q=0.5");
    for page in PAGES {
        for (client, path, lang) in [
            (t.anonymous(), page.to_owned(), "es"),
            (english.clone(), page.to_owned(), "en"),
            (english.clone(), format!("{page}?lang=es"), "es"),
        ] {
            let answer = client.get(&path).await.ok();
            assert!(answer.header("content-type").starts_with("text/html"));
            assert!(
                answer.text().contains(&format!("<html lang=\"{lang}\">")),
                "{path}"
            );
            let policy = answer.header("content-security-policy");
            let nonce = policy
                .split("script-src 'nonce-")
                .nth(1)
                .and_then(|rest| rest.split('\'').next());
            let nonce = nonce.expect("a nonce").to_owned();
            for directive in [
                "default-src 'none'",
                "form-action 'none'",
                "frame-ancestors 'none'",
                "base-uri 'none'",
            ] {
                assert!(policy.contains(directive), "{policy}");
            }
            assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
            assert!(answer.text().contains(&format!("<script nonce=\"{nonce}\">")));
            assert_eq!(answer.text().matches("<script").count(), 1);
            assert_eq!(answer.header("referrer-policy"), "no-referrer");
            assert_eq!(answer.header("cache-control"), "no-store");
            let again = client.get(&path).await.ok();
            assert!(
                !again.header("content-security-policy").contains(&nonce),
                "a nonce is used once"
            );
        }
    }
}

#[tokio::test]
async fn opening_them_changes_nothing() {
    let t = app().await;
    let before = rows_of_others(&t, Uuid::nil()).await;
    for page in PAGES {
        t.anonymous().get(&format!("{page}?token=abc")).await.ok();
    }
    assert_eq!(rows_of_others(&t, Uuid::nil()).await, before);
}
