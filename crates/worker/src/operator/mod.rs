//! The operator's view: the queue over all companies, as numbers and as a page.
//!
//! Who may see it is decided by the access layer (the operator token); there is no tenant here.

mod numbers;
mod page;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use http::{HeaderMap, HeaderName, Uri, header};
use kernel::app::App;
use kernel::error::{Code, Error, Result};
use kernel::input::Path;
use kernel::language::Language;
use kernel::module::Module;
use kernel::output::json;
use tracing::info;
use uuid::Uuid;

use crate::retry::retry;
use numbers::Numbers;

const CROSS_SITE: Code = Code::new(403, "cross-site-request", "The form was sent from another site");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Not part of the API's document: it is for people.
pub(crate) fn module() -> Module {
    let routes = Router::new()
        .route("/operator/jobs", get(show))
        .route("/operator/jobs.json", get(show_json))
        .route("/operator/jobs/{tenant_id}/{job_id}/retry", post(retry_one));
    let mut module = Module::new("operator").problems(&[&CROSS_SITE]);
    module.routes = routes.into();
    module
}

async fn show(State(app): State<App>, uri: Uri, headers: HeaderMap) -> Result<Response> {
    page::render(&read(&app).await?, Language::of_request(&uri, &headers))
}

async fn show_json(State(app): State<App>) -> Result<Response> {
    Ok(json(read(&app).await?).into_response())
}

#[expect(clippy::disallowed_methods, reason = "the operator sees all companies")]
async fn read(app: &App) -> Result<Numbers> {
    Numbers::read(&mut *app.db.system().await?).await
}

#[expect(clippy::disallowed_methods, reason = "the operator helps all companies")]
async fn retry_one(
    State(app): State<App>,
    headers: HeaderMap,
    uri: Uri,
    Path((tenant_id, job_id)): Path<(Uuid, Uuid)>,
) -> Result<Redirect> {
    if !same_site(&headers) {
        return Err(Error::new(&CROSS_SITE));
    }
    let mut tx = app.db.system().await?;
    retry(&mut tx, tenant_id, job_id).await?;
    tx.commit().await?;
    info!(job.id = %job_id, job.tenant_id = %tenant_id, "an operator retried a job");
    let language = uri
        .query()
        .and_then(|query| query.strip_prefix("lang="))
        .filter(|lang| ["en", "es"].contains(lang));
    Ok(Redirect::to(
        &language.map_or("/operator/jobs".to_owned(), |lang| {
            format!("/operator/jobs?lang={lang}")
        }),
    ))
}

/// Whether our own page sent the form. A browser adds a password to whatever site's form, so it must
/// tell where the form comes from; a bearer token it never adds by itself.
fn same_site(headers: &HeaderMap) -> bool {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text(&FETCH_SITE) {
        return site == "same-origin";
    }
    if let Some(origin) = text(&header::ORIGIN) {
        let host = origin.split_once("://").map(|(_, host)| host);
        return host.is_some() && host == text(&header::HOST);
    }
    let authorization = text(&header::AUTHORIZATION).and_then(|value| value.split_once(' '));
    authorization.is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(headers: &[(&'static str, &'static str)]) -> bool {
        let pairs = headers.iter().map(|(name, value)| {
            (
                HeaderName::from_static(name),
                http::HeaderValue::from_static(value),
            )
        });
        same_site(&pairs.collect())
    }

    #[test]
    fn a_form_counts_when_the_browser_says_that_it_is_ours() {
        let basic = ("authorization", "Basic b3A6eA==");
        assert!(sent(&[basic, ("sec-fetch-site", "same-origin")]));
        assert!(sent(&[
            basic,
            ("host", "ally.example"),
            ("origin", "https://ally.example")
        ]));
        assert!(sent(&[("authorization", "Bearer x")]));
        for site in ["cross-site", "same-site", "none"] {
            assert!(
                !sent(&[
                    basic,
                    ("sec-fetch-site", site),
                    ("host", "a"),
                    ("origin", "https://a")
                ]),
                "{site}"
            );
        }
        for origin in [
            "https://evil.example",
            "null",
            "https://ally.example.evil.example",
        ] {
            assert!(
                !sent(&[basic, ("host", "ally.example"), ("origin", origin)]),
                "{origin}"
            );
        }
        assert!(!sent(&[basic]));
    }
}
