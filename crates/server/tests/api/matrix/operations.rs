//! The operations of the OpenAPI document, as the matrix reads them.

use http::Method;
use identity::{Access, access_of};
use serde_json::Value;

/// One operation of the document.
pub struct Operation {
    pub id: String,
    pub method: Method,
    /// With its parameters in braces.
    pub path: String,
    pub access: Access,
    /// Names of the path parameters, in order.
    pub path_parameters: Vec<String>,
    /// Name and schema of the query parameters.
    pub query_parameters: Vec<(String, Value)>,
    /// Media type and schema of the body.
    pub body: Option<(String, Value)>,
    document: Value,
}

impl Operation {
    /// All of the document.
    pub fn all(document: &Value) -> Vec<Operation> {
        let paths = document["paths"].as_object().expect("paths");
        let each = |(path, item): (&String, &Value)| {
            let methods = item.as_object().expect("operations").clone();
            methods.into_iter().map({
                let path = path.clone();
                move |(method, operation)| Operation::new(&method, &path, operation)
            })
        };
        paths.iter().flat_map(each).collect()
    }

    fn new(method: &str, path: &str, document: Value) -> Operation {
        let method: Method = method.to_uppercase().parse().expect("a method");
        let parameters = document["parameters"].as_array().cloned().unwrap_or_default();
        let named = |place: &str| {
            let inside = parameters.iter().filter(|p| p["in"] == place);
            inside
                .map(|p| (text(&p["name"]), p["schema"].clone()))
                .collect::<Vec<_>>()
        };
        let content = document["requestBody"]["content"].as_object();
        Operation {
            id: text(&document["operationId"]),
            access: access_of(&method, path),
            path: path.to_owned(),
            path_parameters: path
                .split('{')
                .skip(1)
                .map(|part| part.split('}').next().unwrap_or_default().to_owned())
                .collect(),
            query_parameters: named("query"),
            body: content
                .and_then(|c| c.iter().next())
                .map(|(media, body)| (media.clone(), body["schema"].clone())),
            method,
            document,
        }
    }

    /// The permission that its `security` names; none for what is not business.
    pub fn permission(&self) -> Option<&str> {
        self.document
            .pointer("/security/0/bearer/0")
            .and_then(Value::as_str)
    }

    /// The whole operation of the document.
    pub fn document(&self) -> &Value {
        &self.document
    }

    /// Whether the document tells of this status.
    pub fn documents(&self, status: u16) -> bool {
        self.document["responses"].get(status.to_string()).is_some()
    }

    /// The path with its parameters replaced.
    pub fn url(&self, value: impl Fn(&str) -> String) -> String {
        let mut url = self.path.clone();
        for name in &self.path_parameters {
            url = url.replace(&format!("{{{name}}}"), &value(name));
        }
        url
    }

    pub fn is_business(&self) -> bool {
        self.access == Access::Business
    }

    pub fn has_json_body(&self) -> bool {
        self.body
            .as_ref()
            .is_some_and(|(media, _)| media == "application/json")
    }

    /// Whether it adds to a collection.
    pub fn creates(&self) -> bool {
        self.method == Method::POST && self.path_parameters.is_empty() && self.documents(201)
    }

    /// Whether it is a list, which pages by cursor.
    pub fn is_list(&self) -> bool {
        self.query_parameters.iter().any(|(name, _)| name == "cursor")
    }
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("text instead of {value}"))
        .to_owned()
}
