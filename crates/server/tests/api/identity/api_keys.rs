//! API keys: what a machine may do with one, and when it no longer may.

use std::time::{Duration, Instant};

use kernel::app::{App, Shared};
use kernel::db::{Db, PoolSize, RolePasswords};
use serde_json::{Value, json};
use testkit::{Answer, Client, TestApp};
use uuid::Uuid;

use super::{DAY, MINUTE, fault, listener, text, until};
use crate::app;
use crate::jobs::support::state;

const KEYS: &str = "/company/api-keys";
const SOON: Duration = Duration::from_secs(1);

/// Makes a key and returns the answer.
async fn make(by: &Client, permissions: &[&str]) -> Answer {
    let body = json!({"name": "Tienda en línea", "permissions": permissions});
    by.post(KEYS, body).await.created()
}

/// Who calls with the key, naming no company.
fn machine(t: &TestApp, made: &Answer) -> Client {
    t.anonymous().with_token(text(made, "token"))
}

#[tokio::test]
async fn a_machine_acts_in_its_company_without_naming_it() {
    let t = app().await;
    let (a, b) = (t.tenant("a").await, t.tenant("b").await);
    let made = make(&a, &["brands.write", "brands.read"]).await;
    assert_eq!(made.json["permissions"], json!(["brands.read", "brands.write"]));
    assert_eq!(made.json["created_by"], json!(a.user_id));
    assert!(text(&made, "token").starts_with("ak_live_") && text(&made, "token").len() == 80);
    assert!(text(&made, "token").starts_with(text(&made, "prefix")));

    let shop = machine(&t, &made);
    for client in [&shop, &shop.in_company(a.company())] {
        let answer = client
            .post("/brands", json!({"name": Uuid::new_v4().to_string()}))
            .await;
        assert_eq!(answer.created().header("x-tenant-id"), a.company().to_string());
    }
    assert_eq!(a.get("/brands").await.ok().items("id").len(), 2);
    shop.in_company(b.company())
        .get("/brands")
        .await
        .problem(400, "company-mismatch");
    shop.in_company(Uuid::new_v4())
        .get("/brands")
        .await
        .problem(400, "company-mismatch");
    shop.with_header("X-Company-ID", "x")
        .get("/brands")
        .await
        .problem(400, "company-header-invalid");
    assert_eq!(b.get("/brands").await.ok().items("id").len(), 0);
}

#[tokio::test]
async fn a_key_may_what_was_chosen_and_nothing_else() {
    let t = app().await;
    let a = t.tenant("a").await;
    let reader = machine(&t, &make(&a, &["brands.read"]).await);
    reader.get("/brands").await.ok();
    for (answer, permission) in [
        (
            reader.post("/brands", json!({"name": "Acme"})).await,
            "brands.write",
        ),
        (reader.get("/products").await, "products.read"),
        (reader.get(KEYS).await, "api_keys.read"),
        (
            reader
                .post(KEYS, json!({"name": "x", "permissions": ["brands.read"]}))
                .await,
            "api_keys.write",
        ),
    ] {
        assert_eq!(
            answer.problem(403, "permission-missing").json["permission"],
            permission
        );
    }
    // It is nobody's session.
    for client in [&reader, &reader.in_company(a.company())] {
        for path in ["/auth/me", "/auth/context", "/company/my_companies"] {
            client.get(path).await.problem(401, "unauthenticated");
        }
        client
            .post("/auth/logout", Value::Null)
            .await
            .problem(401, "unauthenticated");
        client
            .post("/auth/select-company", json!({"company_id": a.company()}))
            .await
            .problem(401, "unauthenticated");
    }
}

