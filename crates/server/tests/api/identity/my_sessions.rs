//! Where I am signed in.

use serde_json::json;
use testkit::{Client, TestApp};

use super::{MINUTE, refresh, text};
use crate::app;

const ANDROID: &str = "Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36";

/// Signs in from an address with a browser.
async fn sign_in(t: &TestApp, email: &str, address: &str, user_agent: &str) -> Client {
    let browser = t
        .anonymous()
        .from_address(address)
        .with_header("User-Agent", user_agent);
    let form = [("username", email), ("password", testkit::PASSWORD)];
    let answer = browser.post_form("/auth/login", &form).await.ok();
    let mut client = t.anonymous().with_token(text(&answer, "access_token"));
    text(&answer, "refresh_token").clone_into(&mut client.refresh_token);
    client
}

#[tokio::test]
async fn they_are_listed_with_device_and_address_the_last_used_first() {
    let t = app().await;
    let user = t.user("ana").await;
    t.app.clock.advance(MINUTE);
    let phone = sign_in(&t, &user.email, "203.0.113.9", ANDROID).await;
    t.user("eva").await;
    let list = phone.get("/auth/sessions").await.ok();
    assert_eq!(list.items("current"), ["true", "false"]);
    assert_eq!(list.json["items"][0]["device"], "Chrome, Android");
    assert_eq!(list.json["items"][0]["address"], "203.0.113.9");
    assert_eq!(list.json["items"][0]["user_agent"], ANDROID);

    // A refresh counts as use, and its place as the place.
    t.app.clock.advance(MINUTE);
    t.anonymous()
        .from_address("198.51.100.7")
        .post("/auth/refresh", json!({"refresh_token": user.refresh_token}))
        .await
        .ok();
    let list = phone.get("/auth/sessions").await.ok();
    assert_eq!(list.items("current"), ["false", "true"]);
    assert_eq!(list.items("address"), ["198.51.100.7", "203.0.113.9"]);
    let last = phone.get("/auth/sessions?limit=1").await.ok();
    let next = phone
        .get(&format!(
            "/auth/sessions?limit=1&cursor={}",
            text(&last, "next_cursor")
        ))
        .await
        .ok();
    assert_eq!(next.items("address"), ["203.0.113.9"]);
}

#[tokio::test]
async fn one_is_ended_for_good_and_only_ones_own() {
    let t = app().await;
    let (ana, eva) = (t.user("ana").await, t.user("eva").await);
    let other = t.sign_in(&ana.email).await;
    let id = super::forge::claims(&other.token)["sid"]
        .as_str()
        .expect("an id")
        .to_owned();
    let path = format!("/auth/sessions/{id}");
    eva.delete(&path).await.problem(404, "not-found");
    other.get("/auth/me").await.ok();
    ana.delete(&path).await.status(204);
    other.get("/auth/me").await.problem(401, "unauthenticated");
    refresh(&t, &other.refresh_token)
        .await
        .problem(401, "refresh-token-invalid");
    ana.delete(&path).await.problem(404, "not-found");
    assert_eq!(ana.get("/auth/sessions").await.ok().items("id").len(), 1);
}

#[tokio::test]
async fn all_others_or_all_are_ended() {
    let t = app().await;
    let (user, eva) = (t.user("ana").await, t.user("eva").await);
    let others = [t.sign_in(&user.email).await, t.sign_in(&user.email).await];
    user.delete("/auth/sessions").await.status(204);
    for other in &others {
        other.get("/auth/me").await.problem(401, "unauthenticated");
    }
    user.get("/auth/me").await.ok();
    user.delete("/auth/sessions?include_current=true")
        .await
        .status(204);
    user.get("/auth/me").await.problem(401, "unauthenticated");
    eva.get("/auth/me").await.ok();
    user.delete("/auth/sessions?all=1")
        .await
        .problem(401, "unauthenticated");
    eva.delete("/auth/sessions?all=1")
        .await
        .problem(400, "query-invalid");
}

#[tokio::test]
async fn a_sign_in_from_a_new_device_is_told_by_mail() {
    let t = app().await;
    let user = t.user("ana").await;
    sign_in(&t, &user.email, "203.0.113.9", ANDROID).await;
    sign_in(&t, &user.email, "203.0.113.9", "curl/8.5").await;
    t.run_jobs().await;
    assert!(
        t.mail().await.is_empty(),
        "the first device is nothing new, nor the second time there"
    );
    sign_in(&t, &user.email, "198.51.100.7", ANDROID).await;
    t.run_jobs().await;
    let mails = t.mail_to(&user.email).await;
    assert_eq!(mails.len(), 1);
    assert_eq!(mails[0].letter, "new-sign-in");
    assert!(mails[0].text.contains("Chrome, Android"), "{}", mails[0].text);
}
