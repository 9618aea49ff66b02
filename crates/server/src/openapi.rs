//! The OpenAPI document: what the handlers declare, plus what is the same everywhere: security by
//! access, the answers that layers and extractors give, every problem code.

use std::collections::BTreeSet;

use axum::Router;
use http::Method;
use identity::{Access, access_of};
use kernel::app::App;
use kernel::error::{CODES, Code};
use kernel::idempotency::MAX_KEY_CHARS;
use kernel::module::Module;
use limits::Policies;
use serde_json::{Map, Value, json};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Ally360 API",
        description = "Business data belongs to a company: name it with the `X-Company-ID` header, or use a \
            context token from `/auth/select-company`. Errors are RFC 9457 problems with a stable `code`. \
            Lists are paged by cursor. How often something may be asked says `x-rate-limits` of the operation, and the \
            headers `RateLimit-Policy` and `RateLimit` of the answer how it stands. \
            `Idempotency-Key` counts where an operation names it, and is ignored elsewhere. A single resource has an `ETag`; send it back as `If-Match` when changing it.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    components(schemas(kernel::error::Problem, kernel::error::FieldError))
)]
struct Document;

/// Of the writes that belong to no company, those that an idempotency key makes safe to send again.
const KEYED_USER_OPERATIONS: [&str; 1] = ["create_company"];

/// The router of all modules and the finished document.
pub fn assemble(modules: Vec<Module>) -> (Router<App>, Value) {
    let (codes, policies) = (problem_codes(&modules), Policies::of(&modules));
    let mut all = OpenApiRouter::with_openapi(Document::openapi());
    let mut module_codes = Vec::new();
    for module in modules {
        let own = own_codes(&module);
        let paths = module.routes.get_openapi().paths.paths.clone();
        module_codes.extend(paths.into_keys().map(|path| (path, own.clone())));
        all = all.merge(module.routes);
    }
    let (router, document) = all.split_for_parts();
    let mut document = serde_json::to_value(document).unwrap_or_default();
    complete(&mut document, &codes, &module_codes, &policies);
    (router, document)
}

/// Every problem that the API can answer with, by code.
pub fn problem_codes(modules: &[Module]) -> Vec<&'static Code> {
    let mut codes: Vec<&'static Code> = CODES.to_vec();
    codes.extend(modules.iter().flat_map(own_codes));
    codes.sort_by_key(|c| c.code);
    codes.dedup_by_key(|c| c.code);
    codes
}

fn own_codes(module: &Module) -> Vec<&'static Code> {
    let constraints = module.constraints.iter().map(|c| c.code);
    module.problems.iter().copied().chain(constraints).collect()
}

fn complete(
    document: &mut Value,
    codes: &[&Code],
    module_codes: &[(String, Vec<&'static Code>)],
    policies: &Policies,
) {
    document["components"]["securitySchemes"] = json!({
        "bearer": {"type": "http", "scheme": "bearer",
            "description": "An access or context token from `/auth/login` or `/auth/select-company`; on a company's data also an API key, \
                which names the company itself"},
        "company": {"type": "apiKey", "in": "header", "name": "X-Company-ID",
            "description": "The company that the request is about (a UUID)"},
    });
    document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"] =
        codes.iter().map(|c| c.code).collect::<Vec<_>>().into();
    let Some(paths) = document["paths"].as_object_mut() else {
        return;
    };
    // For the object store, not for clients.
    paths.remove("/store/events");
    for (path, item) in paths {
        let own = module_codes
            .iter()
            .find(|(p, _)| p == path)
            .map_or(&[][..], |(_, codes)| codes);
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            if let (Ok(method), Some(operation)) = (
                Method::from_bytes(method.to_uppercase().as_bytes()),
                operation.as_object_mut(),
            ) {
                complete_operation(operation, access_of(&method, path), &method, path, own);
                let limits = policies.of_operation(&method, path).into_iter().flatten();
                let limits = limits.map(|policy| format!("{} {}", policy.name, policy.rate).into());
                operation.insert("x-rate-limits".to_owned(), Value::Array(limits.collect()));
            }
        }
    }
}

fn complete_operation(
    operation: &mut Map<String, Value>,
    access: Access,
    method: &Method,
    path: &str,
    own: &[&Code],
) {
    let scopes = operation
        .get("security")
        .and_then(|s| s.pointer("/0/bearer"))
        .cloned()
        .unwrap_or_else(|| json!([]));
    operation.insert(
        "security".to_owned(),
        match access {
            Access::Public | Access::Operator => json!([]),
            Access::User | Access::UserWithOptionalCompany => json!([{"bearer": scopes}]),
            // The company by header, or inside a context token.
            Access::Business => json!([{"bearer": scopes, "company": []}, {"bearer": scopes}]),
        },
    );
    let has_body = operation.contains_key("requestBody");
    let mut statuses = BTreeSet::from([429, 500, 503]);
    statuses.extend((access != Access::Public).then_some(401));
    statuses.extend(
        (access == Access::Business || access == Access::UserWithOptionalCompany)
            .then_some([400, 403])
            .into_iter()
            .flatten(),
    );
    statuses.extend(operation.contains_key("parameters").then_some(400));
    statuses.extend(path.contains('{').then_some(404));
    statuses.extend(
        has_body
            .then_some([400, 408, 413, 415, 422])
            .into_iter()
            .flatten(),
    );
    if access == Access::Business
        && ([Method::PATCH, Method::PUT, Method::DELETE].contains(method) || path.ends_with("/restore"))
    {
        statuses.extend([400, 412]);
        add_header(
            operation,
            "If-Match",
            &json!({"type": "string"}),
            "\"1\"",
            "The ETag that was read: the change is refused (412) when the resource has another one",
        );
    }
    let keyed = operation.get("operationId").and_then(Value::as_str);
    let keyed = keyed.is_some_and(|id| KEYED_USER_OPERATIONS.contains(&id));
    if !method.is_safe() && (access == Access::Business || keyed) {
        statuses.extend([400, 409, 422]);
        add_header(
            operation,
            "Idempotency-Key",
            &json!({"type": "string", "minLength": 1, "maxLength": MAX_KEY_CHARS}),
            "8e03978e-40d5-43dd-bc93-6894a57f9324",
            "Makes sending the request again safe: for 24 hours the same request with the same key gets the answer of \
             the first, with `Idempotency-Replayed: true`, and is not done again",
        );
    }
    statuses.extend(own.iter().map(|c| c.status));
    let Some(responses) = operation
        .entry("responses")
        .or_insert_with(|| json!({}))
        .as_object_mut()
    else {
        return;
    };
    for status in statuses {
        let codes: BTreeSet<&str> = CODES
            .iter()
            .chain(own)
            .filter(|c| c.status == status)
            .map(|c| c.code)
            .collect();
        let codes: Vec<String> = codes.into_iter().map(|c| format!("`{c}`")).collect();
        responses.entry(status.to_string()).or_insert_with(|| {
            json!({
                "description": format!("One of: {}", codes.join(", ")),
                "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
            })
        });
    }
}

/// Documents a header that the operation may be sent with.
fn add_header(
    operation: &mut Map<String, Value>,
    name: &str,
    schema: &Value,
    example: &str,
    description: &str,
) {
    let parameters = operation.entry("parameters").or_insert_with(|| json!([]));
    if let Some(parameters) = parameters.as_array_mut() {
        parameters.push(json!({
            "name": name, "in": "header", "required": false, "schema": schema, "example": example,
            "description": description,
        }));
    }
}