#[tokio::test]
async fn nobody_gives_a_key_more_than_he_has() {
    let t = app().await;
    let a = t.tenant("a").await;
    let viewer = t.member(&a, "viewer").await;
    let body = json!({"name": "x", "permissions": ["brands.read"]});
    for answer in [viewer.post(KEYS, body.clone()).await, viewer.get(KEYS).await] {
        answer.problem(403, "permission-missing");
    }
    // Whatever the roles say, a permission that the maker lacks is refused.
    let mut conn = t.superuser().await;
    let strong = make(&a, &["brands.read"]).await;
    let admin = t.member(&a, "admin").await;
    sqlx::query("update ally.api_keys set permissions = '{brands.read,nobody.has}' where tenant_id = $1")
        .bind(a.company())
        .execute(&mut conn)
        .await
        .expect("a key");
    let path = format!("{KEYS}/{}", strong.id());
    for editor in [&a, &admin] {
        let answer = editor.patch(&path, json!({"name": "Mine"})).await;
        assert_eq!(
            answer.problem(403, "permission-missing").json["permission"],
            "nobody.has"
        );
    }
    assert_eq!(a.get(&path).await.ok().json["name"], "Tienda en línea");
    // A permission that there no longer is, is not held.
    machine(&t, &strong).get("/brands").await.ok();
    // To take it away needs no more than the right to.
    admin.delete(&path).await.status(204);

    for (permissions, pointer) in [
        (json!(["brands.read", "brands.paint"]), "/permissions/1"),
        (json!(["api_keys.write"]), "/permissions/0"),
        (json!(["members.write"]), "/permissions/0"),
        (json!(["background"]), "/permissions/0"),
        (json!(["demo.seed"]), "/permissions/0"),
        (json!([]), "/permissions"),
    ] {
        let answer = a
            .post(KEYS, json!({"name": "x", "permissions": permissions}))
            .await;
        assert_eq!(fault(&answer).0, pointer);
        answer.problem(422, "validation-failed");
    }
}

#[tokio::test]
async fn the_token_is_shown_once_and_stored_nowhere() {
    let t = app().await;
    let a = t.tenant("a").await;
    let keyed = a.with_header("Idempotency-Key", "one");
    let body = json!({"name": "Tienda", "permissions": ["brands.read"]});
    let made = keyed.post(KEYS, body.clone()).await.created();
    let token = text(&made, "token").to_owned();
    machine(&t, &made).get("/brands").await.ok();
    let path = format!("{KEYS}/{}", made.id());
    for answer in [
        a.get(KEYS).await.ok(),
        a.get(&path).await.ok(),
        a.patch(&path, json!({"name": "Otra"})).await.ok(),
        keyed
            .post(KEYS, body)
            .await
            .problem(409, "idempotency-answer-not-kept"),
    ] {
        assert!(!answer.text().contains(&token) && answer.json.get("token").is_none());
    }
    assert_eq!(a.get(KEYS).await.ok().items("name"), ["Otra"]);

    let mut conn = t.superuser().await;
    let tables: Vec<String> = sqlx::query_scalar(
        "select relname::text from pg_class where relnamespace = 'ally'::regnamespace and relkind in ('r', 'p')",
    )
    .fetch_all(&mut conn)
    .await
    .expect("tables");
    let secret = &token[30..];
    for table in tables {
        let mut query = sqlx::QueryBuilder::<sqlx::Postgres>::new("select count(*) from ally.");
        query
            .push(&table)
            .push(" as t where strpos(t::text, ")
            .push_bind(secret);
        query
            .push(") > 0 or strpos(t::text, encode(")
            .push_bind(secret)
            .push("::bytea, 'hex')) > 0");
        let found: i64 = query
            .build_query_scalar()
            .fetch_one(&mut conn)
            .await
            .expect("rows");
        assert_eq!(found, 0, "{table}");
    }
}

#[tokio::test]
async fn what_was_not_made_here_is_refused_without_asking_the_database() {
    let t = app().await;
    let a = t.tenant("a").await;
    let made = make(&a, &["brands.read"]).await;
    let token = text(&made, "token");
    let changed = |place: usize| {
        let mut bytes = token.as_bytes().to_vec();
        bytes[place] = if bytes[place] == b'x' { b'y' } else { b'x' };
        String::from_utf8(bytes).expect("ascii")
    };
    // A process without a database.
    let (roles, size) = (
        RolePasswords {
            app: vec![String::new()],
            system: vec![String::new()],
        },
        PoolSize {
            app: 1,
            system: 1,
            acquire_timeout: SOON,
        },
    );
    let mut alone = Shared::clone(&t.app);
    alone.db = Db::connect_lazy(&t.database().options().clone().socket("/nowhere"), &roles, &size);
    let alone = Client::of(server::service(&App::from(alone)));
    for wrong in [
        &changed(79),
        &changed(40),
        &changed(9),
        &token[..79],
        "ak_live_",
        "ak_test_1",
    ] {
        for client in [&t.anonymous(), &alone] {
            client
                .with_token(wrong)
                .get("/brands")
                .await
                .problem(401, "unauthenticated");
        }
    }
    alone
        .with_token(token)
        .get("/brands")
        .await
        .problem(503, "unavailable");
    machine(&t, &made).get("/brands").await.ok();
}

