//! The one error type of request code and its wire form, RFC 9457 `application/problem+json`.
//!
//! An [`Error`] becomes a response that carries a [`Problem`] in its extensions; the outermost HTTP
//! layer writes the body, because only it knows the request id. Nothing of a database message, a
//! path or a value ever enters a problem.

use std::collections::HashMap;
use std::sync::OnceLock;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

/// Result of request code.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A kind of problem: its stable code (part of the API), HTTP status and English title.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Code {
    pub code: &'static str,
    pub status: u16,
    pub title: &'static str,
}

impl Code {
    /// Declares a problem; `code` is kebab-case and never changes once released.
    pub const fn new(status: u16, code: &'static str, title: &'static str) -> Code {
        Code { code, status, title }
    }
}

macro_rules! codes {
    ($($name:ident = $status:literal $code:literal $title:literal;)*) => {
        $(#[doc = $title] pub const $name: Code = Code::new($status, $code, $title);)*
        /// Every problem that the kernel itself can answer with.
        pub const CODES: &[&Code] = &[$(&$name),*];
    };
}

codes! {
    MALFORMED_REQUEST = 400 "malformed-request" "The request could not be understood";
    MALFORMED_JSON = 400 "malformed-json" "The body is not valid JSON";
    QUERY_INVALID = 400 "query-invalid" "A query parameter is unknown or invalid";
    CURSOR_INVALID = 400 "cursor-invalid" "The cursor is not one this list issued";
    IF_MATCH_INVALID = 400 "if-match-invalid" "The If-Match header is not a list of entity tags";
    IDEMPOTENCY_KEY_INVALID = 400 "idempotency-key-invalid" "The Idempotency-Key header is not one key of 1 to 255 visible characters";
    COMPANY_HEADER_MISSING = 400 "company-header-missing" "The X-Company-ID header is required";
    COMPANY_HEADER_INVALID = 400 "company-header-invalid" "The X-Company-ID header must be exactly one UUID";
    COMPANY_MISMATCH = 400 "company-mismatch" "The X-Company-ID header and the token name different companies";
    UNAUTHENTICATED = 401 "unauthenticated" "A valid access token is required";
    NOT_A_MEMBER = 403 "not-a-member" "No active membership of this company";
    PERMISSION_MISSING = 403 "permission-missing" "The role lacks a permission";
    COMPANY_SUSPENDED = 403 "company-suspended" "The company is suspended: it reads, and does not write";
    COMPANY_CLOSED = 403 "company-closed" "The company is closed";
    NOT_FOUND = 404 "not-found" "There is no such resource";
    METHOD_NOT_ALLOWED = 405 "method-not-allowed" "The resource does not support this method";
    IDEMPOTENCY_KEY_IN_USE = 409 "idempotency-key-in-use" "A request with this idempotency key is still running";
    IDEMPOTENCY_ANSWER_NOT_KEPT = 409 "idempotency-answer-not-kept" "The request with this idempotency key was done, and its answer is not kept";
    PRECONDITION_FAILED = 412 "precondition-failed" "The resource has changed since it was read";
    BODY_TOO_LARGE = 413 "body-too-large" "The body is larger than allowed";
    UNSUPPORTED_MEDIA_TYPE = 415 "unsupported-media-type" "The body's media type is not supported here";
    VALIDATION_FAILED = 422 "validation-failed" "The request contains invalid values";
    IDEMPOTENCY_KEY_REUSED = 422 "idempotency-key-reused" "This idempotency key was used for another request";
    RATE_LIMITED = 429 "rate-limited" "Too many requests; try again after the time in Retry-After";
    INTERNAL = 500 "internal" "Something went wrong on our side";
    BUSY = 503 "busy" "The service is busy; try again";
    OVERLOADED = 503 "overloaded" "There is more to do than can be done now; try again";
    UNAVAILABLE = 503 "unavailable" "The service is temporarily unavailable";
    MISCONFIGURED = 503 "misconfigured" "The service is set up wrongly; its operator has to act";
    TIMEOUT = 503 "timeout" "The request took too long";
    BODY_TIMEOUT = 408 "body-timeout" "The request body did not arrive in time";
}

/// That are told of at once: a body may have a hundred thousand.
const MOST_ERRORS: usize = 100;

/// One invalid value: where (JSON pointer into the body, or a parameter's name) and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct FieldError {
    /// RFC 6901 JSON pointer into the request body, e.g. `/profile/first_name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "/name")]
    pub pointer: Option<String>,
    /// Name of the query parameter or header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    /// Stable, machine readable reason.
    #[schema(example = "length")]
    pub code: String,
    /// English explanation for developers.
    pub detail: String,
}

