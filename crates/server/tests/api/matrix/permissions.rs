//! Every operation asks for the permission that the document names, and roles hold what the table
//! of roles says.

use identity::{ROLES, may};

use super::report::{Report, reached};
use super::world::World;

#[tokio::test]
async fn without_its_permission_an_operation_is_refused() {
    let world = World::new().await;
    let a = world.tenant().await;
    // A role of a later release, which this one gives nothing.
    let mut conn = world.app.superuser().await;
    sqlx::query("alter table ally.memberships drop constraint memberships_role_known")
        .execute(&mut conn)
        .await
        .expect("alter");
    let nobody = world.app.member(&a.client, "auditor").await;
    let mut report = Report::new("permission");
    for operation in world.business() {
        let call = world.valid_call(operation, &a).await;
        let answer = report.send(operation, &call, &nobody).await;
        report.expect_problem(
            operation,
            "a role without grants",
            403,
            "permission-missing",
            &answer,
        );
        let named =
            operation.permission().is_some() && answer.json["permission"].as_str() == operation.permission();
        report.expect(
            operation,
            format_args!("the documented permission {:?}", operation.permission()),
            named,
            &answer,
        );
    }
    report.finish(world.business());
}

#[tokio::test]
async fn each_role_may_what_its_table_says() {
    let world = World::new().await;
    let a = world.tenant().await;
    let mut report = Report::new("role");
    for role in ROLES {
        let member = world.app.member(&a.client, role).await;
        for operation in world.business() {
            let call = world.valid_call(operation, &a).await;
            let sender = world.sender(operation, &member).await;
            let answer = report.send(operation, &call, &sender).await;
            if operation
                .permission()
                .is_some_and(|permission| may(role, permission))
            {
                report.expect(
                    operation,
                    format_args!("success for {role}"),
                    reached(operation, &answer),
                    &answer,
                );
            } else {
                report.expect_problem(operation, role, 403, "permission-missing", &answer);
            }
        }
    }
    report.finish(world.business());
}
