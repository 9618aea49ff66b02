//! API keys before every operation: with its permission and no other they do it, in their own company.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use testkit::Client;

use super::operations::Operation;
use super::report::{Report, reached};
use super::world::{Tenant, World};

#[tokio::test]
async fn a_key_does_what_its_permission_allows_and_nothing_else() {
    let world = World::new().await;
    let (a, b) = (world.tenant().await, world.tenant().await);
    let mut report = Report::new("machine");
    let mut for_people = BTreeSet::new();
    // A company has a hundred at most.
    let mut keys = BTreeMap::new();
    for operation in world.business() {
        let permission = operation.permission().expect("a permission");
        let call = world.valid_call(operation, &a).await;
        let other = if permission == "brands.read" {
            "company.read"
        } else {
            "brands.read"
        };
        for name in [other, permission] {
            if !keys.contains_key(name) {
                keys.insert(name.to_owned(), key(&world, &a, name).await);
            }
        }
        let lesser = keys[other].clone().expect("a key for reading");
        let answer = report.send(operation, &call, &lesser).await;
        let what = "a key without the permission";
        report.expect_problem(operation, what, 403, "permission-missing", &answer);

        let Some(machine) = keys[permission].clone() else {
            for_people.insert(permission);
            continue;
        };
        let elsewhere = machine.in_company(b.client.company());
        let answer = report.send(operation, &call, &elsewhere).await;
        report.expect_problem(operation, "another company", 400, "company-mismatch", &answer);
        let answer = report.send(operation, &call, &machine).await;
        let here = answer.header("x-tenant-id") == a.client.company().to_string();
        report.expect(operation, "success", reached(operation, &answer) && here, &answer);
    }
    report.finish(world.business());
    insta::assert_snapshot!("for_people", Vec::from_iter(for_people).join("\n"));
}

#[tokio::test]
async fn no_key_opens_what_is_a_persons() {
    let world = World::new().await;
    let a = world.tenant().await;
    let mut report = Report::new("no-machine");
    let machine = key(&world, &a, "company.read").await.expect("a key");
    let personal = || {
        world.operations.iter().filter(|o| {
            matches!(
                o.access,
                identity::Access::User | identity::Access::UserWithOptionalCompany
            )
        })
    };
    for operation in personal() {
        for client in [machine.clone(), machine.in_company(a.client.company())] {
            let call = world.call(operation, &a.owner);
            let answer = report.send(operation, &call, &client).await;
            refused(&mut report, operation, &answer);
        }
    }
    report.finish(personal());
}

fn refused(report: &mut Report, operation: &Operation, answer: &testkit::Answer) {
    report.expect_problem(operation, "an API key", 401, "unauthenticated", answer);
}

/// A machine of the company with this permission; none when keys cannot have it.
async fn key(world: &World, tenant: &Tenant, permission: &str) -> Option<Client> {
    let body = json!({"name": tenant.owner.marker, "permissions": [permission]});
    let made = tenant.client.post("/company/api-keys", body).await;
    if made.status == 422 {
        assert_eq!(
            made.json["errors"][0]["code"],
            "unknown-permission",
            "{}",
            made.text()
        );
        return None;
    }
    let token = made.created().json["token"].as_str().expect("a token").to_owned();
    Some(world.app.anonymous().with_token(&token))
}
