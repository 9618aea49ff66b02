//! Another company's resources are not listed, whatever a list is filtered, ordered or continued by.

use super::foreign::Probes;
use super::operations::Operation;
use super::seeds::{FREE, seed};
use super::world::Call;

impl Probes<'_> {
    /// A list shows nothing of A, whatever it is filtered, ordered or continued by.
    pub async fn list(&mut self, operation: &Operation) {
        if !operation.is_list() {
            return;
        }
        let call = self.world.call(operation, &self.b.owner);
        for query in self.queries(operation) {
            let answer = self
                .send(
                    operation,
                    &call.at(format!("{}?limit=100&include_total=true&{query}", call.path)),
                )
                .await;
            self.report.expect(
                operation,
                format_args!("200 for {query}"),
                answer.status == 200,
                &answer,
            );
        }
        let company = self.a.client.company();
        let answer = self
            .send(operation, &call.at(format!("{}?tenant_id={company}", call.path)))
            .await;
        self.report
            .expect_problem(operation, "a company in the query", 400, "query-invalid", &answer);
        let own = self.send(operation, &call).await;
        // Jobs carry no text of the company; their ids tell them apart.
        let items = own.json["items"].as_array().map_or(0, Vec::len);
        let shown = own.text().contains(&self.b.owner.marker) || operation.id == "list_jobs" && items > 0;
        self.report.expect(operation, "B's own items", shown, &own);
        for (name, _) in operation
            .query_parameters
            .iter()
            .filter(|(name, _)| seed(name).is_some())
        {
            let mut answers = Vec::new();
            for id in self.foreign_and_random(name) {
                let filtered = call.at(format!("{}?{name}={id}&include_total=true", call.path));
                let answer = self.send(operation, &filtered).await;
                let empty =
                    answer.json["items"].as_array().is_some_and(Vec::is_empty) && answer.json["total"] == 0;
                self.report.expect(
                    operation,
                    format_args!("no items of a foreign {name}"),
                    empty,
                    &answer,
                );
                answers.push(answer);
            }
            self.alike(operation, name, &answers);
        }
        self.cursor(operation, &call).await;
    }

    /// Values for each query parameter: all that it may have, and A's marker where it is text.
    fn queries(&self, operation: &Operation) -> Vec<String> {
        let mut queries = vec![String::new()];
        for (name, schema) in &operation.query_parameters {
            if ["limit", "cursor", "include_total"].contains(&name.as_str())
                || seed(name).is_some()
                || FREE.contains(&name.as_str())
            {
                continue;
            }
            let schema = self.world.bodies.resolved(schema);
            let values: Vec<&str> = match (schema["enum"].as_array(), schema["type"].as_str()) {
                (Some(values), _) => values.iter().filter_map(serde_json::Value::as_str).collect(),
                (_, Some("boolean")) => vec!["true", "false"],
                _ => match schema["examples"][0].as_str() {
                    Some(example) => vec![example],
                    None => vec![
                        &self.a.owner.marker,
                        &self.a.owner.marker[..3],
                        &self.a.owner.marker[..2],
                        "%25",
                    ],
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
        self.report
            .expect(operation, "the second page for A", by_a.status == 200, &by_a);
        let by_b = self.send(operation, &next).await;
        self.report
            .expect_problem(operation, "a foreign cursor", 400, "cursor-invalid", &by_b);
    }
}
