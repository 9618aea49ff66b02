//! Members of a company: who may change whom, and the owner that a company always has.

use http::Method;
use serde_json::{Value, json};
use testkit::{Client, PASSWORD, TestApp};

use super::{fault, with_context_token};
use crate::app;

/// The path of a member.
fn member(client: &Client) -> String {
    format!("/company/members/{}", client.user_id)
}

async fn role_of(owner: &Client, client: &Client) -> String {
    let found = owner.get(&member(client)).await.ok();
    super::text(&found, "role").to_owned()
}

#[tokio::test]
async fn members_are_listed_searched_and_filtered() {
    let t = app().await;
    let (owner, stranger) = (t.tenant("Aida").await, t.tenant("Zoe").await);
    let seller = t.member(&owner, "seller").await;
    let cashier = t.member(&owner, "cashier").await;
    owner
        .patch(&member(&cashier), json!({"state": "suspended"}))
        .await
        .ok();
    let listed = owner.get("/company/members?include_total=true").await.ok();
    assert_eq!(
        (listed.items("first_name"), &listed.json["total"]),
        (
            vec!["Aida".to_owned(), "cashier".to_owned(), "seller".to_owned()],
            &json!(3)
        )
    );
    let one = owner.get(&member(&seller)).await.ok();
    let mut body = one.json.clone();
    for time in ["joined_at", "updated_at"] {
        assert!(body.as_object_mut().expect("object").remove(time).is_some());
    }
    let expected = json!({"user_id": seller.user_id, "email": seller.email, "first_name": "seller",
        "last_name": "Test", "role": "seller", "state": "active"});
    assert_eq!((body, one.header("etag")), (expected, "\"1\""));
    for (query, found) in [
        ("role=seller", vec!["seller"]),
        ("state=suspended", vec!["cashier"]),
        ("search=aid", vec!["Aida"]),
        ("search=example.com&role=cashier", vec!["cashier"]),
        ("search=Zoe", vec![]),
        ("sort=-joined_at", vec!["cashier", "seller", "Aida"]),
        ("sort=-name&limit=2", vec!["seller", "cashier"]),
    ] {
        let answer = owner.get(&format!("/company/members?{query}")).await.ok();
        assert_eq!(answer.items("first_name"), found, "{query}");
    }
    owner
        .get("/company/members?role=boss")
        .await
        .problem(400, "query-invalid");
    // Sellers do not see addresses of others.
    seller
        .get("/company/members")
        .await
        .problem(403, "permission-missing");
    stranger.get(&member(&seller)).await.problem(404, "not-found");
}

#[tokio::test]
async fn another_role_and_a_suspension_count_with_the_next_request() {
    let t = app().await;
    let owner = t.tenant("acme").await;
    let other = t.member(&owner, "admin").await;
    let context = with_context_token(&other).await;
    context.post("/brands", json!({"name": "One"})).await.created();
    let changed = owner.patch(&member(&other), json!({"role": "viewer"})).await.ok();
    assert_eq!(changed.json["role"], "viewer");
    for client in [&other, &context] {
        client
            .post("/brands", json!({"name": "Two"}))
            .await
            .problem(403, "permission-missing");
        client.get("/brands").await.ok();
    }
    owner
        .patch(&member(&other), json!({"state": "suspended"}))
        .await
        .ok();
    for client in [&other, &context] {
        client.get("/brands").await.problem(403, "not-a-member");
    }
    owner
        .patch(&member(&other), json!({"state": "active"}))
        .await
        .ok();
    context.get("/brands").await.ok();
    owner.delete(&member(&other)).await.status(204);
    for client in [&other, &context] {
        client.get("/brands").await.problem(403, "not-a-member");
    }
    owner.delete(&member(&other)).await.problem(404, "not-found");
}

