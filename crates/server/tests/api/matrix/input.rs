//! What a client may get wrong in any operation: ids, fields, slashes and methods.

use http::Method;
use identity::Access;
use serde_json::{Value, json};

use super::report::Report;
use super::world::World;

/// Not one is the id of anything.
const NO_IDS: [&str; 14] = [
    "x",
    "0",
    "-1",
    "null",
    "%00",
    "%FF",
    "%2e%2e%2fbrands",
    "%27%20or%20%271%27=%271",
    "%F0%9F%98%80",
    "00000000-0000-0000-0000-000000000000",
    "%7B550e8400-e29b-41d4-a716-446655440000%7D",
    "urn:uuid:550e8400-e29b-41d4-a716-446655440000",
    "550e8400e29b41d4a716446655440000",
    "550e8400-e29b-41d4-a716-446655440000,550e8400-e29b-41d4-a716-446655440000",
];

#[tokio::test]
async fn what_is_no_id_names_nothing() {
    let world = World::new().await;
    let a = world.tenant().await;
    let mut report = Report::new("malformed-id");
    let is_id = |name: &str| name.ends_with("_id");
    let with_ids = || {
        world.business().filter(|o| {
            o.path_parameters
                .iter()
                .chain(o.query_parameters.iter().map(|(name, _)| name))
                .any(|name| is_id(name))
        })
    };
    for operation in with_ids() {
        for id in NO_IDS {
            for parameter in &operation.path_parameters {
                let call = world.call(operation, &a.owner.with(parameter, id));
                let answer = report.send(operation, &call, &a.client).await;
                report.expect_problem(operation, id, 404, "not-found", &answer);
            }
            for (name, _) in operation.query_parameters.iter().filter(|(name, _)| is_id(name)) {
                let call = world.call(operation, &a.owner);
                let answer = report
                    .send(
                        operation,
                        &call.at(format!("{}?{name}={id}", call.path)),
                        &a.client,
                    )
                    .await;
                // An export of nothing has no lines.
                let harmless = answer.status == 400
                    || answer.json["items"].as_array().is_some_and(Vec::is_empty)
                    || answer.body.is_empty();
                report.expect(
                    operation,
                    format_args!("400 or nothing for {name}={id}"),
                    harmless,
                    &answer,
                );
            }
        }
    }
    report.finish(with_ids());
}

#[tokio::test]
async fn unknown_fields_are_refused() {
    let world = World::new().await;
    let a = world.tenant().await;
    let mut report = Report::new("unknown-field");
    let with_bodies = || world.operations.iter().filter(|o| o.body.is_some());
    for operation in with_bodies().filter(|o| o.has_json_body()) {
        let call = world.valid_call(operation, &a).await;
        for place in objects(call.body.as_ref().expect("a body")) {
            for field in ["surprise", "tenant_id", "version"] {
                let mut strange = call.clone();
                strange
                    .body
                    .as_mut()
                    .and_then(|body| body.pointer_mut(&place))
                    .expect("an object")[field] = json!(1);
                let answer = report.send(operation, &strange, &a.client).await;
                report.expect_problem(operation, field, 422, "validation-failed", &answer);
                let error = &answer.json["errors"][0];
                let named =
                    error["code"] == "unknown-field" && error["pointer"] == format!("{place}/{field}");
                report.expect(
                    operation,
                    format_args!("unknown-field at {place}/{field}"),
                    named,
                    &answer,
                );
            }
        }
    }
    report.finish(with_bodies());
}

/// By position values would come to fields that they were not meant for.
#[tokio::test]
async fn an_array_is_no_object() {
    let world = World::new().await;
    let a = world.tenant().await;
    let mut report = Report::new("array");
    let with_bodies = || world.operations.iter().filter(|o| o.has_json_body());
    for operation in with_bodies() {
        let call = world.valid_call(operation, &a).await;
        let body = call.body.as_ref().expect("a body");
        for place in objects(body) {
            let object = body
                .pointer(&place)
                .and_then(Value::as_object)
                .expect("an object");
            let by_position = object.values().cloned().collect();
            for array in [Value::Array(by_position), json!([])] {
                let mut strange = call.clone();
                *strange
                    .body
                    .as_mut()
                    .and_then(|body| body.pointer_mut(&place))
                    .expect("the object") = array;
                let answer = report.send(operation, &strange, &a.client).await;
                report.expect_problem(operation, &place, 422, "validation-failed", &answer);
                let error = &answer.json["errors"][0];
                let named = error["code"] == "type" && error["pointer"] == place;
                report.expect(operation, format_args!("an object at {place}"), named, &answer);
            }
        }
    }
    report.finish(with_bodies());
}

/// JSON pointers of a value's objects.
fn objects(value: &Value) -> Vec<String> {
    let Some(object) = value.as_object() else {
        return vec![];
    };
    let inside = object.iter().flat_map(|(name, value)| {
        objects(value)
            .into_iter()
            .map(move |place| format!("/{name}{place}"))
    });
    [String::new()].into_iter().chain(inside).collect()
}

#[tokio::test]
async fn a_slash_at_the_end_makes_no_difference() {
    let world = World::new().await;
    let a = world.tenant().await;
    let mut report = Report::new("slash");
    for operation in &world.operations {
        let bare = world.call(operation, &a.owner);
        let anonymous = world.app.anonymous();
        let [without, with] = ["", "/"].map(|slash| bare.at(format!("{}{slash}", bare.path)));
        let (without, with) = (
            report.send(operation, &without, &anonymous).await,
            report.send(operation, &with, &anonymous).await,
        );
        let known = without.json["code"] != "not-found" && without.status != 405;
        report.expect(operation, "a route", known, &without);
        // Registering twice is refused the same way as once: nobody learns who has an account.
        let same = (without.status, &without.json["code"]) == (with.status, &with.json["code"]);
        report.expect(operation, "the same with a slash", same, &with);
    }
    report.finish(world.operations.iter());
}

#[tokio::test]
async fn only_documented_methods_are_served() {
    let world = World::new().await;
    let a = world.tenant().await;
    let methods = [
        Method::GET,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::TRACE,
        Method::CONNECT,
    ];
    for operation in &world.operations {
        let path = operation.url(|name| a.owner.ids[name].clone());
        let served = |method: &Method| {
            world
                .operations
                .iter()
                .any(|o| o.path == operation.path && o.method == *method)
        };
        for method in methods.iter().filter(|method| !served(method)) {
            let answer = a.client.send(method.clone(), &path, None).await;
            assert_eq!(
                answer.json["code"],
                "method-not-allowed",
                "{method} {path}: {}",
                answer.text()
            );
        }
        let head = world.app.anonymous().send(Method::HEAD, &path, None).await;
        let expected = match (served(&Method::GET), operation.access) {
            (false, _) => 405,
            (true, Access::Public) => 200,
            (true, _) => 401,
        };
        assert_eq!(head.status, expected, "HEAD {path}");
    }
}
