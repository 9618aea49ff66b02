//! The numbers as a page: complete without a script, renewed by one where there is one.

use std::sync::LazyLock;

use axum::response::Response;
use http::{HeaderValue, header};
use kernel::error::{Error, Result};
use kernel::language::Language;
use kernel::output;
use minijinja::value::{Serde, Value};
use minijinja::{Environment, context};
use uuid::Uuid;

use super::numbers::Numbers;

static TEMPLATES: LazyLock<Result<Environment<'static>, minijinja::Error>> = LazyLock::new(|| {
    // The suffix .html makes minijinja escape every value.
    let mut templates = Environment::new();
    templates.add_template("page.html", include_str!("page.html"))?;
    templates.add_filter("age", age);
    templates.add_filter("moment", |rfc3339: String| {
        rfc3339.get(..19).unwrap_or_default().replace('T', " ")
    });
    Ok(templates)
});

/// The page, with headers under which nothing but its own style and script runs.
pub(super) fn render(numbers: &Numbers, language: Language) -> Result<Response> {
    let templates = TEMPLATES
        .as_ref()
        .map_err(|error| Error::internal(anyhow::anyhow!("{error:#}")))?;
    let nonce = Uuid::new_v4().simple().to_string();
    let page = templates
        .get_template("page.html")
        .and_then(|page| page.render(context! { now => Value::from(Serde(numbers)), lang => language.code(), nonce => nonce.as_str() }))
        .map_err(Error::internal)?;
    let mut response = output::page(page, &nonce, "'self'")?;
    // Lets the browser tell the origin of our own forms, also without TLS.
    let policy = HeaderValue::from_static("same-origin");
    response.headers_mut().insert(header::REFERRER_POLICY, policy);
    Ok(response)
}

/// `45 s`, `3 min`, `2 h 5 min`, `4 d 3 h`: the same in both languages.
fn age(seconds: i64) -> String {
    let seconds = seconds.max(0);
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_read_well() {
        assert_eq!(
            [0, 59, 60, 7500, 90_000].map(age),
            ["0 s", "59 s", "1 min", "2 h 5 min", "1 d 1 h"]
        );
    }
}