#[tokio::test]
async fn nobody_gives_or_takes_more_than_he_has() {
    let t = app().await;
    let owner = t.tenant("acme").await;
    let admin = t.member(&owner, "admin").await;
    let seller = t.member(&owner, "seller").await;
    let refused = async |path: String, body: Value, pointer: &str| {
        let answer = admin.patch(&path, body).await.problem(403, "role-exceeds-own");
        assert_eq!(fault(&answer).0, pointer);
    };
    // Raise himself or another to owner; demote, suspend or remove an owner; seize the company.
    refused(member(&admin), json!({"role": "owner"}), "/role").await;
    refused(member(&seller), json!({"role": "owner"}), "/role").await;
    refused(member(&owner), json!({"role": "viewer"}), "").await;
    refused(member(&owner), json!({"state": "suspended"}), "").await;
    admin
        .delete(&member(&owner))
        .await
        .problem(403, "role-exceeds-own");
    let seize = admin
        .post("/company/transfer-ownership", json!({"user_id": admin.user_id}))
        .await;
    assert_eq!(
        seize.problem(403, "permission-missing").json["permission"],
        "company.transfer"
    );
    assert_eq!(
        [role_of(&owner, &admin).await, role_of(&owner, &owner).await],
        ["admin", "owner"]
    );
    // As far as his own goes.
    admin.patch(&member(&seller), json!({"role": "admin"})).await.ok();
    seller
        .patch(&member(&admin), json!({"role": "cashier"}))
        .await
        .ok();
    for body in [json!({"role": "seller"}), json!({"state": "active"})] {
        for (method, body) in [(Method::PATCH, Some(&body)), (Method::DELETE, None)] {
            let answer = admin.send(method, &member(&seller), body).await;
            answer.problem(403, "permission-missing");
        }
    }
    // What this release does not know might hold more.
    let mut conn = t.superuser().await;
    sqlx::query("alter table ally.memberships drop constraint memberships_role_known")
        .execute(&mut conn)
        .await
        .expect("alter");
    let unknown = t.member(&owner, "auditor").await;
    seller
        .delete(&member(&unknown))
        .await
        .problem(403, "role-exceeds-own");
}

#[tokio::test]
async fn changes_are_validated_and_compared() {
    let t = app().await;
    let owner = t.tenant("acme").await;
    let seller = t.member(&owner, "seller").await;
    for (body, pointer, code) in [
        (json!({"role": "boss"}), "/role", "type"),
        (json!({"role": null}), "/role", "type"),
        (json!({"state": "gone"}), "/state", "type"),
        (json!({"user_id": owner.user_id}), "", "unknown-field"),
    ] {
        let refused = owner
            .patch(&member(&seller), body.clone())
            .await
            .problem(422, "validation-failed");
        assert_eq!(fault(&refused).1, code, "{body}");
        assert!(fault(&refused).0.starts_with(pointer), "{body}");
    }
    let stale = owner.with_header("If-Match", "\"7\"");
    stale
        .patch(&member(&seller), json!({"role": "viewer"}))
        .await
        .problem(412, "precondition-failed");
    stale
        .delete(&member(&seller))
        .await
        .problem(412, "precondition-failed");
    let fresh = owner.with_header("If-Match", "\"1\"");
    let changed = fresh
        .patch(&member(&seller), json!({"role": "viewer"}))
        .await
        .ok();
    assert_eq!(changed.header("etag"), "\"2\"");
    assert_eq!(
        owner.patch(&member(&seller), json!({})).await.ok().json["role"],
        "viewer"
    );
}

