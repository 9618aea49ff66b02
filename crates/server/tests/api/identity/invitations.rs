//! Inviting people, and accepting.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use testkit::{Answer, Client, PASSWORD, TestApp};

use super::{DAY, fault, text};
use crate::app;
use crate::limits::limited;

/// Invites; the id of the invitation.
async fn invite(by: &Client, email: &str, role: &str) -> String {
    let body = json!({"email": email, "role": role});
    by.post("/auth/invite-user", body).await.created().id()
}

/// The token in the newest mail to this address.
async fn token(t: &TestApp, email: &str) -> String {
    t.run_jobs().await;
    let mails = t.mail_to(email).await;
    let newest = mails.last().unwrap_or_else(|| panic!("no mail to {email}"));
    assert!(newest.link().contains("/account/accept-invitation#token="));
    newest.token().to_owned()
}

async fn look(t: &TestApp, token: &str) -> Answer {
    t.anonymous()
        .post("/auth/invitation", json!({"token": token}))
        .await
}

/// Accepts with a new account.
async fn accept_anew(t: &TestApp, token: &str) -> Answer {
    let profile = json!({"first_name": "Luz", "last_name": "Paz"});
    let body = json!({"token": token, "password": PASSWORD, "profile": profile});
    t.anonymous().post("/auth/accept-invitation", body).await
}

async fn accept(client: &Client, token: &str) -> Answer {
    client
        .without_company()
        .post("/auth/accept-invitation/existing", json!({"token": token}))
        .await
}

async fn withdraw(by: &Client, id: &str) {
    by.delete(&format!("/auth/invitations/{id}")).await.status(204);
}

#[tokio::test]
async fn somebody_new_registers_through_the_mail() {
    let t = app().await;
    let owner = t.tenant("acme").await;
    let body = json!({"email": "Luz@Example.com", "role": "seller", "language": "en"});
    let made = owner.post("/auth/invite-user", body).await.created();
    assert_eq!(
        (
            &made.json["email"],
            &made.json["role"],
            &made.json["sent"],
            &made.json["invited_by_name"]
        ),
        (
            &json!("Luz@Example.com"),
            &json!("seller"),
            &json!(1),
            &json!("acme Test")
        )
    );
    let token = token(&t, "Luz@Example.com").await;
    let seen = look(&t, &token).await.ok().json;
    assert_eq!(
        (
            &seen["company_name"],
            &seen["company_id"],
            &seen["role"],
            &seen["account_exists"],
            &seen["email"]
        ),
        (
            &json!("acme"),
            &json!(owner.company()),
            &json!("seller"),
            &json!(false),
            &json!("Luz@Example.com")
        )
    );
    let accepted = accept_anew(&t, &token).await.created().json;
    assert_eq!(
        (&accepted["company_id"], &accepted["company_name"]),
        (&json!(owner.company()), &json!("acme"))
    );
    // The address counts as verified: she signs in, in any case of its letters.
    let luz = t.sign_in("luz@example.com").await.in_company(owner.company());
    assert_eq!(luz.get("/auth/context").await.ok().json["user_role"], "seller");
    for again in [
        accept_anew(&t, &token).await,
        look(&t, &token).await,
        accept(&luz, &token).await,
    ] {
        again.problem(422, "invitation-invalid");
    }
    assert_eq!(owner.get("/auth/invitations").await.ok().json["items"], json!([]));
}

#[tokio::test]
async fn who_has_an_account_accepts_while_signed_in() {
    let t = app().await;
    let owner = t.tenant("acme").await;
    let (luz, other) = (t.user("luz").await, t.user("other").await);
    let shouted = luz.email.to_uppercase();
    invite(&owner, &shouted, "viewer").await;
    let token = token(&t, &shouted).await;
    assert_eq!(look(&t, &token).await.ok().json["account_exists"], true);
    accept_anew(&t, &token).await.problem(409, "account-exists");
    accept(&other, &token)
        .await
        .problem(403, "invitation-for-another");
    accept(&t.anonymous(), &token)
        .await
        .problem(401, "unauthenticated");
    let mut conn = t.superuser().await;
    for (verified, expected) in [("null", Err("invitation-for-another")), ("now()", Ok(()))] {
        let mut update =
            sqlx::QueryBuilder::<sqlx::Postgres>::new("update ally.users set email_verified_at = ");
        update.push(verified).push(" where id = ").push_bind(luz.user_id);
        update.build().execute(&mut conn).await.expect("user");
        let answer = accept(&luz, &token).await;
        match expected {
            Ok(()) => drop(answer.ok()),
            Err(code) => drop(answer.problem(403, code)),
        }
    }
    let luz = luz.in_company(owner.company());
    assert_eq!(luz.get("/auth/context").await.ok().json["user_role"], "viewer");
    let refused = owner
        .post("/auth/invite-user", json!({"email": luz.email, "role": "admin"}))
        .await
        .problem(409, "already-a-member");
    assert_eq!(fault(&refused).0, "/email");
}

