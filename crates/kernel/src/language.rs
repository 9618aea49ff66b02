//! The languages in which people are spoken to: Spanish first, English where it is preferred.

use http::{HeaderMap, Uri, header};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Language of a mail or a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    #[default]
    Es,
    En,
}

impl Language {
    /// `es` or `en`, as HTML and the database have it.
    pub const fn code(self) -> &'static str {
        match self {
            Language::Es => "es",
            Language::En => "en",
        }
    }

    /// The language of a tag such as `en` or `en-US`.
    pub fn of_tag(tag: &str) -> Option<Language> {
        match tag.get(..2)?.to_ascii_lowercase().as_str() {
            "es" => Some(Language::Es),
            "en" => Some(Language::En),
            _ => None,
        }
    }

    /// `?lang=en`, else what the browser prefers of the two, else Spanish.
    pub fn of_request(uri: &Uri, headers: &HeaderMap) -> Language {
        let asked = uri
            .query()
            .unwrap_or_default()
            .split('&')
            .find_map(|pair| pair.strip_prefix("lang="));
        let accepted = headers
            .get(header::ACCEPT_LANGUAGE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        // Browsers list languages in the order of preference.
        let mut wanted = asked.into_iter().chain(accepted.split(',').map(str::trim));
        wanted.find_map(Language::of_tag).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn spanish_unless_english_is_preferred() {
        let of = |uri: &'static str, accepted: &'static str| {
            let headers =
                HeaderMap::from_iter([(header::ACCEPT_LANGUAGE, HeaderValue::from_static(accepted))]);
            Language::of_request(&Uri::from_static(uri), &headers)
        };
        for (uri, accepted, expected) in [
            ("/", "de-DE, fr;q=0.8", Language::Es),
            ("/", "de, en-US;q=0.9, es;q=0.8", Language::En),
            ("/", "es-CO, en;q=0.5", Language::Es),
            ("/?lang=en", "es", Language::En),
            ("/?lang=xx", "q", Language::Es),
        ] {
            assert_eq!(of(uri, accepted), expected, "{uri} {accepted}");
        }
    }
}