#[tokio::test]
async fn an_expired_key_is_refused() {
    let t = app().await;
    let a = t.tenant("a").await;
    let now = t.app.clock.now();
    let at = |offset: Duration| json!((now + offset).to_string());
    let body =
        |expires_at: Value| json!({"name": "x", "permissions": ["brands.read"], "expires_at": expires_at});
    for wrong in [
        at(367 * DAY),
        json!("2020-01-01T00:00:00Z"),
        json!(now.to_string()),
    ] {
        let answer = a.post(KEYS, body(wrong)).await;
        assert_eq!(fault(&answer), ("/expires_at", "range"));
        answer.problem(422, "validation-failed");
    }
    a.post(KEYS, body(json!("mañana")))
        .await
        .problem(422, "validation-failed");
    let forever = make(&a, &["brands.read"]).await;
    let ends: jiff::Timestamp = text(&forever, "expires_at").parse().expect("a time");
    assert!(ends <= now + 366 * DAY + MINUTE && ends > now + 365 * DAY);

    let short = a.post(KEYS, body(at(MINUTE * 10))).await.created();
    let shop = machine(&t, &short);
    shop.get("/brands").await.ok();
    t.app.clock.advance(9 * MINUTE);
    shop.get("/brands").await.ok();
    t.app.clock.advance(2 * MINUTE);
    shop.get("/brands").await.problem(401, "unauthenticated");
    machine(&t, &forever).get("/brands").await.ok();
}

#[tokio::test]
async fn a_revoked_key_is_out_on_every_process_with_the_next_request() {
    let t = app().await;
    let a = t.tenant("a").await;
    let made = make(&a, &["brands.read"]).await;
    let here = machine(&t, &made);
    let there = Client::of(server::service(&state(&t, 2))).with_token(text(&made, "token"));
    for client in [&here, &there] {
        client.get("/brands").await.ok();
    }
    // Both listen.
    let mut conn = t.superuser().await;
    listener(&mut conn).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    for client in [&here, &there] {
        client.get("/brands").await.ok();
    }
    let path = format!("{KEYS}/{}", made.id());
    a.delete(&path).await.status(204);
    for client in [&here, &there] {
        until(client, "/brands", "401 unauthenticated", SOON).await;
    }
    for answer in [
        a.get(&path).await,
        a.delete(&path).await,
        a.patch(&path, json!({"name": "x"})).await,
    ] {
        answer.problem(404, "not-found");
    }
    assert!(a.get(KEYS).await.ok().items("id").is_empty());
    let revoked = a.get(&format!("{KEYS}?revoked=true")).await.ok();
    assert_eq!(revoked.items("id"), [made.id()]);
    assert!(revoked.json["items"][0]["revoked_at"].is_string());
}

#[tokio::test]
async fn a_key_outlives_its_makers_membership_and_not_its_company() {
    let t = app().await;
    let a = t.tenant("a").await;
    let admin = t.member(&a, "admin").await;
    let shop = machine(&t, &make(&admin, &["brands.read", "brands.write"]).await);
    let mut conn = t.superuser().await;
    sqlx::query("delete from ally.memberships where user_id = $1")
        .bind(admin.user_id)
        .execute(&mut conn)
        .await
        .expect("membership");
    until(&admin, "/brands", "403 not-a-member", SOON).await;
    shop.get("/brands").await.ok();
    for (state, reading, writing) in [
        ("suspended", "200", "403 company-suspended"),
        ("closed", "403 company-closed", "403 company-closed"),
        ("active", "200", "201"),
    ] {
        sqlx::query("update ally.companies set state = $2 where tenant_id = $1")
            .bind(a.company())
            .bind(state)
            .execute(&mut conn)
            .await
            .expect("company");
        let limit = Instant::now() + SOON;
        loop {
            let answer = shop
                .post("/brands", json!({"name": Uuid::new_v4().to_string()}))
                .await
                .summary();
            if answer == writing && shop.get("/brands").await.summary() == reading {
                break;
            }
            assert!(Instant::now() < limit, "{state}: {answer}");
            tokio::time::sleep(SOON / 50).await;
        }
    }
}

#[tokio::test]
async fn the_last_use_is_noted_once_a_minute() {
    let t = app().await;
    let a = t.tenant("a").await;
    let made = make(&a, &["brands.read"]).await;
    let path = format!("{KEYS}/{}", made.id());
    assert_eq!(a.get(&path).await.ok().json["last_used_at"], Value::Null);
    let shop = machine(&t, &made);
    for _ in 0..20 {
        shop.get("/brands").await.ok();
    }
    let mut noted = a.get(&path).await.ok();
    for _ in 0..100 {
        if noted.json["last_used_at"].is_string() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        noted = a.get(&path).await.ok();
    }
    let at: jiff::Timestamp = text(&noted, "last_used_at").parse().expect("a time");
    assert!(t.app.clock.now().duration_since(at).as_secs() < 30);
    assert_eq!(noted.header("etag"), made.header("etag"), "using it is no change");
    for _ in 0..20 {
        shop.get("/brands").await.ok();
    }
    let again = a.get(&path).await.ok();
    assert_eq!(
        again.json["last_used_at"], noted.json["last_used_at"],
        "written again within the minute"
    );
}

