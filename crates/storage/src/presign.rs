//! SigV4 in the query string: what clients get, and how this crate's own requests are signed.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use rusty_s3::{Bucket, Method};
use url::Url;

use crate::Error;
use crate::sigv4::{Pairs, Signer};

/// What an upload must be. Every condition given is a signed header: the store refuses a request that leaves it
/// out or differs, and none is moved into the query string, where stores do not enforce it.
#[derive(Clone, Debug, Default)]
pub struct PutConditions {
    /// `Content-Type`, verbatim.
    pub content_type: Option<String>,
    /// `Content-Length`, in bytes.
    pub content_length: Option<u64>,
    /// SHA-256 of the body.
    pub sha256: Option<[u8; 32]>,
    /// `If-None-Match: *`: a second upload is refused where the store supports it (not every one does).
    pub create_only: bool,
    /// How long the upload may begin, at most seven days; whole seconds.
    pub expires: Duration,
}

/// What a download answers.
#[derive(Clone, Debug, Default)]
pub struct GetOptions {
    /// How long the URL works, at most seven days; whole seconds.
    pub expires: Duration,
    /// `Content-Disposition` of the response, as of RFC 6266.
    pub content_disposition: Option<String>,
    /// `Content-Type` of the response instead of the stored one.
    pub content_type: Option<String>,
    /// `Cache-Control` of the response.
    pub cache_control: Option<String>,
    /// Signs as of the last full multiple of this since the epoch, in whole seconds: so long the URL stays the
    /// same, and a browser's cache knows it again. What has passed of it is missing from `expires`.
    pub same_for: Duration,
}

/// A request that a client sends without credentials. The URL is a secret until it expires.
#[derive(Clone, PartialEq, Eq)]
pub struct Presigned {
    pub url: String,
    /// `PUT` or `GET`.
    pub method: &'static str,
    /// To be sent exactly so, names in lower case. `Content-Length` stands here although browsers set it
    /// themselves, because other clients must know it is fixed.
    pub headers: BTreeMap<&'static str, String>,
}

/// Without the query, which holds the signature.
impl fmt::Debug for Presigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.url.split('?').next();
        let mut debug = f.debug_struct("Presigned");
        debug
            .field("method", &self.method)
            .field("url", &url)
            .field("headers", &self.headers);
        debug.finish_non_exhaustive()
    }
}

impl PutConditions {
    pub(crate) fn headers(&self) -> Pairs {
        let mut headers = Pairs::new();
        if let Some(content_type) = &self.content_type {
            headers.insert("content-type", content_type.clone());
        }
        if let Some(length) = self.content_length {
            headers.insert("content-length", length.to_string());
        }
        if let Some(sha256) = &self.sha256 {
            headers.insert("x-amz-checksum-sha256", BASE64_STANDARD.encode(sha256));
        }
        if self.create_only {
            headers.insert("if-none-match", "*".to_owned());
        }
        headers
    }
}

impl GetOptions {
    pub(crate) fn query(&self) -> Pairs {
        let overrides = [
            ("response-cache-control", &self.cache_control),
            ("response-content-disposition", &self.content_disposition),
            ("response-content-type", &self.content_type),
        ];
        overrides
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.clone()?)))
            .collect()
    }
}

/// A request before it is signed; all of its query and headers will be.
#[derive(Clone, Debug)]
pub(crate) struct Action {
    pub method: Method,
    pub url: Url,
    pub query: Pairs,
    pub headers: Pairs,
}

impl Action {
    /// On the bucket itself.
    pub fn bucket(method: Method, bucket: &Bucket) -> Self {
        Self {
            method,
            url: bucket.base_url().clone(),
            query: Pairs::new(),
            headers: Pairs::new(),
        }
    }

    /// On one object.
    pub fn object(method: Method, bucket: &Bucket, key: &str) -> Result<Self, Error> {
        check_key(key)?;
        Ok(Self {
            url: bucket.object_url(key),
            ..Self::bucket(method, bucket)
        })
    }

    pub fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.insert(name, value.into());
        self
    }

    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.insert(name, value.into());
        self
    }

    /// The URL, valid from now on.
    pub fn sign(&self, signer: &Signer, expires: Duration) -> String {
        self.sign_at(now(), signer, expires)
    }

    /// The URL, valid from then on.
    fn sign_at(&self, from: Timestamp, signer: &Signer, expires: Duration) -> String {
        signer.sign(self.method, &self.url, &self.query, &self.headers, from, expires)
    }

    /// What a client sends; see [`GetOptions::same_for`].
    pub fn presign(self, signer: &Signer, expires: Duration, same_for: Duration) -> Presigned {
        Presigned {
            url: self.sign_at(begun(now(), same_for), signer, expires),
            method: self.method.to_str(),
            headers: self.headers,
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the store compares with its own clock, never a test's"
)]
fn now() -> Timestamp {
    Timestamp::now()
}

