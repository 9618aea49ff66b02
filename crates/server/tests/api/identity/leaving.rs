//! Disabling and deleting one's account.

use serde_json::json;
use testkit::{Answer, Client, PASSWORD, TestApp};

use super::{login, refresh, registration};
use crate::app;

async fn leave(user: &Client, how: &str) -> Answer {
    user.without_company()
        .post(&format!("/auth/me/{how}"), json!({"current_password": PASSWORD}))
        .await
}

#[tokio::test]
async fn both_ask_for_the_password() {
    let t = app().await;
    let user = t.user("ana").await;
    for how in ["disable", "delete"] {
        let body = json!({"current_password": "not the password"});
        user.post(&format!("/auth/me/{how}"), body)
            .await
            .problem(422, "password-wrong");
    }
    user.get("/auth/me").await.ok();
}

#[tokio::test]
async fn who_disabled_himself_comes_back_by_a_new_password() {
    let t = app().await;
    let owner = t.tenant("acme").await;
    let user = t.member(&owner, "seller").await;
    user.get("/brands").await.ok();
    leave(&user, "disable").await.status(204);
    user.get("/brands").await.problem(401, "unauthenticated");
    refresh(&t, &user.refresh_token)
        .await
        .problem(401, "refresh-token-invalid");
    login(&t, &user.email, PASSWORD)
        .await
        .problem(403, "user-inactive");

    t.anonymous()
        .post("/auth/request-password-reset", json!({"email": user.email}))
        .await
        .status(202);
    t.run_jobs().await;
    let token = t.mail_to(&user.email).await[0].token().to_owned();
    let body = json!({"token": token, "new_password": PASSWORD});
    t.anonymous().post("/auth/reset-password", body).await.status(204);
    let back = t.sign_in(&user.email).await.in_company(owner.company());
    back.get("/brands").await.ok();
}

#[tokio::test]
async fn deleting_ends_memberships_and_frees_the_address_and_the_name_stays() {
    let t = app().await;
    let owner = t.tenant("acme").await;
    let user = t.member(&owner, "seller").await;
    let patch = json!({"profile": {"phone_number": "3001234567", "dni": "1.032.456.789"}});
    user.patch("/auth/me", patch).await.ok();
    leave(&user, "delete").await.status(204);
    user.get("/brands").await.problem(401, "unauthenticated");
    login(&t, &user.email, PASSWORD)
        .await
        .problem(401, "invalid-credentials");
    t.anonymous()
        .post("/auth/request-password-reset", json!({"email": user.email}))
        .await
        .status(202);
    t.run_jobs().await;
    assert!(t.mail().await.is_empty());

    let mut conn = t.superuser().await;
    let row: String = sqlx::query_scalar("select users::text from ally.users where id = $1")
        .bind(user.user_id)
        .fetch_one(&mut conn)
        .await
        .expect("the name stays");
    assert!(row.contains("seller"), "{row}");
    for gone in [user.email.as_str(), "573001234567", "1032456789", "argon2"] {
        assert!(!row.contains(gone), "{row}");
    }
    let memberships: i64 = sqlx::query_scalar("select count(*) from ally.memberships where user_id = $1")
        .bind(user.user_id)
        .fetch_one(&mut conn)
        .await
        .expect("memberships");
    assert_eq!(memberships, 0);
    let again = registration(&user.email, "una frase bien larga");
    t.anonymous().post("/auth/register", again).await.created();
    let new = login(&t, &user.email, "una frase bien larga").await.ok();
    assert_eq!(new.json["companies"], json!([]));
}

#[tokio::test]
async fn the_last_owner_stays() {
    let t = app().await;
    let owner = t.tenant("acme").await;
    let admin = t.member(&owner, "admin").await;
    for how in ["disable", "delete"] {
        leave(&owner, how).await.problem(409, "last-owner");
    }
    owner.get("/brands").await.ok();
    // One who cannot act does not count.
    let other = t.member(&owner, "owner").await;
    leave(&other, "disable").await.status(204);
    leave(&owner, "delete").await.problem(409, "last-owner");
    let third = t.member(&owner, "owner").await;
    leave(&owner, "delete").await.status(204);
    third.get("/brands").await.ok();
    leave(&admin, "delete").await.status(204);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_last_owners_who_leave_at_once_one_stays() {
    let rounds = if std::env::var_os("ALLY360_TEST_FULL").is_some() {
        50
    } else {
        10
    };
    let t = app().await;
    for round in 0..rounds {
        let (one, two) = owners(&t).await;
        let how = ["delete", "disable"];
        let (a, b) = tokio::join!(leave(&one, how[round % 2]), leave(&two, how[round / 2 % 2]));
        let mut summaries = [a.summary(), b.summary()];
        summaries.sort();
        assert_eq!(summaries, ["204", "409 last-owner"], "round {round}");
    }
}

async fn owners(t: &TestApp) -> (Client, Client) {
    let one = t.tenant("acme").await;
    let two = t.member(&one, "owner").await;
    (one, two)
}
