//! Responses of the usual kinds.

use axum::response::{Html, IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::etag::{Versioned, entity_tag};

/// 201 with the new resource, its `Location` and its `ETag`.
pub struct Created<T>(pub T);

impl<T: Serialize + Versioned> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        let mut response = (StatusCode::CREATED, json(&self.0)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::ETAG, entity_tag(self.0.version()));
        if let Ok(location) = HeaderValue::try_from(self.0.location()) {
            headers.insert(header::LOCATION, location);
        }
        response
    }
}

/// 204.
pub struct NoContent;

impl IntoResponse for NoContent {
    fn into_response(self) -> Response {
        StatusCode::NO_CONTENT.into_response()
    }
}

/// A page under which nothing runs but what carries its nonce, and which nobody frames. `forms` is the policy's
/// `form-action`.
///
/// # Errors
/// When nonce or `forms` are no part of a header.
pub fn page(html: String, nonce: &str, forms: &str) -> Result<Response> {
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; \
         form-action {forms}; base-uri 'none'; frame-ancestors 'none'"
    );
    let mut response = Html(html).into_response();
    response.headers_mut().insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::try_from(policy).map_err(Error::internal)?,
    );
    Ok(response)
}

/// A JSON body.
#[expect(
    clippy::disallowed_types,
    reason = "axum's Json is banned as an extractor; as a response it is right"
)]
pub fn json<T: Serialize>(value: T) -> axum::Json<T> {
    axum::Json(value)
}