#[tokio::test]
async fn the_last_owner_stays_until_the_company_is_handed_over() {
    let t = app().await;
    let owner = t.tenant("acme").await;
    let heir = t.member(&owner, "seller").await;
    let suspended = t.member(&owner, "owner").await;
    owner
        .patch(&member(&suspended), json!({"state": "suspended"}))
        .await
        .ok();
    let leave = async |client: &Client| client.post("/company/leave", Value::Null).await;
    leave(&owner).await.problem(409, "last-owner");
    for body in [json!({"role": "admin"}), json!({"state": "suspended"})] {
        owner
            .patch(&member(&owner), body)
            .await
            .problem(409, "last-owner");
    }
    owner.delete(&member(&owner)).await.problem(409, "last-owner");
    assert_eq!(owner.get("/auth/context").await.ok().json["user_role"], "owner");

    let hand_over = async |user| {
        owner
            .post("/company/transfer-ownership", json!({"user_id": user}))
            .await
    };
    for nobody in [kernel::ids::new_id(), owner.user_id, suspended.user_id] {
        let refused = hand_over(nobody).await.problem(422, "user-not-found");
        assert_eq!(fault(&refused).0, "/user_id");
    }
    hand_over(heir.user_id).await.status(204);
    assert_eq!(owner.get("/auth/context").await.ok().json["user_role"], "admin");
    assert_eq!(heir.get("/auth/context").await.ok().json["user_role"], "owner");
    leave(&owner).await.status(204);
    owner.get("/brands").await.problem(403, "not-a-member");
    leave(&heir).await.problem(409, "last-owner");
}

#[tokio::test]
async fn an_owner_who_has_disabled_his_account_counts_for_nothing() {
    let t = app().await;
    let owner = t.tenant("acme").await;
    let other = t.member(&owner, "owner").await;
    let seller = t.member(&owner, "seller").await;
    for gone in [&other, &seller] {
        let password = json!({"current_password": PASSWORD});
        gone.post("/auth/me/disable", password).await.status(204);
    }
    owner
        .post("/company/leave", Value::Null)
        .await
        .problem(409, "last-owner");
    owner
        .post("/company/transfer-ownership", json!({"user_id": seller.user_id}))
        .await
        .problem(422, "user-not-found");
    assert_eq!(owner.get("/auth/context").await.ok().json["user_role"], "owner");
}

#[tokio::test]
async fn who_loses_his_right_while_his_body_arrives_is_refused() {
    let t = app().await;
    let owner = t.tenant("acme").await;
    let product = testkit::product("Soap", "S");
    let invitation = json!({"email": "luz@example.com", "role": "seller"});
    let key = json!({"name": "Till", "permissions": ["brands.read"]});
    for (path, body) in [
        ("/products", product),
        ("/auth/invite-user", invitation),
        ("/company/api-keys", key),
    ] {
        let other = t.member(&owner, "owner").await;
        let (by, whom) = (owner.clone(), member(&other));
        let demoted = async move {
            by.patch(&whom, json!({"role": "viewer"})).await.ok();
        };
        let refused = other.post_slowly(path, body.clone(), demoted).await;
        refused.problem(403, "permission-missing");

        let (by, whom) = (owner.clone(), member(&other));
        let removed = async move {
            by.delete(&whom).await.status(204);
        };
        let refused = other.post_slowly(path, body, removed).await;
        refused.problem(403, "not-a-member");
    }
    let stranger = t.tenant("other").await;
    let ending = stranger.clone();
    let signed_out = async move {
        ending.post("/auth/logout", Value::Null).await.status(204);
    };
    let company = json!({"name": "Uno", "nit": "900123456", "phone_number": "3001234567"});
    let refused = stranger
        .without_company()
        .post_slowly("/company", company, signed_out)
        .await;
    refused.problem(401, "unauthenticated");
}

