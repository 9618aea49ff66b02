//! Memberships: roles, context tokens, and how soon a change counts.

use std::time::Duration;

use serde_json::json;
use sqlx::PgConnection;
use testkit::{Client, TestApp};

use super::{listener, set_active, set_membership, until, with_context_token};
use crate::app;

const SOON: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_context_token_carries_the_company() {
    let t = app().await;
    let (a, b) = (t.tenant("a").await, t.tenant("b").await);
    let selected = a
        .post("/auth/select-company", json!({"company_id": a.company()}))
        .await
        .ok();
    let mut body = selected.json.clone();
    let token = body
        .as_object_mut()
        .expect("object")
        .remove("access_token")
        .expect("token");
    let expected = json!({"token_type": "bearer", "expires_in": 1800, "tenant_id": a.company(), "company_name": "a", "user_role": "owner"});
    assert_eq!(body, expected);

    let context = a.without_company().with_token(token.as_str().expect("text"));
    for client in [&context, &context.in_company(a.company())] {
        let answer = client.get("/brands").await.ok();
        assert_eq!(answer.header("x-tenant-id"), a.company().to_string());
        assert_eq!(
            client.get("/auth/context").await.ok().json["tenant_id"],
            json!(a.company())
        );
    }
    for other in [b.company(), kernel::ids::new_id()] {
        context
            .in_company(other)
            .get("/brands")
            .await
            .problem(400, "company-mismatch");
        context
            .in_company(other)
            .get("/auth/context")
            .await
            .problem(400, "company-mismatch");
    }
    context
        .with_header("X-Company-ID", "")
        .get("/brands")
        .await
        .problem(400, "company-header-invalid");
    // Another one is selected with it as well.
    t.join(&mut a.in_company(b.company()), "viewer").await;
    let changed = context
        .post("/auth/select-company", json!({"company_id": b.company()}))
        .await
        .ok();
    assert_eq!(changed.json["user_role"], "viewer");
}

#[tokio::test]
async fn only_an_active_member_selects_a_company() {
    let t = app().await;
    let (a, b) = (t.tenant("a").await, t.tenant("b").await);
    let suspended = t.member(&b, "admin").await;
    let mut conn = t.superuser().await;
    set_membership(&mut conn, &suspended, "admin", "suspended").await;
    let refused = async |client: &Client, company: uuid::Uuid| {
        let answer = client
            .post("/auth/select-company", json!({"company_id": company}))
            .await
            .problem(403, "not-a-member");
        let mut body = answer.json;
        body.as_object_mut().expect("a problem").remove("request_id");
        body
    };
    let unknown = refused(&a, kernel::ids::new_id()).await;
    assert_eq!(
        refused(&a, b.company()).await,
        unknown,
        "a foreign company looks like none"
    );
    assert_eq!(refused(&suspended, b.company()).await, unknown);
    for body in [
        json!({}),
        json!({"company_id": null}),
        json!({"company_id": "x"}),
        json!({"company_id": a.company(), "role": "owner"}),
    ] {
        a.post("/auth/select-company", body)
            .await
            .problem(422, "validation-failed");
    }
    let listed = suspended.without_company().get("/auth/context").await.ok();
    assert_eq!(listed.json["companies"][0]["is_active"], false);
}

/// A member with a context token who has just been answered, so that what he may do is cached.
async fn known_member(t: &TestApp, owner: &Client) -> (Client, Client) {
    let member = t.member(owner, "admin").await;
    let context = with_context_token(&member).await;
    for client in [&member, &context] {
        client.get("/brands").await.ok();
        client.get("/auth/me").await.ok();
    }
    listener(&mut t.superuser().await).await;
    (member, context)
}

#[tokio::test]
async fn a_suspended_or_removed_member_is_out_with_the_next_request() {
    let t = app().await;
    let owner = t.tenant("acme").await;
    let mut conn = t.superuser().await;

    let (member, context) = known_member(&t, &owner).await;
    set_membership(&mut conn, &member, "admin", "suspended").await;
    for client in [&member, &context] {
        until(client, "/brands", "403 not-a-member", SOON).await;
        client
            .post("/brands", json!({"name": "Acme"}))
            .await
            .problem(403, "not-a-member");
        client.get("/auth/me").await.ok();
    }
    set_membership(&mut conn, &member, "admin", "active").await;
    until(&context, "/brands", "200", SOON).await;

    let (member, context) = known_member(&t, &owner).await;
    sqlx::query("delete from ally.memberships where user_id = $1")
        .bind(member.user_id)
        .execute(&mut conn)
        .await
        .expect("membership");
    for client in [&member, &context] {
        until(client, "/brands", "403 not-a-member", SOON).await;
    }
    owner.get("/brands").await.ok();
}

