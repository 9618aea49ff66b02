//! `/dev/mail`: the mailbox of development, shown as a mail client would. Elsewhere it does not exist.

use std::sync::LazyLock;

use axum::Router;
use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use http::{HeaderValue, header};
use kernel::app::App;
use kernel::error::{Error, NOT_FOUND, Result};
use kernel::input::{Path, Query};
use kernel::module::Module;
use kernel::output::json;
use minijinja::value::{Serde, Value};
use minijinja::{Environment, UndefinedBehavior, context};
use serde::Deserialize;
use uuid::Uuid;

use crate::Mailer;
use crate::mailbox::{self, Kept};

/// The pages need no script.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
/// A mail gets nothing but its own style; its links open beside it.
const MAIL_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'self'; sandbox allow-popups allow-popups-to-escape-sandbox";

static PAGES: LazyLock<Result<Environment<'static>, minijinja::Error>> = LazyLock::new(|| {
    let mut pages = Environment::new();
    pages.set_undefined_behavior(UndefinedBehavior::Strict);
    pages.add_filter("moment", |rfc3339: String| {
        rfc3339.get(..19).unwrap_or_default().replace('T', " ")
    });
    pages.add_template("mailbox.html", include_str!("../templates/mailbox.html"))?;
    Ok(pages)
});

/// Not part of the API's document: it is for developers.
pub(crate) fn module() -> Module {
    let mut module = Module::new("dev_mail");
    module.routes = Router::new()
        .route("/dev/mail", get(list))
        .route("/dev/mail.json", get(list_json))
        .route("/dev/mail/{id}", get(show))
        .route("/dev/mail/{id}/body", get(body))
        .into();
    module
}

/// `?to=`: only the mails to this address.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Filter {
    to: Option<String>,
}

/// `?part=`: what of a mail is shown.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct View {
    #[serde(default)]
    part: Part,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Part {
    #[default]
    Html,
    Text,
    Headers,
}

fn only_in_dev(app: &App) -> Result<()> {
    if app.part::<Mailer>().is_ok_and(Mailer::keeps) {
        Ok(())
    } else {
        Err(Error::new(&NOT_FOUND))
    }
}

async fn list(State(app): State<App>, Query(filter): Query<Filter>) -> Result<Response> {
    only_in_dev(&app)?;
    let mails = mailbox::newest(&app, filter.to.as_deref()).await?;
    page(context! { mails => Value::from(Serde(&mails)), mail => (), part => "" })
}

async fn list_json(State(app): State<App>, Query(filter): Query<Filter>) -> Result<Response> {
    only_in_dev(&app)?;
    Ok(json(mailbox::newest(&app, filter.to.as_deref()).await?).into_response())
}

async fn show(State(app): State<App>, Path(id): Path<Uuid>, Query(view): Query<View>) -> Result<Response> {
    let mail = find(&app, id).await?;
    let part = match view.part {
        Part::Html => "html",
        Part::Text => "text",
        Part::Headers => "headers",
    };
    page(context! { mails => (), mail => Value::from(Serde(&mail)), part => part })
}

async fn body(State(app): State<App>, Path(id): Path<Uuid>) -> Result<Response> {
    let mail = find(&app, id).await?;
    Ok(html(mail.html, MAIL_POLICY, "SAMEORIGIN"))
}

async fn find(app: &App, id: Uuid) -> Result<Kept> {
    only_in_dev(app)?;
    mailbox::find(app, id)
        .await?
        .ok_or_else(|| Error::new(&NOT_FOUND))
}

fn page(values: Value) -> Result<Response> {
    let pages = PAGES
        .as_ref()
        .map_err(|error| Error::internal(anyhow::anyhow!("{error:#}")))?;
    let page = pages
        .get_template("mailbox.html")
        .and_then(|page| page.render(values));
    Ok(html(page.map_err(Error::internal)?, PAGE_POLICY, "DENY"))
}

fn html(page: String, policy: &'static str, frames: &'static str) -> Response {
    let mut response = Html(page).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static(frames));
    response
}