/// Whose right is taken while he uses it.
#[tokio::test]
async fn what_was_taken_from_the_caller_meanwhile_he_does_not_give() {
    let t = app().await;
    for round in 0..20 {
        let first = t.tenant("acme").await;
        let owner = t.member(&first, "owner").await;
        let (one, two) = (
            t.member(&first, "seller").await,
            t.member(&first, "cashier").await,
        );
        let hand_over = async |to: &Client| {
            owner
                .post("/company/transfer-ownership", json!({"user_id": to.user_id}))
                .await
                .summary()
        };
        if round % 2 == 0 {
            let mut outcomes: [String; 2] = tokio::join!(hand_over(&one), hand_over(&two)).into();
            outcomes.sort();
            assert_eq!(outcomes, ["204", "403 permission-missing"], "round {round}");
            let roles = [role_of(&first, &one).await, role_of(&first, &two).await];
            assert_eq!(
                roles.iter().filter(|role| *role == "owner").count(),
                1,
                "{roles:?}"
            );
        } else {
            let path = member(&owner);
            let demoted = first.patch(&path, json!({"role": "viewer"}));
            let (demoted, outcome) = tokio::join!(demoted, hand_over(&one));
            demoted.ok();
            assert_eq!(
                role_of(&first, &owner).await,
                "viewer",
                "round {round}: {outcome}"
            );
        }
    }
}

/// Two owners at once do what each may do alone.
async fn race(t: &TestApp, round: usize) -> Vec<String> {
    let first = t.tenant("acme").await;
    let second = t.member(&first, "owner").await;
    let demote = json!({"role": "viewer"});
    let suspend = json!({"state": "suspended"});
    let [path_of_first, path_of_second] = [member(&first), member(&second)];
    let (one, two) = match round % 5 {
        0 => tokio::join!(
            first.post("/company/leave", Value::Null),
            second.post("/company/leave", Value::Null)
        ),
        1 => tokio::join!(
            first.patch(&path_of_second, demote.clone()),
            second.patch(&path_of_first, demote)
        ),
        2 => tokio::join!(
            first.post("/company/leave", Value::Null),
            second.patch(&path_of_second, suspend)
        ),
        3 => tokio::join!(first.delete(&path_of_second), second.delete(&path_of_first)),
        _ => tokio::join!(
            first.post("/company/leave", Value::Null),
            second.patch(&path_of_second, demote)
        ),
    };
    let owners: i64 = sqlx::query_scalar(
        "select count(*) from ally.memberships where tenant_id = $1 and role = 'owner' and state = 'active'",
    )
    .bind(first.company())
    .fetch_one(&mut t.superuser().await)
    .await
    .expect("owners");
    let mut outcomes = vec![one.summary(), two.summary()];
    outcomes.sort();
    assert_eq!(owners, 1, "round {round}: {outcomes:?}");
    outcomes
}

#[tokio::test]
async fn two_owners_racing_leave_one() {
    let t = app().await;
    for round in 0..50 {
        let outcomes = race(&t, round).await;
        let second = outcomes[1].as_str();
        assert!(
            outcomes[0].starts_with("20")
                && ["403 not-a-member", "403 permission-missing", "409 last-owner"].contains(&second),
            "round {round}: {outcomes:?}"
        );
    }
}

#[tokio::test]
async fn the_database_has_the_last_word_on_the_last_owner() {
    let t = app().await;
    let owner = t.tenant("acme").await;
    let other = t.member(&owner, "owner").await;
    // Past all code: two sessions that see each other's owner still there.
    let (mut one, mut two) = (t.superuser().await, t.superuser().await);
    let leave = async |conn: &mut sqlx::PgConnection, client: &Client| {
        sqlx::query("delete from ally.memberships where tenant_id = $1 and user_id = $2")
            .bind(client.company())
            .bind(client.user_id)
            .execute(conn)
            .await
            .expect("deleted");
    };
    let mut first = sqlx::Connection::begin(&mut one).await.expect("begin");
    let mut second = sqlx::Connection::begin(&mut two).await.expect("begin");
    leave(&mut first, &owner).await;
    leave(&mut second, &other).await;
    let (first, second) = tokio::join!(first.commit(), second.commit());
    let refused: Vec<_> = [first, second]
        .into_iter()
        .filter_map(Result::err)
        .map(|e| {
            let error = e.into_database_error().expect("a database error");
            error.constraint().map(ToOwned::to_owned)
        })
        .collect();
    assert_eq!(refused, [Some("memberships_last_owner".to_owned())]);
}