/// When the window that `now` lies in began. Signatures know whole seconds, so that is the shortest.
fn begun(now: Timestamp, window: Duration) -> Timestamp {
    let window = i64::try_from(window.as_secs()).map_or(1, |seconds| seconds.max(1));
    let second = now.as_second();
    Timestamp::from_second(second - second.rem_euclid(window)).unwrap_or(now)
}

/// Refuses what URLs cannot carry: `a/../b` would silently become `b`, and an empty key the bucket itself.
fn check_key(key: &str) -> Result<(), Error> {
    if key.is_empty() || key.len() > 1024 {
        return Err(Error::InvalidKey("it must have 1 to 1,024 bytes"));
    }
    if key.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Err(Error::InvalidKey("it has a segment that is . or .."));
    }
    if key.chars().any(char::is_control) {
        return Err(Error::InvalidKey("it has a control character"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rusty_s3::UrlStyle;

    use super::*;
    use crate::Credentials;

    fn bucket() -> Bucket {
        let endpoint = "http://localhost:9000".parse().expect("a URL");
        Bucket::new(endpoint, UrlStyle::Path, "files", "us-east-1").expect("a bucket")
    }

    fn signer() -> Signer {
        let credentials = Credentials {
            access_key: "key".to_owned(),
            secret_key: "secret".to_owned(),
        };
        Signer::new(&credentials, "us-east-1")
    }

    fn signed_headers(conditions: &PutConditions) -> String {
        let mut action = Action::object(Method::Put, &bucket(), "a/b").expect("a key");
        action.headers = conditions.headers();
        let url = action.sign(&signer(), Duration::from_mins(10));
        let url: Url = url.parse().expect("a URL");
        assert!(
            !url.query().expect("a query").contains("checksum-sha256="),
            "hoisted into the query"
        );
        let signed = url.query_pairs().find(|(name, _)| name == "X-Amz-SignedHeaders");
        signed.expect("signed headers").1.into_owned()
    }

    #[test]
    fn every_condition_is_a_signed_header() {
        let all = PutConditions {
            content_type: Some("image/png".to_owned()),
            content_length: Some(5),
            sha256: Some([7; 32]),
            create_only: true,
            expires: Duration::from_mins(10),
        };
        assert_eq!(
            signed_headers(&all),
            "content-length;content-type;host;if-none-match;x-amz-checksum-sha256"
        );
        let typed = PutConditions {
            content_type: all.content_type,
            ..PutConditions::default()
        };
        assert_eq!(signed_headers(&typed), "content-type;host");
        assert_eq!(signed_headers(&PutConditions::default()), "host");
    }

    #[test]
    fn keys_that_urls_resolve_are_refused() {
        for key in [
            "",
            "../x",
            "a/../b",
            "a/./b",
            "..",
            "a/..",
            "a\nb",
            &"k".repeat(1025),
        ] {
            let refused = Action::object(Method::Get, &bucket(), key);
            assert!(matches!(refused, Err(Error::InvalidKey(_))), "{key:?}");
        }
        let url = Action::object(Method::Get, &bucket(), "a/..b/ñ %2e%2e?#\\")
            .expect("a key")
            .url;
        assert_eq!(
            url.as_str(),
            "http://localhost:9000/files/a/..b/%C3%B1%20%252e%252e%3F%23%5C"
        );
    }

    #[test]
    fn a_url_stays_the_same_within_its_window() {
        let url = |now: &str| {
            let from = begun(now.parse().expect("a time"), Duration::from_mins(15));
            let action = Action::object(Method::Get, &bucket(), "a").expect("a key");
            action.sign_at(from, &signer(), Duration::from_mins(30))
        };
        let first = url("2026-03-01T10:15:00Z");
        assert_eq!(url("2026-03-01T10:29:59.999Z"), first);
        assert!(first.contains("X-Amz-Date=20260301T101500Z"), "{first}");
        assert_ne!(url("2026-03-01T10:30:00Z"), first);
    }

    #[test]
    fn debug_hides_the_signature() {
        let action = Action::object(Method::Get, &bucket(), "a").expect("a key");
        let shown = format!(
            "{:?}",
            action.presign(&signer(), Duration::from_mins(1), Duration::ZERO)
        );
        assert!(
            shown.contains("http://localhost:9000/files/a") && !shown.contains("Signature"),
            "{shown}"
        );
    }
}
