//! What every request passes: from the outside in, the envelope (request id, log line, panics, time
//! limit, problem bodies, security headers), CORS, compression, and for known routes limits,
//! authentication and the tenant scope.

use std::any::Any;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use identity::Identity;
use kernel::app::App;
use kernel::caller::Cause;
use kernel::config::Environment;
use kernel::error::{Error, METHOD_NOT_ALLOWED, NOT_FOUND, Problem, TIMEOUT};
use kernel::etag::Fleeting;
use kernel::origin::client_address;
use kernel::trace::{self, TraceContext};
use limits::Limits;
use metrics::counter;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::cors::{self, AllowOrigin, CorsLayer};
use tracing::{Instrument, field, info, info_span};

use crate::measured::Measured;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Limits, authentication and tenant scope around the routes, the outermost first; what no route matches
/// passes as 404 or 405.
pub fn guard(router: Router<App>, app: &App, identity: Identity, limits: &Limits) -> Router<App> {
    // As one layer: axum boxes the service once per layer, and each copies all boxes within it for every request.
    let layers = ServiceBuilder::new()
        .layer(axum::Extension(identity.clone()))
        .layer(from_fn_with_state(limits.clone(), limits::by_address))
        .layer(from_fn_with_state(identity.clone(), identity::authenticate))
        .layer(from_fn_with_state(limits.clone(), limits::by_caller))
        .layer(from_fn_with_state(limits.clone(), limits::hold_body))
        .layer(from_fn_with_state(app.clone(), kernel::db::received))
        .layer(from_fn_with_state(limits.clone(), limits::admit))
        .layer(from_fn_with_state(identity, identity::authenticate_again))
        .layer(from_fn(kernel::db::scope));
    router
        .route_layer(layers)
        .method_not_allowed_fallback(async || Error::new(&METHOD_NOT_ALLOWED))
        .fallback(async || Error::new(&NOT_FOUND))
}

/// The outer layers, around everything that is answered.
pub fn envelop(router: Router<App>, app: &App) -> Router<App> {
    let layers = ServiceBuilder::new()
        .layer(from_fn_with_state(app.clone(), envelope))
        .layer(cors(app))
        .layer(CompressionLayer::new())
        .layer(CatchPanicLayer::custom(panicked));
    router.layer(layers)
}

/// The panic's message went to the log by the hook; a client learns nothing of it.
fn panicked(_: Box<dyn Any + Send>) -> Response {
    Error::internal(anyhow::anyhow!("a handler panicked")).into_response()
}

fn cors(app: &App) -> CorsLayer {
    let origins = &app.config.http.cors_origins;
    let any = origins.iter().any(|o| o == "*")
        || (origins.is_empty() && app.config.environment == Environment::Development);
    let allowed = if any {
        AllowOrigin::from(cors::Any)
    } else {
        AllowOrigin::list(
            origins
                .iter()
                .filter_map(|o| HeaderValue::from_str(o.trim_end_matches('/')).ok()),
        )
    };
    let name = HeaderName::from_static;
    CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([
            Method::GET,
            Method::POST,
            Method::PATCH,
            Method::PUT,
            Method::DELETE,
        ])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::IF_MATCH,
            header::IF_NONE_MATCH,
            REQUEST_ID,
            name("x-company-id"),
            name("idempotency-key"),
            name("traceparent"),
            name("tracestate"),
        ])
        .expose_headers([
            header::ETAG,
            header::LINK,
            header::LOCATION,
            header::RETRY_AFTER,
            REQUEST_ID,
            name("idempotency-replayed"),
            name("ratelimit"),
            name("ratelimit-policy"),
            name("x-tenant-id"),
        ])
        .max_age(Duration::from_secs(600))
}

