//! Which routes need what, and the layer that enforces it: deny by default.

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use kernel::caller::Caller;
use kernel::changes::Changed;
use kernel::error::{
    COMPANY_HEADER_INVALID, COMPANY_HEADER_MISSING, COMPANY_MISMATCH, Error, Result, UNAUTHENTICATED,
};
use tracing::Span;
use uuid::Uuid;

use crate::{Identity, api_keys};

/// What a route asks of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing.
    Public,
    /// A signed-in user.
    User,
    /// A signed-in user; a company, if one is named, must be his.
    UserWithOptionalCompany,
    /// A signed-in member of the company that the request names, or an API key of the company.
    Business,
    /// Whoever runs the installation: the operator token, as bearer or as the password of HTTP Basic.
    Operator,
}

/// Every route that is not [`Access::Business`]: method, path, access. Nothing else is exempt.
pub const EXEMPT: &[(Method, &str, Access)] = &[
    (Method::GET, "/", Access::Public),
    (Method::GET, "/health", Access::Public),
    (Method::GET, "/health/live", Access::Public),
    (Method::GET, "/health/ready", Access::Public),
    (Method::GET, "/openapi.json", Access::Public),
    (Method::GET, "/docs", Access::Public),
    (Method::GET, "/docs/{*rest}", Access::Public),
    (Method::GET, "/problems", Access::Public),
    (Method::GET, "/problems/{code}", Access::Public),
    (Method::GET, "/account/verify-email", Access::Public),
    (Method::GET, "/account/accept-invitation", Access::Public),
    // Answer 404 outside `dev`.
    (Method::GET, "/dev/mail", Access::Public),
    (Method::GET, "/dev/mail.json", Access::Public),
    (Method::GET, "/dev/mail/{id}", Access::Public),
    (Method::GET, "/dev/mail/{id}/body", Access::Public),
    (Method::GET, "/account/confirm-email", Access::Public),
    (Method::GET, "/account/reset-password", Access::Public),
    (Method::GET, "/account/request-password-reset", Access::Public),
    // Has a token of its own.
    (Method::POST, "/store/events", Access::Public),
    (Method::POST, "/auth/register", Access::Public),
    (Method::POST, "/auth/verify-email", Access::Public),
    (Method::POST, "/auth/resend-verification", Access::Public),
    (Method::POST, "/auth/request-password-reset", Access::Public),
    (Method::POST, "/auth/reset-password", Access::Public),
    // Who confirms is shown by a token out of a mail, and need not be signed in.
    (Method::POST, "/auth/confirm-email-change", Access::Public),
    (Method::POST, "/auth/refuse-email-change", Access::Public),
    (Method::POST, "/auth/login", Access::Public),
    (Method::POST, "/auth/refresh", Access::Public),
    (Method::POST, "/auth/invitation", Access::Public),
    (Method::POST, "/auth/accept-invitation", Access::Public),
    (Method::POST, "/auth/accept-invitation/existing", Access::User),
    (Method::POST, "/auth/logout", Access::User),
    (Method::POST, "/auth/select-company", Access::User),
    (Method::POST, "/auth/change-password", Access::User),
    (Method::POST, "/auth/change-email", Access::User),
    (Method::GET, "/auth/sessions", Access::User),
    (Method::DELETE, "/auth/sessions", Access::User),
    (Method::DELETE, "/auth/sessions/{session_id}", Access::User),
    (Method::GET, "/auth/me", Access::User),
    (Method::PATCH, "/auth/me", Access::User),
    (Method::POST, "/auth/me/disable", Access::User),
    (Method::POST, "/auth/me/delete", Access::User),
    (Method::GET, "/auth/events", Access::User),
    (Method::POST, "/auth/me/avatar", Access::User),
    (Method::DELETE, "/auth/me/avatar", Access::User),
    (Method::GET, "/auth/context", Access::UserWithOptionalCompany),
    (Method::POST, "/company", Access::User),
    (Method::GET, "/company/my_companies", Access::User),
    (Method::GET, "/operator/jobs", Access::Operator),
    (Method::GET, "/operator/jobs.json", Access::Operator),
    (
        Method::POST,
        "/operator/jobs/{tenant_id}/{job_id}/retry",
        Access::Operator,
    ),
];

const COMPANY_HEADER: HeaderName = HeaderName::from_static("x-company-id");
const TENANT_HEADER: HeaderName = HeaderName::from_static("x-tenant-id");

/// The access of a route; HEAD is GET.
pub fn access_of(method: &Method, path: &str) -> Access {
    let method = if method == Method::HEAD {
        &Method::GET
    } else {
        method
    };
    EXEMPT
        .iter()
        .find(|(m, p, _)| m == method && *p == path)
        .map_or(Access::Business, |(.., access)| *access)
}

/// Route layer: resolves the caller as the route's access demands, before any handler or body.
pub async fn authenticate(State(identity): State<Identity>, mut request: Request, next: Next) -> Response {
    let access = demanded(&request);
    if access == Access::Operator {
        return match identity.0.operator.check(request.headers()) {
            Ok(()) => next.run(request).await,
            Err(refusal) => refusal,
        };
    }
    let tenant = match resolve(&identity, access, &mut request).await {
        Ok(tenant) => tenant,
        Err(error) => return error.into_response(),
    };
    let mut response = next.run(request).await;
    if let Some(Changed(id)) = response.extensions_mut().remove() {
        identity.0.changes.changed(id).await;
    }
    response
        .headers_mut()
        .extend(tenant.map(|tenant| (TENANT_HEADER, tenant)));
    response
}

