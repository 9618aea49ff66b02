//! Nothing tells an id that another company uses from one that nobody uses.

use std::collections::BTreeMap;

use http::HeaderMap;
use serde_json::Value;
use testkit::Answer;

use super::report::Report;
use super::seeds::SEEDS;
use super::world::World;

const PAIRS: usize = 20;

#[tokio::test]
async fn a_foreign_id_answers_as_a_random_one() {
    let world = World::new().await;
    let (a, b) = (world.tenant().await, world.tenant().await);
    let mut report = Report::new("oracle");
    let with_ids = || world.business().filter(|o| !o.path_parameters.is_empty());
    let mut foreign_ids = BTreeMap::new();
    for seed in SEEDS {
        for _ in 0..PAIRS {
            foreign_ids
                .entry(seed.parameter)
                .or_insert_with(Vec::new)
                .push(world.create(&a.client, &a.owner, seed.create).await);
        }
    }
    for operation in with_ids() {
        for parameter in &operation.path_parameters {
            for foreign in &foreign_ids[parameter.as_str()] {
                let random = kernel::ids::new_id().to_string();
                let [foreign, random] =
                    [foreign.clone(), random].map(|id| world.call(operation, &b.owner.with(parameter, &id)));
                // The same body: only the id differs.
                let random = random.with_body(foreign.body.clone());
                let foreign = report.send(operation, &foreign, &b.client).await;
                let random = report.send(operation, &random, &b.client).await;
                let same = comparable(&foreign) == comparable(&random);
                report.expect(
                    operation,
                    format_args!("the answer to a random id, {random:?}"),
                    same,
                    &foreign,
                );
            }
        }
    }
    report.finish(with_ids());
}

/// An answer without what is never the same: the request's id and the date.
pub fn comparable(answer: &Answer) -> (u16, HeaderMap, Value) {
    let mut headers = answer.headers.clone();
    headers.remove("x-request-id");
    headers.remove("date");
    let mut body = answer.json.clone();
    if let Some(body) = body.as_object_mut() {
        body.remove("request_id");
    }
    (answer.status.as_u16(), headers, body)
}
