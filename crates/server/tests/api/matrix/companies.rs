//! Every operation on a company's data acts in the one company that the request names and of which
//! the caller is an active member, and says which one that was.

use testkit::Client;
use uuid::Uuid;

use super::operations::Operation;
use super::oracle::comparable;
use super::report::{Report, reached};
use super::tokens::context_token;
use super::world::{Call, Tenant, World};

#[tokio::test]
async fn a_company_must_be_named_and_be_the_callers() {
    let world = World::new().await;
    let (a, b) = (world.tenant().await, world.tenant().await);
    let strangers = strangers(&world, &a, &b).await;
    let in_context = in_context_of(&a.client).await;
    let mut report = Report::new("company");
    for operation in world.business() {
        let call = world.valid_call(operation, &a).await;
        let answer = report.send(operation, &call, &a.client.without_company()).await;
        report.expect_problem(operation, "no company", 400, "company-header-missing", &answer);
        let answer = report
            .send(
                operation,
                &call,
                &a.client
                    .with_header("X-Company-ID", &b.client.company().to_string()),
            )
            .await;
        report.expect_problem(operation, "two companies", 400, "company-header-invalid", &answer);
        for other in [b.client.company(), Uuid::new_v4()] {
            let answer = report.send(operation, &call, &in_context.in_company(other)).await;
            report.expect_problem(
                operation,
                "a token for another company",
                400,
                "company-mismatch",
                &answer,
            );
        }
        not_a_member(&mut report, operation, &call, &strangers).await;
        let sender = match world.stand_in(operation, &a.client).await {
            Some(other) => in_context_of(&other).await,
            None => in_context.clone(),
        };
        let answer = report.send(operation, &call, &sender).await;
        report.expect(
            operation,
            "success with a context token",
            reached(operation, &answer),
            &answer,
        );
    }
    report.finish(world.business());
}

/// The same caller, naming his company by a context token only.
async fn in_context_of(client: &Client) -> Client {
    client.without_company().with_token(&context_token(client).await)
}

/// Callers who are not active members of the company that they name; the first names one that does
/// not exist.
async fn strangers(world: &World, a: &Tenant, b: &Tenant) -> Vec<Client> {
    let (suspended, removed) = (
        world.app.member(&a.client, "admin").await,
        world.app.member(&a.client, "owner").await,
    );
    let mut conn = world.app.superuser().await;
    for (statement, id) in [
        (
            "update ally.memberships set state = 'suspended' where user_id = $1",
            suspended.user_id,
        ),
        ("delete from ally.memberships where user_id = $1", removed.user_id),
    ] {
        sqlx::query(statement)
            .bind(id)
            .execute(&mut conn)
            .await
            .expect(statement);
    }
    vec![
        b.client.in_company(Uuid::new_v4()),
        b.client.in_company(a.client.company()),
        suspended,
        removed,
    ]
}

/// All strangers get the same answer.
async fn not_a_member(report: &mut Report, operation: &Operation, call: &Call, strangers: &[Client]) {
    let mut answers = Vec::new();
    for stranger in strangers {
        let answer = report.send(operation, call, stranger).await;
        report.expect_problem(operation, "a stranger", 403, "not-a-member", &answer);
        report.expect(
            operation,
            "no company in the answer",
            answer.header("x-tenant-id").is_empty(),
            &answer,
        );
        answers.push(answer);
    }
    for answer in &answers {
        let same = comparable(answer) == comparable(&answers[0]);
        report.expect(
            operation,
            "the answer to a company that does not exist",
            same,
            answer,
        );
    }
}

#[tokio::test]
async fn every_answer_to_a_member_names_the_company() {
    let world = World::new().await;
    let a = world.tenant().await;
    let viewer = world.app.member(&a.client, "viewer").await;
    let company = a.client.company().to_string();
    let mut report = Report::new("tenant-header");
    for operation in world.business() {
        let valid = world.valid_call(operation, &a).await;
        let nowhere = world.call(operation, &a.owner.random());
        let query = valid.at(format!("{}?limit=0&nonsense=1", valid.path));
        let broken = nowhere.with_body(Some(serde_json::json!([])));
        for (call, client) in [
            (nowhere, &a.client),
            (broken, &a.client),
            (query, &a.client),
            (valid.clone(), &viewer),
            (valid, &a.client),
        ] {
            let sender = world.sender(operation, client).await;
            let answer = report.send(operation, &call, &sender).await;
            report.expect(
                operation,
                "X-Tenant-ID",
                answer.header("x-tenant-id") == company,
                &answer,
            );
        }
    }
    report.finish(world.business());
}