/// Route layer right around the handlers of writes, when the body has arrived and the request's turn has come:
/// whoever has lost his right since [`authenticate`] is refused as in a new request.
pub async fn authenticate_again(
    State(identity): State<Identity>,
    mut request: Request,
    next: Next,
) -> Response {
    let access = demanded(&request);
    if !request.method().is_safe()
        && let Err(error) = resolve(&identity, access, &mut request).await
    {
        return error.into_response();
    }
    next.run(request).await
}

/// The access of the request's route.
fn demanded(request: &Request) -> Access {
    let path = request.extensions().get::<MatchedPath>();
    access_of(request.method(), path.map_or("", MatchedPath::as_str))
}

/// Puts the caller, where there is one, into the request's extensions; returns the company's id for the response.
async fn resolve(identity: &Identity, access: Access, request: &mut Request) -> Result<Option<HeaderValue>> {
    let caller = match access {
        Access::Public | Access::Operator => return Ok(None),
        Access::Business => identity.caller(request.headers()).await?,
        Access::User | Access::UserWithOptionalCompany => {
            let claims = identity.0.tokens.verify(bearer(request.headers())?)?;
            let callers = &identity.0.callers;
            let tenant = match access {
                Access::UserWithOptionalCompany => company(request.headers(), claims.tenant_id)?,
                _ => None,
            };
            let Some(tenant) = tenant else {
                Span::current().record("user.id", tracing::field::display(claims.sub));
                request
                    .extensions_mut()
                    .insert(callers.user(claims.sub, claims.sid).await?);
                return Ok(None);
            };
            callers.member(claims.sub, claims.sid, tenant).await?
        }
    };
    let (id, tenant) = (caller.id(), caller.tenant_id);
    // Both at once: every record has the span's fields written anew.
    if caller.api_key.is_some() {
        tracing::record_all!(Span::current(), api_key.id = %id, tenant.id = %tenant);
    } else {
        tracing::record_all!(Span::current(), user.id = %id, tenant.id = %tenant);
        request.extensions_mut().insert(caller.user);
    }
    request.extensions_mut().insert(caller);
    Ok(HeaderValue::try_from(tenant.to_string()).ok())
}

impl Identity {
    /// The member of a company, or the machine with an API key, that a request with these headers comes from. What
    /// outlives its request asks again.
    ///
    /// # Errors
    /// Those of a request to a [business](Access::Business) route that is not let in.
    pub async fn caller(&self, headers: &HeaderMap) -> Result<Caller> {
        let token = bearer(headers)?;
        if token.starts_with(api_keys::PREFIX) {
            let caller = self.0.api_keys.caller(token).await?;
            // The key carries its company.
            company(headers, Some(caller.tenant_id))?;
            return Ok(caller);
        }
        let claims = self.0.tokens.verify(token)?;
        let tenant = company(headers, claims.tenant_id)?.ok_or(&COMPANY_HEADER_MISSING)?;
        self.0.callers.member(claims.sub, claims.sid, tenant).await
    }
}

/// The bearer token of the one Authorization header.
fn bearer(headers: &HeaderMap) -> Result<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let token = match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok().and_then(|v| v.split_once(' ')),
        _ => None,
    };
    match token {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token),
        _ => Err(Error::new(&UNAUTHENTICATED)),
    }
}

/// The company that the request names: by header, by its token, or by both if they agree.
fn company(headers: &HeaderMap, of_token: Option<Uuid>) -> Result<Option<Uuid>> {
    let mut values = headers.get_all(COMPANY_HEADER).iter();
    let named = match (values.next(), values.next()) {
        (None, _) => None,
        (Some(value), None) => Some(
            value
                .to_str()
                .ok()
                .and_then(canonical_uuid)
                .ok_or(&COMPANY_HEADER_INVALID)?,
        ),
        // Which one a proxy, a cache or we would choose may differ: refuse.
        (Some(_), Some(_)) => return Err(Error::new(&COMPANY_HEADER_INVALID)),
    };
    match (named, of_token) {
        (Some(header), Some(token)) if header != token => Err(Error::new(&COMPANY_MISMATCH)),
        (header, token) => Ok(header.or(token)),
    }
}

/// Only the hyphenated form of 36 characters; not braced, not a URN, not nil.
fn canonical_uuid(text: &str) -> Option<Uuid> {
    if text.len() != 36 {
        return None;
    }
    text.parse().ok().filter(|id: &Uuid| !id.is_nil())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_uuids_name_a_company() {
        let id = "550e8400-e29b-41d4-a716-446655440000";
        assert!(canonical_uuid(id).is_some());
        assert!(canonical_uuid(&id.to_uppercase()).is_some());
        for bad in [
            "550e8400e29b41d4a716446655440000",
            "{550e8400-e29b-41d4-a716-446655440000}",
            "urn:uuid:550e8400-e29b-41d4-a716-446655440000",
            "00000000-0000-0000-0000-000000000000",
            "550e8400-e29b-41d4-a716-44665544000g",
            "",
        ] {
            assert!(canonical_uuid(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn what_is_not_listed_is_business() {
        assert_eq!(access_of(&Method::POST, "/auth/login"), Access::Public);
        assert_eq!(access_of(&Method::GET, "/auth/login"), Access::Business);
        assert_eq!(access_of(&Method::HEAD, "/health"), Access::Public);
        assert_eq!(access_of(&Method::GET, "/company/me"), Access::Business);
    }
}
