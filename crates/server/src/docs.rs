//! `/openapi.json`, Swagger UI at `/docs` and what problem types resolve to, served from the binary.

use std::io::Write;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, header};
use kernel::app::App;
use kernel::error::{Code, Error, NOT_FOUND, Result};
use kernel::input::Path;
use kernel::output::json;
use utoipa_swagger_ui::Config;

/// The page runs its own script and style, nothing from elsewhere.
const CSP: &str =
    "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'";

pub fn routes(document: &serde_json::Value, problems: Vec<&'static Code>) -> Router<App> {
    let problems: Arc<[&Code]> = problems.into();
    let all = problems.clone();
    let document = Document::new(document.to_string());
    let config = Arc::new(
        Config::from("/openapi.json")
            .try_it_out_enabled(true)
            .persist_authorization(true),
    );
    let index = config.clone();
    Router::new()
        .route(
            "/openapi.json",
            get(async move |headers: HeaderMap| document.answer(&headers)),
        )
        .route("/problems", get(async move || json(all.to_vec())))
        .route(
            "/problems/{code}",
            get(async move |Path(code): Path<String>| problem(&problems, &code)),
        )
        .route("/docs", get(async move || asset("index.html", index.clone())))
        .route(
            "/docs/{*rest}",
            get(async move |Path(path): Path<String>| asset(&path, config.clone())),
        )
}

/// The OpenAPI document, compressed once: it is large, and anybody may ask for it.
#[derive(Clone)]
struct Document {
    plain: Bytes,
    gzip: Bytes,
}

impl Document {
    fn new(text: String) -> Document {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        // Into memory it cannot fail.
        let gzip = gzip.write_all(text.as_bytes()).and_then(|()| gzip.finish());
        Document {
            gzip: gzip.unwrap_or_default().into(),
            plain: text.into(),
        }
    }

    fn answer(&self, headers: &HeaderMap) -> Response {
        let kind = [(header::CONTENT_TYPE, "application/json")];
        let accepted = headers
            .get(header::ACCEPT_ENCODING)
            .and_then(|value| value.to_str().ok());
        let takes_gzip = accepted.is_some_and(|accepted| {
            let mut codings = accepted.split(',').map(str::trim);
            codings.any(|coding| coding.starts_with("gzip") && !coding.replace(' ', "").ends_with(";q=0"))
        });
        let mut response = if takes_gzip {
            (kind, [(header::CONTENT_ENCODING, "gzip")], self.gzip.clone()).into_response()
        } else {
            (kind, self.plain.clone()).into_response()
        };
        let vary = HeaderValue::from_static("accept-encoding");
        response.headers_mut().insert(header::VARY, vary);
        response
    }
}

/// What the `type` of a problem resolves to.
fn problem(problems: &[&'static Code], code: &str) -> Result<Response> {
    let problem = problems
        .iter()
        .find(|known| known.code == code)
        .ok_or(&NOT_FOUND)?;
    Ok(json(*problem).into_response())
}

fn asset(path: &str, config: Arc<Config<'static>>) -> Response {
    let Ok(Some(file)) = utoipa_swagger_ui::serve(path, config) else {
        return Error::new(&NOT_FOUND).into_response();
    };
    let mut bytes = file.bytes.into_owned();
    if path == "index.html" {
        // The page is at /docs as well as /docs/: its links must not depend on the slash.
        bytes = String::from_utf8_lossy(&bytes)
            .replace("./", "/docs/")
            .replace("href=\"index.css\"", "href=\"/docs/index.css\"")
            .into_bytes();
    }
    (
        [
            (header::CONTENT_TYPE, file.content_type.as_str()),
            (header::CONTENT_SECURITY_POLICY, CSP),
        ],
        bytes,
    )
        .into_response()
}