#[tokio::test]
async fn what_a_machine_does_is_its_own() {
    let t = app().await;
    let a = t.tenant("a").await;
    let made = make(&a, &["files.write", "files.read", "jobs.read", "brands.write"]).await;
    let shop = machine(&t, &made);
    let upload = json!({"module": "products", "filename": "a.png", "content_type": "image/png", "size": 5});
    shop.post("/files/upload/presign", upload).await.created();
    let mut conn = t.superuser().await;
    let by: Vec<Uuid> = sqlx::query_scalar("select uploaded_by from ally.files union all select created_by from ally.jobs where name = 'files.await_upload'")
        .fetch_all(&mut conn)
        .await
        .expect("rows");
    assert_eq!(
        by.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [made.id(), made.id()]
    );
    // The trail names it; making it is recorded without its hash.
    let trail = a.get(&format!("/audit?actor_id={}", made.id())).await.ok();
    assert!(
        trail.items("entity").contains(&"files".to_owned()),
        "{}",
        trail.text()
    );
    let actor = &trail.json["items"][0]["actor"];
    assert_eq!(
        (&actor["kind"], &actor["name"]),
        (&json!("key"), &json!("Tienda en línea"))
    );
    let created = a.get("/audit?entity=api_keys").await.ok();
    assert_eq!(created.json["items"][0]["entity_id"], json!(made.id()));
    assert_eq!(created.json["items"][0]["actor"]["id"], json!(a.user_id));
    // Its idempotency keys are not those of the user who made it.
    for client in [&a, &shop] {
        let keyed = client.with_header("Idempotency-Key", "one");
        let answer = keyed
            .post("/brands", json!({"name": client.user_id.to_string()}))
            .await
            .created();
        assert_eq!(answer.header("idempotency-replayed"), "");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_keys_made_at_once_a_hundred_come_to_be() {
    let t = app().await;
    let (a, b) = (t.tenant("a").await, t.tenant("b").await);
    let mut conn = t.superuser().await;
    // Ended ones do not count.
    let insert = "insert into ally.api_keys (tenant_id, id, name, token_hash, prefix, permissions, created_by, expires_at, revoked_at)
        select $1, gen_random_uuid(), 'k', sha256(n::text::bytea), 'ak', '{brands.read}', gen_random_uuid(),
               now() + make_interval(hours => case when n <= 5 then -1 else 1 end),
               case when n between 6 and 10 then now() end
          from generate_series(1, 105) as n";
    sqlx::query(insert)
        .bind(a.company())
        .execute(&mut conn)
        .await
        .expect("keys");
    let new = json!({"name": "one more", "permissions": ["brands.read"]});
    let asked = (0..20).map(|_| a.post("/company/api-keys", new.clone()));
    let answers: Vec<String> = futures::future::join_all(asked)
        .await
        .iter()
        .map(testkit::Answer::summary)
        .collect();
    let made = answers.iter().filter(|answer| *answer == "201").count();
    let refused = answers
        .iter()
        .filter(|answer| *answer == "409 too-many-api-keys")
        .count();
    assert_eq!((made, refused), (5, 15), "{answers:?}");
    b.post("/company/api-keys", new.clone()).await.created();

    let key = a
        .get("/company/api-keys?limit=1")
        .await
        .ok()
        .items("id")
        .remove(0);
    a.delete(&format!("/company/api-keys/{key}")).await.status(204);
    a.post("/company/api-keys", new.clone()).await.created();
    a.post("/company/api-keys", new)
        .await
        .problem(409, "too-many-api-keys");
}

/// The process that revokes knows by itself, whatever the database tells it.
#[tokio::test]
async fn a_revoked_key_is_out_at_once_where_it_was_revoked() {
    let t = app().await;
    let a = t.tenant("a").await;
    let made = make(&a, &["brands.read"]).await;
    let here = machine(&t, &made);
    here.get("/brands").await.ok();
    sqlx::query("alter table ally.api_keys disable trigger user")
        .execute(&mut t.superuser().await)
        .await
        .expect("nobody is told");
    here.get("/brands").await.ok();
    a.delete(&format!("{KEYS}/{}", made.id())).await.status(204);
    here.get("/brands").await.problem(401, "unauthenticated");
}