#[tokio::test]
async fn the_inviter_does_not_learn_who_has_an_account() {
    let t = app().await;
    let owner = t.tenant("acme").await;
    let known = t.user("known").await.email;
    let mut answers = Vec::new();
    for email in [known.as_str(), "unknown@example.com"] {
        let answer = owner
            .post("/auth/invite-user", json!({"email": email, "role": "seller"}))
            .await
            .created();
        let mut body = answer.json;
        for own in ["id", "email", "created_at", "expires_at"] {
            body.as_object_mut().expect("object").remove(own).expect(own);
        }
        let mut headers = answer.headers;
        headers.remove("x-request-id");
        headers.remove("content-length");
        headers.remove("location");
        answers.push((body, headers));
    }
    assert_eq!(answers[0], answers[1]);
}

#[tokio::test]
async fn one_is_pending_per_address_until_it_expires_or_is_cancelled() {
    let t = app().await;
    let (owner, other) = (t.tenant("acme").await, t.tenant("beta").await);
    let first = invite(&owner, "luz@example.com", "seller").await;
    let again = json!({"email": "LUZ@example.com", "role": "viewer"});
    let refused = owner.post("/auth/invite-user", again.clone()).await;
    assert_eq!(fault(&refused.problem(409, "invitation-pending")).0, "/email");
    // Of another company nothing is told.
    let elsewhere = invite(&other, "luz@example.com", "seller").await;
    other
        .delete(&format!("/auth/invitations/{first}"))
        .await
        .problem(404, "not-found");
    withdraw(&other, &elsewhere).await;

    let lost = token(&t, "luz@example.com").await;
    withdraw(&owner, &first).await;
    look(&t, &lost).await.problem(422, "invitation-invalid");
    accept_anew(&t, &lost).await.problem(422, "invitation-invalid");
    let second = invite(&owner, "luz@example.com", "seller").await;
    let expiring = token(&t, "luz@example.com").await;
    look(&t, &expiring).await.ok();
    t.pass(7 * DAY).await;
    let owner = t.sign_in(&owner.email).await.in_company(owner.company());
    accept_anew(&t, &expiring)
        .await
        .problem(422, "invitation-invalid");
    assert_eq!(owner.get("/auth/invitations").await.ok().json["items"], json!([]));
    let third = owner.post("/auth/invite-user", again).await.created().id();
    assert_ne!(second, third);
    let listed = owner.get("/auth/invitations").await.ok();
    assert_eq!(
        (listed.items("id"), listed.items("role")),
        (vec![third], vec!["viewer".to_owned()])
    );
    accept_anew(&t, &token(&t, "LUZ@example.com").await)
        .await
        .created();
}

#[tokio::test]
async fn sending_again_voids_the_mail_before() {
    let t = app().await;
    let owner = t.tenant("acme").await;
    let id = invite(&owner, "luz@example.com", "seller").await;
    let resend = format!("/auth/invitations/{id}/resend");
    let before = token(&t, "luz@example.com").await;
    t.pass(6 * DAY).await;
    let owner = t.sign_in(&owner.email).await.in_company(owner.company());
    let sent = owner.post(&resend, Value::Null).await.ok();
    assert_eq!(sent.json["sent"], 2);
    let after = token(&t, "luz@example.com").await;
    assert_ne!(before, after);
    look(&t, &before).await.problem(422, "invitation-invalid");
    t.pass(2 * DAY).await;
    look(&t, &after).await.ok();
    let owner = t.sign_in(&owner.email).await.in_company(owner.company());
    for _ in 3..=5 {
        owner.post(&resend, Value::Null).await.ok();
    }
    owner
        .post(&resend, Value::Null)
        .await
        .problem(409, "invitation-sent-often");
    // Of the three, only the last is still worth a mail.
    t.run_jobs().await;
    assert_eq!(t.mail_to("luz@example.com").await.len(), 3);
    let newest = token(&t, "luz@example.com").await;
    accept_anew(&t, &newest).await.created();
    owner.post(&resend, Value::Null).await.problem(404, "not-found");
}

