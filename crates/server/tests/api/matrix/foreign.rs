//! Another company's resources: not read, not written, not referred to; for lists see `lists`.

use testkit::Answer;

use super::operations::Operation;
use super::oracle::comparable;
use super::report::{Report, reached};
use super::witness::{Secrets, now, old_rows_of_others};
use super::world::{Call, Tenant, World};

const CHECK: &str = "foreign";

#[tokio::test]
async fn another_companys_resources_are_out_of_reach() {
    let world = World::new().await;
    let (a, b) = (world.tenant().await, world.tenant().await);
    let report = leaks(&world, &a, &b, usize::MAX).await;
    report.finish(world.business());
}

#[tokio::test]
async fn who_owns_two_companies_acts_in_one_at_a_time() {
    let world = World::new().await;
    let (a, b) = (world.tenant().await, world.tenant().await);
    let mut client = a.client.in_company(b.client.company());
    world.app.join(&mut client, "owner").await;
    // His colleagues in B see his name: it is no secret of A.
    sqlx::query("update ally.users set first_name = 'Both', email = 'both@example.com' where id = $1")
        .bind(client.user_id)
        .execute(&mut world.app.superuser().await)
        .await
        .expect("user");
    let both = Tenant { client, ..b };
    leaks(&world, &a, &both, usize::MAX)
        .await
        .finish(world.business());
}

/// Calls the operations as B's owner in all the ways that could reach what A owns, until an operation
/// has made it `enough` faults.
pub async fn leaks(world: &World, a: &Tenant, b: &Tenant, enough: usize) -> Report {
    let mut probes = Probes {
        world,
        a,
        b,
        secrets: Secrets::of(&world.app, a).await.shared_with(b.client.user_id),
        report: Report::new(CHECK),
    };
    let begun = now(&world.app).await;
    for operation in world.business() {
        let before = old_rows_of_others(&world.app, b.client.company(), &begun).await;
        probes.own(operation).await;
        probes.path(operation).await;
        probes.references(operation).await;
        probes.list(operation).await;
        if old_rows_of_others(&world.app, b.client.company(), &begun).await != before {
            probes
                .report
                .fault(format!("{}: rows of others have changed", operation.id));
        }
        if probes.report.faults.len() >= enough {
            break;
        }
    }
    probes.report
}

/// One run of the probes.
pub struct Probes<'a> {
    pub world: &'a World,
    pub a: &'a Tenant,
    pub b: &'a Tenant,
    pub report: Report,
    secrets: Secrets,
}

impl Probes<'_> {
    /// What B does to its own succeeds and shows nothing of A.
    async fn own(&mut self, operation: &Operation) {
        let call = self.world.valid_call(operation, self.b).await;
        let sender = self.world.sender(operation, &self.b.client).await;
        let answer = self.report.send(operation, &call, &sender).await;
        self.nothing_of_a(operation, &answer);
        self.report.expect(
            operation,
            "success on own resources",
            reached(operation, &answer),
            &answer,
        );
    }

    /// A's ids in the path: 404, whatever version is asked for.
    async fn path(&mut self, operation: &Operation) {
        for parameter in &operation.path_parameters {
            let owner = self.b.owner.with(parameter, &self.a.owner.ids[parameter]);
            let call = self.world.call(operation, &owner);
            for if_match in [None, Some("\"1\""), Some("*"), Some("\"999\"")] {
                let client = if_match.map_or_else(
                    || self.b.client.clone(),
                    |tag| self.b.client.with_header("If-Match", tag),
                );
                let answer = self.report.send(operation, &call, &client).await;
                self.report.expect_problem(
                    operation,
                    format_args!("a foreign {parameter} in the path"),
                    404,
                    "not-found",
                    &answer,
                );
                self.nothing_of_a(operation, &answer);
            }
        }
    }

    /// A's ids in the body: as if they named nothing.
    async fn references(&mut self, operation: &Operation) {
        let Some((_, schema)) = &operation.body else {
            return;
        };
        for (pointer, name) in self.world.bodies.references(schema) {
            let mut answers = Vec::new();
            for id in self.foreign_and_random(&name) {
                let call = self.world.valid_call(operation, self.b).await.with(&pointer, id);
                let answer = self.send(operation, &call).await;
                let code = format!("{}-not-found", name.trim_end_matches("_id"));
                self.report.expect_problem(
                    operation,
                    format_args!("a foreign {name} in the body"),
                    422,
                    &code,
                    &answer,
                );
                let located = answer.json["errors"][0]["pointer"] == pointer;
                self.report
                    .expect(operation, format_args!("the pointer {pointer}"), located, &answer);
                answers.push(answer);
            }
            self.alike(operation, &name, &answers);
        }
    }

    /// An id of A and one of nobody.
    pub fn foreign_and_random(&self, name: &str) -> [String; 2] {
        [self.a.owner.ids[name].clone(), kernel::ids::new_id().to_string()]
    }

    /// Expects the same answer to both.
    pub fn alike(&mut self, operation: &Operation, name: &str, answers: &[Answer]) {
        let same = comparable(&answers[0]) == comparable(&answers[1]);
        self.report.expect(
            operation,
            format_args!("the answer to a random {name}, {:?}", answers[1]),
            same,
            &answers[0],
        );
    }

    pub async fn send(&mut self, operation: &Operation, call: &Call) -> Answer {
        let answer = self.report.send(operation, call, &self.b.client).await;
        self.nothing_of_a(operation, &answer);
        answer
    }

    fn nothing_of_a(&mut self, operation: &Operation, answer: &Answer) {
        let found = self.secrets.in_answer(answer);
        self.report.expect(
            operation,
            format_args!("nothing of A instead of {found:?}"),
            found.is_empty(),
            answer,
        );
    }
}
