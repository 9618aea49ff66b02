//! Optimistic concurrency: `ETag` on every single resource, `If-Match` on what changes it.
//!
//! The tag is the row's version, which a trigger raises at every update. Of an answer with more in it than the row, such
//! as URLs that expire, it says what may be changed and not what is still good: see [`Fleeting`].

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderValue, header};
use serde::Serialize;

use crate::error::{Error, IF_MATCH_INVALID, PRECONDITION_FAILED, Result};
use crate::output::json;

/// A resource whose row carries a version.
pub trait Versioned {
    /// Raised by one at every update.
    fn version(&self) -> i64;
    /// Path of the resource, e.g. `/brands/0190…`.
    fn location(&self) -> String;
    /// Whether it holds URLs that expire.
    fn is_fleeting(&self) -> bool {
        false
    }
}

/// In the extensions of a response: it holds URLs that expire. Whoever has an earlier one needs this one, though the
/// version is the same, so it is never answered by 304.
#[derive(Clone, Copy)]
pub struct Fleeting;

/// 200 with the resource and its `ETag`.
pub struct Tagged<T>(pub T);

impl<T: Serialize + Versioned> IntoResponse for Tagged<T> {
    fn into_response(self) -> Response {
        let (tag, fleeting) = (entity_tag(self.0.version()), self.0.is_fleeting());
        let mut response = ([(header::ETAG, tag)], json(self.0)).into_response();
        if fleeting {
            response.extensions_mut().insert(Fleeting);
        }
        response
    }
}

/// `"7"` for version 7.
pub fn entity_tag(version: i64) -> HeaderValue {
    HeaderValue::try_from(format!("\"{version}\"")).unwrap_or_else(|_| HeaderValue::from_static("\"0\""))
}

/// The request's `If-Match`, if it has one (RFC 9110, 13.1.1).
#[derive(Debug)]
pub struct IfMatch(Option<Vec<i64>>);

impl IfMatch {
    /// Compares with the version of the locked row.
    ///
    /// # Errors
    /// `precondition-failed` when the client saw another version.
    pub fn check(&self, version: i64) -> Result<()> {
        match &self.0 {
            Some(expected) if !expected.contains(&version) => Err(Error::new(&PRECONDITION_FAILED)),
            _ => Ok(()),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<IfMatch> {
        let mut expected = None;
        for value in parts.headers.get_all(header::IF_MATCH) {
            let text = value.to_str().map_err(|_| Error::new(&IF_MATCH_INVALID))?.trim();
            if text == "*" {
                continue;
            }
            let versions: &mut Vec<i64> = expected.get_or_insert_default();
            for tag in text.split(',') {
                let tag = tag.trim();
                // A weak tag never matches strongly; a well-formed tag that is not ours matches nothing.
                let (weak, tag) = tag.strip_prefix("W/").map_or((false, tag), |rest| (true, rest));
                let opaque = tag
                    .strip_prefix('"')
                    .and_then(|t| t.strip_suffix('"'))
                    .ok_or(&IF_MATCH_INVALID)?;
                // Byte by byte: `"+1"` and `"01"` are other tags.
                let version = opaque
                    .parse()
                    .ok()
                    .filter(|version: &i64| version.to_string() == opaque);
                if let (false, Some(version)) = (weak, version) {
                    versions.push(version);
                }
            }
        }
        Ok(IfMatch(expected))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn parse(values: &[&str]) -> Result<IfMatch> {
        let mut request = http::Request::builder();
        for value in values {
            request = request.header(header::IF_MATCH, *value);
        }
        let (mut parts, ()) = request.body(()).expect("request").into_parts();
        IfMatch::from_request_parts(&mut parts, &()).await
    }

    #[tokio::test]
    async fn matches_strongly_or_not_at_all() {
        assert!(parse(&[]).await.expect("absent").check(3).is_ok());
        assert!(parse(&["*"]).await.expect("any").check(3).is_ok());
        assert!(parse(&["\"3\""]).await.expect("same").check(3).is_ok());
        assert!(parse(&["\"2\", \"3\""]).await.expect("list").check(3).is_ok());
        assert!(
            parse(&["\"2\"", "\"3\""])
                .await
                .expect("two lines")
                .check(3)
                .is_ok()
        );
        assert!(parse(&["\"2\""]).await.expect("old").check(3).is_err());
        assert!(parse(&["W/\"3\""]).await.expect("weak").check(3).is_err());
        for foreign in ["\"x\"", "\"+3\"", "\"03\""] {
            assert!(parse(&[foreign]).await.expect("foreign").check(3).is_err());
        }
        assert_eq!(parse(&["3"]).await.expect_err("bare").code(), "if-match-invalid");
    }
}
