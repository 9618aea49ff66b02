//! Valid request bodies, made from the schemas of the document: texts carry their owner's marker and
//! a number, references are to what the owner has, everything else is as the schema's examples say.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Map, Value, json};

use super::seeds::FREE;

/// Whose body it is.
#[derive(Clone)]
pub struct Owner {
    /// Stands in every text that he writes.
    pub marker: String,
    /// What `brand_id` and the like refer to.
    pub ids: BTreeMap<String, String>,
}

/// Makes bodies.
pub struct Bodies {
    document: Value,
    made: AtomicU32,
}

impl Bodies {
    pub fn new(document: Value) -> Bodies {
        Bodies {
            document,
            made: AtomicU32::new(1),
        }
    }

    /// A valid value of an object's schema: all fields that a valid value is known for.
    pub fn sample(&self, schema: &Value, owner: &Owner) -> Value {
        let schema = self.resolved(schema);
        let examples = schema.get("example").cloned().unwrap_or_default();
        let required: Vec<&str> = schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let mut object = Map::new();
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            match self.value(name, property, &examples[name], owner) {
                Some(value) => drop(object.insert(name.clone(), value)),
                None => assert!(
                    !required.contains(&name.as_str()),
                    "the schema of `{name}` needs an example"
                ),
            }
        }
        object.into()
    }

    /// JSON pointers and names of the values that refer to another resource: `/brand_id`, or
    /// `/lines/0/product_id` for the first of a list.
    pub fn references(&self, schema: &Value) -> Vec<(String, String)> {
        let schema = self.resolved(schema);
        let mut found = Vec::new();
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            if name.ends_with("_id") && !FREE.contains(&name.as_str()) {
                found.push((format!("/{name}"), name.clone()));
            }
            let property = self.resolved(property);
            let inside = [(String::new(), property), ("/0".to_owned(), &property["items"])];
            for (place, schema) in inside {
                let references = self.references(schema).into_iter();
                found.extend(references.map(|(pointer, field)| (format!("/{name}{place}{pointer}"), field)));
            }
        }
        found
    }

    /// Follows a reference, and takes of `oneOf` what is not null.
    pub fn resolved<'a>(&'a self, schema: &'a Value) -> &'a Value {
        if let Some(reference) = schema["$ref"].as_str() {
            let target = self.document.pointer(reference.trim_start_matches('#'));
            return self.resolved(target.unwrap_or_else(|| panic!("{reference} leads nowhere")));
        }
        let choices = ["oneOf", "anyOf"].iter().find_map(|key| schema[key].as_array());
        match choices.and_then(|c| c.iter().find(|s| s["type"] != "null")) {
            Some(choice) => self.resolved(choice),
            None => schema,
        }
    }

    fn value(&self, name: &str, schema: &Value, example: &Value, owner: &Owner) -> Option<Value> {
        let schema = self.resolved(schema);
        if name.ends_with("_id") && schema["format"] == "uuid" {
            return owner.ids.get(name).map(|id| json!(id));
        }
        let known = [
            example,
            &schema["default"],
            &schema["example"],
            &schema["examples"][0],
            &schema["enum"][0],
            &schema["minimum"],
        ];
        let known = known.into_iter().find(|value| !value.is_null()).cloned();
        match kind(schema) {
            "object" => Some(self.sample(schema, owner)),
            "array" => Some(
                self.value(name, &schema["items"], &Value::Null, owner)
                    .into_iter()
                    .collect(),
            ),
            "boolean" => known.or(Some(true.into())),
            "integer" | "number" => known.or(Some(1.into())),
            "string" if name == "filename" => {
                let example = known.as_ref().and_then(Value::as_str).unwrap_or_default();
                let extension = example.rsplit('.').next().unwrap_or_default().to_owned();
                let text = self.text(schema, known, owner)?;
                Some(format!("{}.{extension}", text.as_str()?).into())
            }
            "string" => self.text(schema, known, owner),
            other => panic!("`{name}` is of the unknown type `{other}`"),
        }
    }

    fn text(&self, schema: &Value, known: Option<Value>, owner: &Owner) -> Option<Value> {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        // Patterns that speak of white space are those of free text.
        let free = match schema["pattern"].as_str() {
            Some(pattern) => pattern.contains(r"\s") || pattern.contains(r"\S"),
            None => known.is_none(),
        };
        match schema["format"].as_str() {
            Some("email") => Some(format!("{}-{number}@example.com", owner.marker).into()),
            Some("password") => known.or_else(|| Some(testkit::PASSWORD.into())),
            None if free => Some(format!("{} {number}", owner.marker).into()),
            _ => known.map(|value| numbered(value, number)),
        }
    }
}

/// Another value for each body where the example is a long number, like a bar code.
fn numbered(example: Value, number: u32) -> Value {
    match example.as_str() {
        Some(text) if text.len() >= 8 && text.bytes().all(|b| b.is_ascii_digit()) => {
            format!("{number:0width$}", width = text.len()).into()
        }
        _ => example,
    }
}

fn kind(schema: &Value) -> &str {
    let one = schema["type"].as_str();
    let of_several = || {
        schema["type"]
            .as_array()?
            .iter()
            .filter_map(Value::as_str)
            .find(|kind| *kind != "null")
    };
    one.or_else(of_several).unwrap_or("untyped")
}