#[tokio::test]
async fn a_stranger_is_mailed_five_times_whoever_invites_him_how_often() {
    let t = app().await;
    let (a, b) = (t.tenant("acme").await, t.tenant("beta").await);
    let luz = t.user("luz").await;
    let pause = Duration::from_secs(15 * 60);
    for _ in 0..4 {
        let id = invite(&a, &luz.email, "seller").await;
        t.run_jobs().await;
        withdraw(&a, &id).await;
    }
    let pending = invite(&b, &luz.email.to_uppercase(), "seller").await;
    t.run_jobs().await;
    let resend = format!("/auth/invitations/{pending}/resend");
    for refused in [
        a.post("/auth/invite-user", json!({"email": luz.email, "role": "seller"}))
            .await,
        b.post(&resend, Value::Null).await,
    ] {
        let refused = refused.problem(429, "too-many-attempts");
        assert_eq!(refused.header("retry-after"), "900");
    }
    t.run_jobs().await;
    let mails = [
        t.mail_to(&luz.email).await,
        t.mail_to(&luz.email.to_uppercase()).await,
    ];
    assert_eq!(mails[0].len().max(mails[1].len()), 5);
    // What was refused is not there, and what fails for another reason costs nothing.
    assert_eq!(a.get("/auth/invitations").await.ok().json["items"], json!([]));
    assert_eq!(b.get("/auth/invitations").await.ok().json["items"][0]["sent"], 1);
    invite(&a, "eva@example.com", "seller").await;
    t.app.clock.advance(pause);
    for _ in 0..6 {
        b.post("/auth/invite-user", json!({"email": luz.email, "role": "seller"}))
            .await
            .problem(409, "invitation-pending");
    }
    b.post(&resend, Value::Null).await.ok();
    t.run_jobs().await;
    // Whoever is invited still gets a mail that he asks for when he has lost his password.
    let body = json!({"email": luz.email});
    t.anonymous()
        .post("/auth/request-password-reset", body)
        .await
        .status(202);
    t.run_jobs().await;
    let newest = t.mail_to(&luz.email).await.pop().expect("a mail");
    assert_eq!(newest.letter, "password-reset");
}

/// Declared at 60/hour: here six.
#[tokio::test]
async fn a_company_and_its_members_invite_so_many_an_hour() {
    let t = limited(10).await;
    let (a, b) = (t.tenant("acme").await, t.tenant("beta").await);
    let mut ids = Vec::new();
    for n in 0..6 {
        ids.push(invite(&a, &format!("luz-{n}@example.com"), "seller").await);
    }
    let body = json!({"email": "luz-6@example.com", "role": "seller"});
    let colleague = t.member(&a, "admin").await;
    let refused = colleague.post("/auth/invite-user", body.clone()).await;
    let refused = refused.problem(429, "rate-limited");
    assert_eq!(refused.json["detail"], "invite-user-company allows 6/hour");
    // A company more is no licence.
    let mut elsewhere = a.in_company(b.company());
    t.join(&mut elsewhere, "owner").await;
    let refused = elsewhere.post("/auth/invite-user", body.clone()).await;
    let refused = refused.problem(429, "rate-limited");
    assert_eq!(refused.json["detail"], "invite-user-user allows 6/hour");
    b.post("/auth/invite-user", body).await.created();

    let resend = |id: &String| format!("/auth/invitations/{id}/resend");
    for id in &ids {
        a.post(&resend(id), Value::Null).await.ok();
    }
    let refused = a.post(&resend(&ids[0]), Value::Null).await;
    refused.problem(429, "rate-limited");
}

