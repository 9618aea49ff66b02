//! No operation but the public ones answers without a live token of ours.

use std::time::Duration;

use identity::Access;
use testkit::Client;

use super::operations::Operation;
use super::report::Report;
use super::world::{Tenant, World};

#[tokio::test]
async fn nothing_answers_without_a_live_token() {
    let world = World::new().await;
    let a = world.tenant().await;
    let mut report = Report::new("token");
    let guarded = || world.operations.iter().filter(|o| o.access != Access::Public);
    a.client
        .post("/auth/logout", serde_json::Value::Null)
        .await
        .status(204);
    let pretenders = without_a_live_token(&world, &a).await;
    for operation in guarded() {
        let call = world.call(operation, &a.owner);
        let answer = report.send(operation, &call, &a.client).await;
        refused(&mut report, operation, "an ended session", &answer);
        for (what, client) in &pretenders {
            for client in [client.clone(), client.without_company()] {
                let answer = report.send(operation, &call, &client).await;
                refused(&mut report, operation, what, &answer);
            }
        }
    }
    report.finish(guarded());
}

#[tokio::test]
async fn tokens_expire() {
    let world = World::new().await;
    let a = world.tenant().await;
    let context = context_token(&a.client).await;
    world.app.app.clock.advance(Duration::from_secs(31 * 60));
    let mut report = Report::new("expired");
    let guarded = || world.operations.iter().filter(|o| o.access != Access::Public);
    for operation in guarded() {
        for client in [a.client.clone(), a.client.without_company().with_token(&context)] {
            let answer = report
                .send(operation, &world.call(operation, &a.owner), &client)
                .await;
            refused(&mut report, operation, "an expired token", &answer);
        }
    }
    report.finish(guarded());
}

/// Clients that nobody may take for a signed-in one.
async fn without_a_live_token(world: &World, a: &Tenant) -> Vec<(&'static str, Client)> {
    let live = world
        .app
        .sign_in(&a.client.email)
        .await
        .in_company(a.client.company());
    let [header, payload, signature] =
        [0, 1, 2].map(|i| live.token.split('.').nth(i).expect("three parts").to_owned());
    let flipped = if signature.starts_with('A') { "B" } else { "A" };
    let forged = format!("{header}.{payload}.{flipped}{}", &signature[1..]);
    // {"typ":"JWT","alg":"none"}
    let unsigned = format!("eyJ0eXAiOiJKV1QiLCJhbGciOiJub25lIn0.{payload}.");
    let bare = live.with_token("");
    vec![
        ("no token", bare.clone()),
        ("garbage", live.with_token("garbage")),
        ("a wrong signature", live.with_token(&forged)),
        ("no signature", live.with_token(&unsigned)),
        ("a refresh token", live.with_token(&live.refresh_token)),
        (
            "another scheme",
            bare.with_header("Authorization", &format!("Basic {}", live.token)),
        ),
        (
            "two tokens",
            live.with_header("Authorization", &format!("Bearer {}", live.token)),
        ),
    ]
}

fn refused(report: &mut Report, operation: &Operation, what: &str, answer: &testkit::Answer) {
    report.expect_problem(operation, what, 401, "unauthenticated", answer);
    let challenged = answer.header("www-authenticate") == "Bearer" && answer.header("x-tenant-id").is_empty();
    report.expect(operation, "a challenge and no company", challenged, answer);
}

/// A context token for the client's company.
pub async fn context_token(client: &Client) -> String {
    let selection = serde_json::json!({"company_id": client.company()});
    let answer = client
        .without_company()
        .post("/auth/select-company", selection)
        .await
        .ok();
    answer.json["access_token"]
        .as_str()
        .expect("a context token")
        .to_owned()
}