async fn envelope(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let measured = Measured::begin(&request);
    let id = request_id(request.headers());
    let method = request.method().clone();
    let if_none_match = request.headers().get(header::IF_NONE_MATCH).cloned();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("", MatchedPath::as_str);
    let span = info_span!(
        "request", request.id = id, http.method = %method, http.route = route, user.id = field::Empty, api_key.id = field::Empty,
        tenant.id = field::Empty, trace_id = field::Empty, span_id = field::Empty
    );
    let cause = Cause {
        request_id: Some(id.clone()),
        trace: trace::follow(&span, TraceContext::of(request.headers())),
        address: request
            .extensions()
            .get::<ConnectInfo<SocketAddr>>()
            .map(|peer| client_address(peer.ip(), request.headers(), &app.config.http.trusted_proxies)),
    };
    request.extensions_mut().insert(cause);
    let mut response = answer(&app, request, next).instrument(span.clone()).await;
    if method == Method::OPTIONS && response.status() == StatusCode::METHOD_NOT_ALLOWED {
        let allow = response.headers_mut().remove(header::ALLOW);
        response = StatusCode::NO_CONTENT.into_response();
        response
            .headers_mut()
            .extend(allow.map(|allow| (header::ALLOW, allow)));
    }
    if matches!(method, Method::GET | Method::HEAD) && not_modified(if_none_match.as_ref(), &response) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.body_mut() = Body::empty();
        response.headers_mut().remove(header::CONTENT_LENGTH);
        response.headers_mut().remove(header::CONTENT_TYPE);
    }
    let mut response = with_problem_body(response, &id);
    let headers = response.headers_mut();
    secure(headers, app.config.environment);
    headers.extend(HeaderValue::from_str(&id).ok().map(|id| (REQUEST_ID, id)));
    span.in_scope(|| {
        info!(
            http.status = response.status().as_u16(),
            duration_us = measured.elapsed().as_micros() as u64,
            "answered"
        );
    });
    trace::note(
        &span,
        "http.response.status_code",
        i64::from(response.status().as_u16()),
    );
    measured.end(response.status());
    response
}

async fn answer(app: &App, request: Request, next: Next) -> Response {
    let limit = Duration::from_secs(app.config.http.request_timeout_seconds);
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Error::new(&TIMEOUT).into_response(),
    }
}

/// The client's id when it is sane, so that it can be followed through systems; else a fresh one.
fn request_id(headers: &HeaderMap) -> String {
    let sane = |id: &str| {
        (8..=128).contains(&id.len())
            && id
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    let mut given = headers.get_all(REQUEST_ID).iter();
    match (given.next().and_then(|id| id.to_str().ok()), given.next()) {
        (Some(id), None) if sane(id) => id.to_owned(),
        _ => kernel::ids::new_id().to_string(),
    }
}

/// RFC 9110, 13.1.2: weak comparison. Never what holds URLs that expire.
fn not_modified(if_none_match: Option<&HeaderValue>, response: &Response) -> bool {
    let (Some(asked), Some(tag)) = (if_none_match, response.headers().get(header::ETAG)) else {
        return false;
    };
    let (Ok(asked), Ok(tag)) = (asked.to_str(), tag.to_str()) else {
        return false;
    };
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    response.status() == StatusCode::OK
        && response.extensions().get::<Fleeting>().is_none()
        && (asked.trim() == "*" || asked.split(',').any(|t| opaque(t) == opaque(tag)))
}

/// Writes the problem that an error left in the extensions; the request id is known only here.
fn with_problem_body(mut response: Response, request_id: &str) -> Response {
    let Some(mut problem) = response.extensions_mut().remove::<Box<Problem>>() else {
        return response;
    };
    counter!("ally360_problems_total", "code" => problem.code.clone()).increment(1);
    request_id.clone_into(&mut problem.request_id);
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    headers.insert(header::CONTENT_LENGTH, body.len().into());
    *response.body_mut() = Body::from(body);
    response
}

/// Headers of every answer. A route that needs others (the documentation page) sets them itself.
fn secure(headers: &mut HeaderMap, environment: Environment) {
    let mut default = |name: HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    default(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    default(header::X_FRAME_OPTIONS, "DENY");
    default(header::REFERRER_POLICY, "no-referrer");
    default(
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; frame-ancestors 'none'",
    );
    default(header::CACHE_CONTROL, "no-store");
    default(
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-site",
    );
    if environment == Environment::Production {
        default(
            header::STRICT_TRANSPORT_SECURITY,
            "max-age=31536000; includeSubDomains",
        );
    }
    headers.append(
        header::VARY,
        HeaderValue::from_static("authorization, x-company-id"),
    );
}