impl FieldError {
    /// An invalid value in the body.
    pub fn body(pointer: impl Into<String>, code: &str, detail: impl Into<String>) -> FieldError {
        FieldError {
            pointer: Some(pointer.into()),
            parameter: None,
            code: code.to_owned(),
            detail: detail.into(),
        }
    }

    /// An invalid query parameter or header.
    pub fn parameter(name: impl Into<String>, code: &str, detail: impl Into<String>) -> FieldError {
        FieldError {
            pointer: None,
            parameter: Some(name.into()),
            code: code.to_owned(),
            detail: detail.into(),
        }
    }
}

/// The body of every error answer (RFC 9457).
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Problem {
    /// URI reference that names the problem; resolves to its documentation.
    #[serde(rename = "type")]
    #[schema(example = "/problems/brand-name-taken")]
    pub type_uri: String,
    #[schema(example = "The brand name is taken")]
    pub title: String,
    #[schema(example = 409)]
    pub status: u16,
    /// The last segment of `type`: what clients translate and branch on.
    #[schema(example = "brand-name-taken")]
    pub code: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The permission that the caller lacks (`permission-missing` only).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permission: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// Id of the request in the response header and in the logs.
    pub request_id: String,
}

/// What request code fails with.
#[derive(Debug, thiserror::Error)]
#[error("{}: {}", .problem.code, .problem.title)]
pub struct Error {
    problem: Box<Problem>,
    retry_after: Option<u32>,
    /// Cause of a 5xx: logged once with the request id, never shown.
    source: Option<anyhow::Error>,
}

impl From<&'static Code> for Error {
    fn from(code: &'static Code) -> Error {
        Error {
            problem: Box::new(Problem {
                type_uri: format!("/problems/{}", code.code),
                title: code.title.to_owned(),
                status: code.status,
                code: code.code.to_owned(),
                detail: None,
                permission: None,
                errors: Vec::new(),
                request_id: String::new(),
            }),
            retry_after: (code.status == 503).then_some(1),
            source: None,
        }
    }
}

impl Error {
    /// A problem of this kind.
    pub fn new(code: &'static Code) -> Error {
        code.into()
    }

    /// Something that should not happen; the cause is logged, the client sees `internal`.
    pub fn internal(cause: impl Into<anyhow::Error>) -> Error {
        Error {
            source: Some(cause.into()),
            ..Error::new(&INTERNAL)
        }
    }

    /// With what is behind it: for a log, never for a client.
    pub fn with_cause(&self) -> String {
        match &self.source {
            Some(cause) => format!("{self}: {cause:#}"),
            None => self.to_string(),
        }
    }

    /// 422 with these invalid values, the first hundred of them.
    pub fn invalid(errors: impl IntoIterator<Item = FieldError>) -> Error {
        let mut error = Error::new(&VALIDATION_FAILED);
        error.problem.errors = errors.into_iter().take(MOST_ERRORS).collect();
        error
    }

    /// 403 naming the permission.
    pub fn forbidden(permission: &str) -> Error {
        let mut error = Error::new(&PERMISSION_MISSING);
        error.problem.permission = Some(permission.to_owned());
        error
    }

    /// Adds an English sentence that helps a developer; never data of the database.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Error {
        self.problem.detail = Some(detail.into());
        self
    }

    /// Points at the value of the body that caused the problem.
    #[must_use]
    pub fn at(mut self, pointer: &str) -> Error {
        let entry = FieldError::body(pointer, &self.problem.code, self.problem.title.clone());
        self.problem.errors.push(entry);
        self
    }

    /// Points at a query parameter or header.
    #[must_use]
    pub fn parameter(mut self, name: &str, code: &str, detail: impl Into<String>) -> Error {
        self.problem
            .errors
            .push(FieldError::parameter(name, code, detail));
        self
    }

    /// When it makes sense to ask again.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Error {
        self.retry_after = Some(seconds);
        self
    }

    /// The same answer for another request that waited for the same outcome.
    pub fn same_as(other: &Error) -> Error {
        Error {
            problem: other.problem.clone(),
            retry_after: other.retry_after,
            source: None,
        }
    }

    /// The stable code.
    pub fn code(&self) -> &str {
        &self.problem.code
    }
}

