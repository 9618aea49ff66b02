//! Another company's resources: not read, not written, not referred to, not listed.

use super::operations::Operation;
use super::report::Report;
use super::seeds::{SEEDS, seed};
use super::witness::{Secrets, rows_of_others};
use super::world::{Call, Tenant, World};

const CHECK: &str = "foreign";

#[tokio::test]
async fn another_companys_resources_are_out_of_reach() {
    let world = World::new().await;
    let (a, b) = (world.tenant().await, world.tenant().await);
    let report = leaks(&world, &a, &b).await;
    report.finish(world.business());
}

#[tokio::test]
async fn unique_values_are_unique_in_a_company_only() {
    let world = World::new().await;
    let (a, b) = (world.tenant().await, world.tenant().await);
    let mut report = Report::new("unique");
    for operation in world.business().filter(|o| o.creates()) {
        let theirs = world.call(operation, &a.owner);
        let mut ours = theirs.clone();
        for (field, own) in &b.owner.ids {
            if theirs.body.as_ref().is_some_and(|body| body.get(field).is_some()) {
                ours = ours.with(field, own.as_str());
            }
        }
        for (call, tenant) in [(theirs, &a), (ours, &b)] {
            let answer = report.send(operation, &call, &tenant.client).await;
            report.expect(operation, "201 in each company", answer.status == 201, &answer);
        }
    }
    report.finish(world.business().filter(|o| o.creates()));
}

/// Calls every operation as B's owner in all the ways that could reach what A owns.
pub async fn leaks(world: &World, a: &Tenant, b: &Tenant) -> Report {
    let mut probes = Probes { world, a, b, secrets: Secrets::of(&world.app, a).await, report: Report::new(CHECK) };
    for operation in world.business() {
        let before = rows_of_others(&world.app, b.client.company()).await;
        probes.own(operation).await;
        probes.path(operation).await;
        probes.references(operation).await;
        probes.list(operation).await;
        if rows_of_others(&world.app, b.client.company()).await != before {
            probes.report.fault(format!("{}: rows of others have changed", operation.id));
        }
    }
    probes.report
}

struct Probes<'a> {
    world: &'a World,
    a: &'a Tenant,
    b: &'a Tenant,
    secrets: Secrets,
    report: Report,
}

impl Probes<'_> {
    /// What B does to its own succeeds and shows nothing of A.
    async fn own(&mut self, operation: &Operation) {
        let call = self.world.valid_call(operation, self.b).await;
        let answer = self.send(operation, &call).await;
        self.report.expect(operation, "success on own resources", answer.status.is_success(), &answer);
    }

    /// A's ids in the path: 404, whatever version is asked for.
    async fn path(&mut self, operation: &Operation) {
        for parameter in &operation.path_parameters {
            let owner = self.b.owner.with(parameter, &self.a.owner.ids[parameter]);
            let call = self.world.call(operation, &owner);
            for if_match in [None, Some("\"1\""), Some("*"), Some("\"999\"")] {
                let client = if_match.map_or_else(|| self.b.client.clone(), |tag| self.b.client.with_header("If-Match", tag));
                let answer = self.report.send(operation, &call, &client).await;
                self.report.expect_problem(operation, format_args!("a foreign {parameter} in the path"), 404, "not-found", &answer);
                self.nothing_of_a(operation, &answer);
            }
        }
    }

    /// A's ids in the body: as if they named nothing.
    async fn references(&mut self, operation: &Operation) {
        let Some((_, schema)) = &operation.body else { return };
        let fields = self.world.bodies.references(schema);
        for (field, seed) in fields.iter().filter_map(|field| Some((field, seed(field)?))) {
            for id in [self.a.owner.ids[field].clone(), self.b.owner.random().ids[field].clone()] {
                let call = self.world.valid_call(operation, self.b).await.with(field, id);
                let answer = self.send(operation, &call).await;
                let code = format!("{}-not-found", seed.noun());
                self.report.expect_problem(operation, format_args!("a foreign {field} in the body"), 422, &code, &answer);
                let located = answer.json["errors"][0]["pointer"] == format!("/{field}");
                self.report.expect(operation, format_args!("a pointer to {field}"), located, &answer);
            }
        }
    }

    /// A list shows nothing of A, whatever it is filtered, ordered or continued by.
    async fn list(&mut self, operation: &Operation) {
        if !operation.is_list() {
            return;
        }
        let call = self.world.call(operation, &self.b.owner);
        for query in self.queries(operation) {
            let answer = self.send(operation, &call.at(format!("{}?limit=100&include_total=true&{query}", call.path))).await;
            self.report.expect(operation, format_args!("200 for {query}"), answer.status == 200, &answer);
        }
        let own = self.send(operation, &call).await;
        let shown = own.text().contains(&self.b.owner.marker);
        self.report.expect(operation, "B's own items", shown, &own);
        for seed in SEEDS.iter().filter(|seed| operation.query_parameters.iter().any(|(name, _)| name == seed.parameter)) {
            for id in [&self.a.owner.ids[seed.parameter], &self.b.owner.random().ids[seed.parameter]] {
                let answer = self.send(operation, &call.at(format!("{}?{}={id}&include_total=true", call.path, seed.parameter))).await;
                let empty = answer.json["items"].as_array().is_some_and(Vec::is_empty) && answer.json["total"] == 0;
                self.report.expect(operation, format_args!("no items of a foreign {}", seed.parameter), empty, &answer);
            }
        }
        self.cursor(operation, &call).await;
    }

    /// Values for each query parameter: all that it may have, and A's marker where it is text.
    fn queries(&self, operation: &Operation) -> Vec<String> {
        let mut queries = vec![String::new()];
        for (name, schema) in &operation.query_parameters {
            if ["limit", "cursor", "include_total"].contains(&name.as_str()) || seed(name).is_some() {
                continue;
            }
            let schema = self.world.bodies.resolved(schema);
            let values: Vec<&str> = match (schema["enum"].as_array(), schema["type"].as_str()) {
                (Some(values), _) => values.iter().filter_map(serde_json::Value::as_str).collect(),
                (_, Some("boolean")) => vec!["true", "false"],
                _ => match schema["examples"][0].as_str() {
                    Some(example) => vec![example],
                    None => vec![&self.a.owner.marker, &self.a.owner.marker[..3], &self.a.owner.marker[..2], "%25"],
                },
            };
            queries.extend(values.into_iter().map(|value| format!("{name}={value}")));
        }
        queries
    }

    /// A's cursor is no cursor for B.
    async fn cursor(&mut self, operation: &Operation, call: &Call) {
        let first = call.at(format!("{}?limit=1", call.path)).by(&self.a.client).await;
        let Some(cursor) = first.json["next_cursor"].as_str() else {
            return self.report.expect(operation, "a second page of A", false, &first);
        };
        let next = call.at(format!("{}?limit=1&cursor={cursor}", call.path));
        let by_a = next.by(&self.a.client).await;
        self.report.expect(operation, "the second page for A", by_a.status == 200, &by_a);
        let by_b = self.send(operation, &next).await;
        self.report.expect_problem(operation, "a foreign cursor", 400, "cursor-invalid", &by_b);
    }

    async fn send(&mut self, operation: &Operation, call: &Call) -> testkit::Answer {
        let answer = self.report.send(operation, call, &self.b.client).await;
        self.nothing_of_a(operation, &answer);
        answer
    }

    fn nothing_of_a(&mut self, operation: &Operation, answer: &testkit::Answer) {
        let found = self.secrets.in_answer(answer);
        self.report.expect(operation, format_args!("nothing of A instead of {found:?}"), found.is_empty(), answer);
    }
}