#[tokio::test]
async fn an_invitation_is_worth_what_its_inviter_could_give() {
    let t = app().await;
    let owner = t.tenant("acme").await;
    let admin = t.member(&owner, "admin").await;
    let refused = admin
        .post(
            "/auth/invite-user",
            json!({"email": "luz@example.com", "role": "owner"}),
        )
        .await
        .problem(403, "role-exceeds-own");
    assert_eq!(fault(&refused).0, "/role");
    let of_owner = invite(&owner, "luz@example.com", "owner").await;
    for (method, path) in [(Method::DELETE, ""), (Method::POST, "/resend")] {
        let answer = admin
            .send(method, &format!("/auth/invitations/{of_owner}{path}"), None)
            .await;
        answer.problem(403, "role-exceeds-own");
    }
    t.member(&owner, "seller")
        .await
        .post(
            "/auth/invite-user",
            json!({"email": "x@example.com", "role": "viewer"}),
        )
        .await
        .problem(403, "permission-missing");

    let path = format!("/company/members/{}", admin.user_id);
    let id = invite(&admin, "eva@example.com", "admin").await;
    let eva = token(&t, "eva@example.com").await;
    // Each time he cannot give it any more, and can again.
    for (lost, restored) in [
        (json!({"role": "viewer"}), json!({"role": "admin"})),
        (json!({"state": "suspended"}), json!({"state": "active"})),
    ] {
        look(&t, &eva).await.ok();
        owner.patch(&path, lost).await.ok();
        look(&t, &eva).await.problem(422, "invitation-invalid");
        accept_anew(&t, &eva).await.problem(422, "invitation-invalid");
        owner.patch(&path, restored).await.ok();
    }
    owner.delete(&path).await.status(204);
    accept_anew(&t, &eva).await.problem(422, "invitation-invalid");
    // In somebody else's name it counts again.
    owner
        .post(&format!("/auth/invitations/{id}/resend"), Value::Null)
        .await
        .ok();
    accept_anew(&t, &token(&t, "eva@example.com").await)
        .await
        .created();
}

#[tokio::test]
async fn an_invitation_is_accepted_once_however_many_try() {
    let t = app().await;
    let owner = t.tenant("acme").await;
    let luz = t.user("luz").await;
    invite(&owner, &luz.email, "seller").await;
    let token = token(&t, &luz.email).await;
    let tries = (0..8).map(|_| accept(&luz, &token));
    let mut outcomes: Vec<_> = futures::future::join_all(tries)
        .await
        .into_iter()
        .map(|answer| answer.summary())
        .collect();
    outcomes.sort();
    let mut expected = vec!["422 invitation-invalid"; 8];
    expected[0] = "200";
    assert_eq!(outcomes, expected);
}

#[tokio::test]
async fn nobody_joins_a_company_that_is_not_active() {
    let t = app().await;
    let owner = t.tenant("acme").await;
    invite(&owner, "luz@example.com", "seller").await;
    let token = token(&t, "luz@example.com").await;
    for (state, code) in [
        (identity::CompanyState::Suspended, "company-suspended"),
        (identity::CompanyState::Closed, "company-closed"),
    ] {
        identity::set_company_state(&t.app, owner.company(), state, "test")
            .await
            .expect("state");
        accept_anew(&t, &token).await.problem(403, code);
    }
    identity::set_company_state(&t.app, owner.company(), identity::CompanyState::Active, "test")
        .await
        .expect("state");
    accept_anew(&t, &token).await.created();
}

#[tokio::test]
async fn what_is_no_invitation_is_refused() {
    let t = app().await;
    let owner = t.tenant("acme").await;
    for (body, pointer, code) in [
        (json!({"email": "nobody", "role": "seller"}), "/email", "email"),
        (json!({"email": "a@b.co", "role": "boss"}), "/role", "type"),
        (json!({"email": "a@b.co"}), "/role", "required"),
        (
            json!({"email": "a@b.co", "role": "seller", "language": "fr"}),
            "/language",
            "type",
        ),
    ] {
        let refused = owner
            .post("/auth/invite-user", body)
            .await
            .problem(422, "validation-failed");
        assert_eq!(fault(&refused), (pointer, code));
    }
    look(&t, "nonsense").await.problem(422, "invitation-invalid");
    let answer = look(&t, "").await;
    assert_eq!(text(&answer, "code"), "validation-failed");
}