impl From<anyhow::Error> for Error {
    fn from(cause: anyhow::Error) -> Error {
        Error::internal(cause)
    }
}

/// A database constraint that users can violate, and the problem they are told.
#[derive(Debug)]
pub struct Constraint {
    pub name: &'static str,
    pub code: &'static Code,
    /// JSON pointer of the value it is about.
    pub pointer: Option<&'static str>,
}

impl Constraint {
    /// A check of a single value: 422 that points at it.
    pub const fn invalid(name: &'static str, pointer: &'static str) -> Constraint {
        Constraint {
            name,
            code: &VALIDATION_FAILED,
            pointer: Some(pointer),
        }
    }
}

static CONSTRAINTS: OnceLock<HashMap<&'static str, &'static Constraint>> = OnceLock::new();

/// Makes the constraints of all modules known to `From<sqlx::Error>`; the first call counts.
pub(crate) fn register_constraints(all: impl Iterator<Item = &'static Constraint>) {
    CONSTRAINTS.get_or_init(|| all.map(|c| (c.name, c)).collect());
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Error {
        use sqlx::Error as E;
        let caused = |code: &'static Code, error: sqlx::Error| Error {
            source: Some(error.into()),
            ..code.into()
        };
        let E::Database(ref db) = error else {
            return match error {
                E::RowNotFound => Error::new(&NOT_FOUND),
                E::PoolTimedOut => caused(&BUSY, error),
                E::Io(_) | E::PoolClosed | E::Tls(_) | E::WorkerCrashed => caused(&UNAVAILABLE, error),
                other => Error::internal(other),
            };
        };
        let known = db.constraint().and_then(|name| CONSTRAINTS.get()?.get(name));
        if let Some(constraint) = known {
            let error = Error::new(constraint.code);
            return match constraint.pointer {
                Some(pointer) => error.at(pointer),
                None => error,
            };
        }
        match db.code().as_deref().unwrap_or_default() {
            // serialization failure, deadlock, lock or statement timeout, too many connections
            "40001" | "40P01" | "55P03" | "57014" | "53300" => caused(&BUSY, error),
            // no such role, wrong password, no such database
            "28000" | "28P01" | "3D000" => caused(&MISCONFIGURED, error),
            // a pooler that lost or does not find its server; disk full, shutdown, crash recovery, read-only failover
            "08000" | "08001" | "08003" | "08004" | "08006" | "08P01" | "53100" | "57P01" | "57P02"
            | "57P03" | "25006" => caused(&UNAVAILABLE, error),
            // NUL or broken text, number or date out of range: the client's value
            "22021" | "22P05" | "22003" | "22008" => Error::new(&VALIDATION_FAILED),
            _ => Error::internal(error),
        }
    }
}

/// `result.on_constraint("name", || error)`: the meaning of a violated constraint at this call.
pub trait OnConstraint<T> {
    /// Replaces the violation of the named constraint; other errors pass.
    ///
    /// # Errors
    /// The replaced error, or the one there was.
    fn on_constraint(self, name: &str, error: impl FnOnce() -> Error) -> Result<T>;
}

impl<T> OnConstraint<T> for std::result::Result<T, sqlx::Error> {
    fn on_constraint(self, name: &str, error: impl FnOnce() -> Error) -> Result<T> {
        self.map_err(|e| match e.as_database_error().and_then(|db| db.constraint()) {
            Some(violated) if violated == name => error(),
            _ => e.into(),
        })
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        if let Some(cause) = &self.source {
            // {:?} of anyhow prints the chain of causes; it stays in the log.
            if self.problem.status == 500 {
                tracing::error!(code = self.problem.code, cause = ?cause, "request failed");
            } else {
                tracing::warn!(code = self.problem.code, cause = %cause, "request refused");
            }
        }
        let status = StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        if status == StatusCode::UNAUTHORIZED {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(self.problem);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_has_the_cause_and_a_client_has_not() {
        let error = Error::internal(anyhow::anyhow!("no space left").context("writing the file"));
        assert_eq!(
            error.with_cause(),
            "internal: Something went wrong on our side: writing the file: no space left"
        );
        assert_eq!(error.to_string(), "internal: Something went wrong on our side");
        let shown = error.into_response();
        let shown = format!("{:?}", shown.extensions().get::<Box<Problem>>());
        assert!(!shown.contains("space"), "{shown}");
    }
}