#[tokio::test]
async fn another_role_counts_with_the_next_request() {
    let t = app().await;
    let owner = t.tenant("acme").await;
    let (member, context) = known_member(&t, &owner).await;
    context.post("/brands", json!({"name": "Acme"})).await.created();
    set_membership(&mut t.superuser().await, &member, "cashier", "active").await;
    for _ in 0..50 {
        if context.get("/auth/context").await.ok().json["user_role"] == "cashier" {
            break;
        }
        tokio::time::sleep(SOON / 50).await;
    }
    for client in [&member, &context] {
        client
            .post("/brands", json!({"name": "Other"}))
            .await
            .problem(403, "permission-missing");
        client.get("/brands").await.ok();
    }
}

#[tokio::test]
async fn a_disabled_user_is_out_with_the_next_request() {
    let t = app().await;
    let owner = t.tenant("acme").await;
    let (member, context) = known_member(&t, &owner).await;
    set_active(&mut t.superuser().await, member.user_id, false).await;
    for client in [&member, &context] {
        until(client, "/brands", "401 unauthenticated", SOON).await;
        until(client, "/auth/me", "401 unauthenticated", SOON).await;
    }
}

/// A superuser whose changes fire no trigger: no process hears of them.
async fn unheard(t: &TestApp) -> PgConnection {
    let mut conn = t.superuser().await;
    sqlx::query("set session_replication_role = replica")
        .execute(&mut conn)
        .await
        .expect("superuser");
    conn
}

#[tokio::test]
async fn a_change_that_is_not_heard_counts_within_seconds() {
    let t = app().await;
    let owner = t.tenant("acme").await;
    let (member, context) = known_member(&t, &owner).await;
    set_membership(&mut unheard(&t).await, &member, "admin", "suspended").await;
    for client in [&member, &context] {
        until(client, "/brands", "403 not-a-member", Duration::from_secs(6)).await;
    }
}

#[tokio::test]
async fn a_cut_listener_comes_back_and_believes_nothing_from_before() {
    let t = app().await;
    let owner = t.tenant("acme").await;
    let (member, context) = known_member(&t, &owner).await;
    let mut conn = t.superuser().await;
    let pid = listener(&mut conn).await;
    set_membership(&mut unheard(&t).await, &member, "admin", "suspended").await;
    sqlx::query("select pg_terminate_backend($1)")
        .bind(pid)
        .execute(&mut conn)
        .await
        .expect("terminate");
    // Sooner than entries expire by themselves.
    until(&context, "/brands", "403 not-a-member", Duration::from_secs(3)).await;
    assert_ne!(listener(&mut conn).await, pid);
    set_membership(&mut conn, &member, "admin", "active").await;
    context.get("/brands").await.ok();
    set_membership(&mut conn, &member, "admin", "suspended").await;
    until(&context, "/brands", "403 not-a-member", SOON).await;
}

#[tokio::test]
async fn every_role_has_exactly_the_permissions_of_the_table() {
    let t = app().await;
    let owner = t.tenant("acme").await;
    for role in identity::ROLES {
        let member = t.member(&owner, role).await;
        let context = member.get("/auth/context").await.ok().json;
        let manages = matches!(role, "owner" | "admin");
        let expected: Vec<_> = identity::grants(role).1.iter().copied().collect();
        assert_eq!(
            (&context["user_role"], &context["permissions"]),
            (&json!(role), &json!(expected))
        );
        assert_eq!(
            (&context["user_id"], &context["tenant_id"]),
            (&json!(member.user_id), &json!(owner.company()))
        );

        member.get("/brands").await.ok();
        let write = member.post("/brands", json!({"name": role})).await;
        if manages {
            write.created();
        } else {
            assert_eq!(
                write.problem(403, "permission-missing").json["permission"],
                "brands.write"
            );
        }
    }
}

#[tokio::test]
async fn without_a_company_the_context_has_no_role() {
    let t = app().await;
    let (a, b) = (t.tenant("a").await, t.tenant("b").await);
    t.join(&mut a.in_company(b.company()), "cashier").await;
    let context = a.without_company().get("/auth/context").await.ok().json;
    assert_eq!(
        (
            &context["tenant_id"],
            &context["user_role"],
            &context["permissions"]
        ),
        (&json!(null), &json!(null), &json!([]))
    );
    let companies = context["companies"].as_array().expect("companies");
    let roles: Vec<_> = companies
        .iter()
        .map(|c| (c["company_name"].as_str(), c["role"].as_str()))
        .collect();
    assert_eq!(roles, [(Some("a"), Some("owner")), (Some("b"), Some("cashier"))]);
    b.in_company(a.company())
        .get("/auth/context")
        .await
        .problem(403, "not-a-member");
}

#[tokio::test]
async fn hearing_changes_takes_no_connection_from_the_pool() {
    let t = testkit::TestApp::with(server::service, |config| {
        config.database.db_system_connections = 1;
    })
    .await;
    super::listener(&mut t.superuser().await).await;
    t.user("ana").await;
}
