//! The OpenAPI document: its snapshot is the API's history in review, and it is well formed.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::matrix::Operation;

#[test]
fn the_document_is_the_reviewed_one() {
    insta::assert_json_snapshot!("openapi", server::openapi_document(), {".info.version" => "[version]"});
}

#[test]
fn references_lead_somewhere() {
    let document = server::openapi_document();
    let mut references = BTreeSet::new();
    collect(&document, "$ref", &mut references);
    assert!(references.len() > 10, "{references:?}");
    for reference in &references {
        assert!(
            document.pointer(reference.trim_start_matches('#')).is_some(),
            "{reference} leads nowhere"
        );
    }
}

fn collect(value: &Value, key: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            found.extend(object.get(key).and_then(Value::as_str).map(ToOwned::to_owned));
            object.values().for_each(|inside| collect(inside, key, found));
        }
        Value::Array(items) => items.iter().for_each(|inside| collect(inside, key, found)),
        _ => {}
    }
}

#[test]
fn operations_are_named_tagged_and_told() {
    let mut ids = BTreeSet::new();
    for operation in Operation::all(&server::openapi_document()) {
        let document = operation.document();
        assert!(
            ids.insert(operation.id.clone()),
            "two operations are called {}",
            operation.id
        );
        assert!(
            document["tags"].as_array().is_some_and(|tags| tags.len() == 1),
            "{}: no tag",
            operation.id
        );
        assert!(
            document["summary"]
                .as_str()
                .is_some_and(|summary| summary.ends_with('.')),
            "{}: no summary",
            operation.id
        );
    }
}

#[test]
fn successes_have_a_schema() {
    for operation in Operation::all(&server::openapi_document()) {
        let responses = operation.document()["responses"].as_object().expect("responses");
        let mut successes = responses.iter().filter(|(status, _)| status.starts_with('2'));
        let (Some((status, response)), None) = (successes.next(), successes.next()) else {
            panic!("{} has no success, or several", operation.id);
        };
        let media = ["application~1json", "application~1x-ndjson", "text~1event-stream"];
        let schema = media
            .iter()
            .find_map(|m| response.pointer(&format!("/content/{m}/schema")));
        assert_eq!(
            schema.is_none(),
            status == "204",
            "{} {status}: {response}",
            operation.id
        );
    }
}

#[test]
fn request_bodies_refuse_unknown_fields() {
    let document = server::openapi_document();
    for operation in Operation::all(&document).iter().filter(|o| o.has_json_body()) {
        let mut schemas = BTreeSet::new();
        collect(&operation.document()["requestBody"], "$ref", &mut schemas);
        let mut all = BTreeSet::new();
        while let Some(reference) = schemas.pop_first() {
            let schema = document
                .pointer(reference.trim_start_matches('#'))
                .expect("a schema");
            if all.insert(reference) {
                collect(schema, "$ref", &mut schemas);
            }
        }
        let objects: Vec<_> = all
            .iter()
            .filter(|r| document.pointer(&format!("{}/properties", &r[1..])).is_some())
            .collect();
        assert!(!objects.is_empty(), "{}: no schema of its body", operation.id);
        for reference in objects {
            let closed = document.pointer(&format!("{}/additionalProperties", &reference[1..]));
            assert_eq!(closed, Some(&Value::Bool(false)), "{}: {reference}", operation.id);
        }
    }
}
