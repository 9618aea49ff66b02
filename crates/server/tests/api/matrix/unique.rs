//! What is unique is so in one company: an answer never tells that another one has the same.

use super::report::Report;
use super::world::World;

#[tokio::test]
async fn unique_values_are_unique_in_a_company_only() {
    let world = World::new().await;
    let (a, b) = (world.tenant().await, world.tenant().await);
    let mut report = Report::new("unique");
    for operation in world.business().filter(|o| o.creates()) {
        let theirs = world.call(operation, &a.owner);
        let mut ours = theirs.clone();
        let references = operation
            .body
            .iter()
            .flat_map(|(_, schema)| world.bodies.references(schema));
        for (pointer, name) in references {
            ours = ours.with(&pointer, b.owner.ids[&name].as_str());
        }
        for (call, tenant) in [(theirs, &a), (ours, &b)] {
            let answer = report.send(operation, &call, &tenant.client).await;
            report.expect(operation, "201 in each company", answer.status == 201, &answer);
        }
    }
    report.finish(world.business().filter(|o| o.creates()));
}
