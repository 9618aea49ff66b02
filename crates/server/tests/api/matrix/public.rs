//! The routes that are not on a company's data: exactly those of the list, each asking for what the
//! list says.

use std::collections::BTreeSet;

use http::Method;
use identity::{Access, EXEMPT};

use super::report::{Report, reached};
use super::world::{World, session_of};

/// Served beside the documented operations.
const UNDOCUMENTED: &[&str] = &[
    "/",
    "/account/request-password-reset",
    "/account/reset-password",
    "/account/confirm-email",
    "/account/accept-invitation",
    "/account/verify-email",
    "/dev/mail",
    "/dev/mail.json",
    "/docs",
    "/docs/{*rest}",
    "/health",
    "/health/live",
    "/health/ready",
    "/openapi.json",
    "/problems",
    "/problems/{code}",
];

/// One mail of development's mailbox, which needs one in it.
const OF_DEVELOPERS: [&str; 2] = ["/dev/mail/{id}", "/dev/mail/{id}/body"];

/// For operators and the object store, each with a token of its own.
const OF_OPERATORS: [(&str, &str); 4] = [
    ("GET", "/operator/jobs"),
    ("GET", "/operator/jobs.json"),
    ("POST", "/operator/jobs/{tenant_id}/{job_id}/retry"),
    ("POST", "/store/events"),
];

#[tokio::test]
async fn exactly_the_listed_routes_need_no_company() {
    let world = World::new().await;
    let listed: BTreeSet<(&str, &str)> = EXEMPT
        .iter()
        .map(|(method, path, _)| (method.as_str(), *path))
        .collect();
    assert_eq!(listed.len(), EXEMPT.len(), "a route is listed twice");
    let documented = world
        .operations
        .iter()
        .filter(|o| !o.is_business())
        .map(|o| (o.method.as_str(), o.path.as_str()));
    let known: BTreeSet<(&str, &str)> = documented
        .chain(UNDOCUMENTED.iter().map(|path| ("GET", *path)))
        .chain(OF_DEVELOPERS.map(|path| ("GET", path)))
        .chain(OF_OPERATORS)
        .collect();
    assert_eq!(listed, known);
    for operation in &world.operations {
        let security = operation.document()["security"].as_array().expect("security");
        let names_company = security.iter().any(|way| way.get("company").is_some());
        assert_eq!(
            (security.is_empty(), names_company),
            (operation.access == Access::Public, operation.is_business()),
            "{}",
            operation.id
        );
        assert_eq!(
            operation.permission().is_some(),
            operation.is_business(),
            "{}",
            operation.id
        );
    }
}

#[tokio::test]
async fn undocumented_routes_are_public_and_say_nothing_of_companies() {
    let world = World::new().await;
    let a = world.tenant().await;
    for path in UNDOCUMENTED.iter().map(|path| {
        path.replace("{*rest}", "swagger-ui.css")
            .replace("{code}", "not-found")
    }) {
        for client in [world.app.anonymous(), a.client.clone()] {
            let answer = client.send(Method::GET, &path, None).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            assert!(
                answer.header("x-tenant-id").is_empty() && !answer.text().contains(&a.owner.marker),
                "{path}"
            );
        }
    }
}

#[tokio::test]
async fn what_is_not_business_works_without_a_company() {
    let world = World::new().await;
    let (a, b) = (world.tenant().await, world.tenant().await);
    let mut report = Report::new("exempt");
    let exempt = || world.operations.iter().filter(|o| !o.is_business());
    for operation in exempt() {
        // Some operations end sessions or the account: each has a user of its own, signed in twice.
        let user = world.app.member(&a.client, "viewer").await.without_company();
        let twice = world.app.sign_in(&user.email).await;
        let owner = a.owner.with("session_id", &session_of(&twice));
        let call = world.call(operation, &owner);
        let client = if operation.access == Access::Public {
            world.app.anonymous()
        } else {
            user.clone()
        };
        let answer = report.send(operation, &call, &client).await;
        let let_in = answer.json["code"] != "unauthenticated" && answer.status != 404;
        let done = operation.access == Access::Public || reached(operation, &answer);
        report.expect(operation, "to be let in", let_in && done, &answer);
        report.expect(
            operation,
            "no company",
            answer.header("x-tenant-id").is_empty(),
            &answer,
        );

        let user = world.app.member(&a.client, "viewer").await.without_company();
        let answer = report
            .send(operation, &call, &user.in_company(b.client.company()))
            .await;
        if operation.access == Access::UserWithOptionalCompany {
            report.expect_problem(operation, "another company", 403, "not-a-member", &answer);
            let own = report
                .send(operation, &call, &user.in_company(a.client.company()))
                .await;
            let named = own.header("x-tenant-id") == a.client.company().to_string();
            report.expect(
                operation,
                "success in the own company",
                own.status.is_success() && named,
                &own,
            );
        } else {
            report.expect(
                operation,
                "no look at the company",
                answer.header("x-tenant-id").is_empty() && answer.status != 403,
                &answer,
            );
        }
        let found = answer.text().contains(&b.owner.marker);
        report.expect(operation, "nothing of the other company", !found, &answer);
    }
    report.finish(exempt());
}
