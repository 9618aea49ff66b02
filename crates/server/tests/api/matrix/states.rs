//! What a company's state does to every operation: suspended, it reads and does not write; closed, it
//! does neither.

use http::Method;
use identity::{CompanyState, set_company_state};

use super::report::{Report, reached};
use super::witness::rows_of_others;
use super::world::World;

#[tokio::test]
async fn a_suspended_company_reads_and_does_not_write() {
    let world = World::new().await;
    let a = world.tenant().await;
    let nobody = kernel::ids::new_id();
    let mut calls = Vec::new();
    for operation in world.business() {
        let sender = world.sender(operation, &a.client).await;
        calls.push((operation, world.valid_call(operation, &a).await, sender));
    }
    set(&world, &a, CompanyState::Suspended).await;
    let before = rows_of_others(&world.app, nobody).await;
    let mut report = Report::new("suspended");
    for (operation, call, sender) in &calls {
        let answer = report.send(operation, call, sender).await;
        if operation.method == Method::GET {
            report.expect(
                operation,
                "what a suspended company has",
                reached(operation, &answer),
                &answer,
            );
        } else {
            report.expect_problem(
                operation,
                "a suspended company",
                403,
                "company-suspended",
                &answer,
            );
        }
    }
    assert_eq!(
        rows_of_others(&world.app, nobody).await,
        before,
        "something was written"
    );
    report.finish(world.business());

    set(&world, &a, CompanyState::Active).await;
    let mut report = Report::new("resumed");
    for (operation, call, sender) in &calls {
        let answer = report.send(operation, call, sender).await;
        report.expect(
            operation,
            "success as before",
            reached(operation, &answer),
            &answer,
        );
    }
    report.finish(world.business());
}

#[tokio::test]
async fn a_closed_company_does_nothing() {
    let world = World::new().await;
    let (a, b) = (world.tenant().await, world.tenant().await);
    set(&world, &a, CompanyState::Closed).await;
    let stranger = b.client.in_company(a.client.company());
    let mut report = Report::new("closed");
    for operation in world.business() {
        let call = world.call(operation, &a.owner);
        let answer = report.send(operation, &call, &a.client).await;
        report.expect_problem(operation, "a closed company", 403, "company-closed", &answer);
        let answer = report.send(operation, &call, &stranger).await;
        report.expect_problem(operation, "a stranger", 403, "not-a-member", &answer);
    }
    report.finish(world.business());
}

/// Sets the state, and waits until the API has heard of it.
async fn set(world: &World, tenant: &super::world::Tenant, state: CompanyState) {
    let company = tenant.client.company();
    set_company_state(&world.app.app, company, state, "test")
        .await
        .expect("a state");
    // In a session of which nothing is cached.
    let fresh = world.app.sign_in(&tenant.client.email).await.in_company(company);
    let expected = match state {
        CompanyState::Active => "422 validation-failed",
        CompanyState::Suspended => "403 company-suspended",
        CompanyState::Closed => "403 company-closed",
    };
    let answer = fresh.post("/brands", serde_json::json!({})).await;
    assert_eq!(answer.summary(), expected);
}
