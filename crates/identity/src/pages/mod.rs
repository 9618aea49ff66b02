//! The pages that links in mails lead to.
//!
//! Opening one changes nothing: link scanners of mail services open every link. The token stands in
//! the fragment, which browsers send to nobody; the page's script takes it out of the address and posts
//! it to the API when the button is pressed.

use std::sync::LazyLock;

use axum::Router;
use axum::response::Response;
use axum::routing::get;
use http::{HeaderMap, Uri};
use kernel::error::{Error, Result};
use kernel::language::Language;
use kernel::module::Module;
use kernel::output;
use minijinja::{Environment, State, context};
use uuid::Uuid;

/// A page: where it is, and its template, which extends `layout.html`.
struct Page {
    path: &'static str,
    template: &'static str,
}

const PAGES: &[Page] = &[
    Page {
        path: "/account/verify-email",
        template: include_str!("verify-email.html"),
    },
    Page {
        path: "/account/request-password-reset",
        template: include_str!("request-password-reset.html"),
    },
    Page {
        path: "/account/reset-password",
        template: include_str!("reset-password.html"),
    },
    Page {
        path: "/account/confirm-email",
        template: include_str!("confirm-email.html"),
    },
    Page {
        path: "/account/accept-invitation",
        template: include_str!("accept-invitation.html"),
    },
];

const SHARED: [(&str, &str); 3] = [
    ("layout.html", include_str!("layout.html")),
    ("style.css", include_str!("style.css")),
    ("script.js", include_str!("script.js")),
];

static TEMPLATES: LazyLock<Result<Environment<'static>, minijinja::Error>> = LazyLock::new(|| {
    // A name that ends in .html makes minijinja escape every value.
    let mut templates = Environment::new();
    templates.add_function("t", |state: &State, spanish: String, english: String| {
        let english_wanted = state
            .lookup("lang")
            .is_some_and(|lang| lang.as_str() == Some("en"));
        if english_wanted { english } else { spanish }
    });
    for (name, source) in SHARED {
        templates.add_template(name, source)?;
    }
    for page in PAGES {
        templates.add_template_owned(format!("{}.html", page.path), page.template)?;
    }
    Ok(templates)
});

/// Not part of the API's document: they are for people.
pub fn module() -> Module {
    let routes = PAGES.iter().fold(Router::new(), |routes, page| {
        let show = async |uri: Uri, headers: HeaderMap| render(page, Language::of_request(&uri, &headers));
        routes.route(page.path, get(show))
    });
    let mut module = Module::new("pages");
    module.routes = routes.into();
    module
}

/// The page, with headers under which nothing but its own style and script runs, and which lets no form
/// be sent but by the script: without one a password would land in the address.
fn render(page: &Page, language: Language) -> Result<Response> {
    let templates = TEMPLATES
        .as_ref()
        .map_err(|error| Error::internal(anyhow::anyhow!("{error:#}")))?;
    let nonce = Uuid::new_v4().simple().to_string();
    let html = templates
        .get_template(&format!("{}.html", page.path))
        .and_then(|template| {
            template.render(context! { lang => language.code(), path => page.path, nonce => nonce.as_str() })
        })
        .map_err(Error::internal)?;
    output::page(html, &nonce, "'none'")
}

#[cfg(test)]
mod tests {
    use http::header;

    use super::*;

    #[test]
    fn every_page_is_whole_in_both_languages() {
        for page in PAGES {
            for language in [Language::Es, Language::En] {
                let response =
                    render(page, language).unwrap_or_else(|error| panic!("{}: {error}", page.path));
                assert_eq!(response.status(), 200);
                let policy = response.headers()[header::CONTENT_SECURITY_POLICY]
                    .to_str()
                    .expect("text");
                assert!(
                    policy.starts_with("default-src 'none'") && !policy.contains("unsafe"),
                    "{policy}"
                );
            }
        }
    }

    #[test]
    fn nothing_comes_from_elsewhere() {
        for page in PAGES {
            for source in [page.template]
                .into_iter()
                .chain(SHARED.map(|(_, source)| source))
            {
                assert!(
                    !source.contains("//cdn") && !source.contains("http://") && !source.contains("https://")
                );
            }
        }
    }
}
