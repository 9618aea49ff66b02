//! Every write can be sent again with an idempotency key: it is answered as before and not done again,
//! and the same key of another company is another key.

use uuid::Uuid;

use super::operations::Operation;
use super::report::{Report, exempt, reached};
use super::witness::rows_of_others;
use super::world::World;

const CHECK: &str = "replay";

#[tokio::test]
async fn every_write_is_done_once_per_key() {
    let world = World::new().await;
    let (a, b) = (world.tenant().await, world.tenant().await);
    let mut report = Report::new(CHECK);
    let writes = || world.business().filter(|o| !o.method.is_safe());
    for operation in writes().filter(|o| !exempt(CHECK, &o.id)) {
        let key = Uuid::new_v4().to_string();
        let call = world.valid_call(operation, &a).await;
        let client = a.client.with_header("Idempotency-Key", &key);
        let first = report.send(operation, &call, &client).await;
        report.expect(operation, "success", reached(operation, &first), &first);
        if !first.status.is_success() {
            continue;
        }
        let done = rows_of_others(&world.app, Uuid::nil()).await;
        let again = report.send(operation, &call, &client).await;
        let same = again.status == first.status
            && again.body == first.body
            && again.header("idempotency-replayed") == "true";
        report.expect(
            operation,
            format_args!("the answer {}", first.text()),
            same,
            &again,
        );
        let unchanged = rows_of_others(&world.app, Uuid::nil()).await == done;
        report.expect(operation, "nothing to be done again", unchanged, &again);

        let theirs = world.valid_call(operation, &b).await;
        let client = b.client.with_header("Idempotency-Key", &key);
        let answer = report.send(operation, &theirs, &client).await;
        let own = reached(operation, &answer) && answer.header("idempotency-replayed").is_empty();
        report.expect(operation, "a key of B's own", own, &answer);
        documented(&mut report, operation, &answer);
    }
    report.finish(writes());
}

fn documented(report: &mut Report, operation: &Operation, answer: &testkit::Answer) {
    let parameters = operation.document()["parameters"].as_array();
    let named = parameters.is_some_and(|all| all.iter().any(|p| p["name"] == "Idempotency-Key"));
    report.expect(operation, "the documented header", named, answer);
}
