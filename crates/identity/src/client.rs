//! Who is at the other end of a request, as far as that can be told.

use std::convert::Infallible;
use std::net::IpAddr;

use axum::extract::FromRequestParts;
use http::header;
use http::request::Parts;
use kernel::caller::Cause;

/// Longest part of a User-Agent that is kept, in characters.
const USER_AGENT: usize = 300;

/// Browsers by what only they and their kin write, the most particular first.
const BROWSERS: [(&str, &str); 8] = [
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("CriOS/", "Chrome"),
    ("Safari/", "Safari"),
];
const SYSTEMS: [(&str, &str); 7] = [
    ("Windows", "Windows"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
];

/// Address and device of a caller.
#[derive(Clone, Debug, Default)]
pub struct Client {
    pub address: Option<IpAddr>,
    pub user_agent: Option<String>,
}

impl Client {
    /// The address as text.
    pub fn address_text(&self) -> Option<String> {
        self.address.map(|address| address.to_string())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Client {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Client, Infallible> {
        let user_agent = parts.headers.get(header::USER_AGENT);
        Ok(Client {
            address: parts.extensions.get::<Cause>().and_then(|cause| cause.address),
            user_agent: user_agent
                .and_then(|value| value.to_str().ok())
                .map(|text| text.chars().take(USER_AGENT).collect()),
        })
    }
}

/// A device as people call it: `Chrome, Android`. What it says of itself, where that is nothing known.
pub fn device(user_agent: Option<&str>) -> Option<String> {
    let user_agent = user_agent?;
    let find = |names: &[(&str, &'static str)]| {
        let known = names.iter().find(|(mark, _)| user_agent.contains(mark));
        known.map(|(_, name)| *name)
    };
    Some(match (find(&BROWSERS), find(&SYSTEMS)) {
        (Some(browser), Some(system)) => format!("{browser}, {system}"),
        (Some(name), None) | (None, Some(name)) => name.to_owned(),
        (None, None) => user_agent.split(['/', ' ']).next().unwrap_or_default().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_have_names() {
        for (user_agent, expected) in [
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0",
                "Edge, Windows",
            ),
            (
                "Mozilla/5.0 (Linux; Android 15; SM-A155M) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36",
                "Chrome, Android",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
                "Safari, iPhone",
            ),
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
                "Firefox, Linux",
            ),
            ("python-requests/2.32.3", "python-requests"),
        ] {
            assert_eq!(device(Some(user_agent)).as_deref(), Some(expected));
        }
        assert_eq!(device(None), None);
    }
}
