//! AWS Signature Version 4 in the query string, for S3. As of rusty-s3, which the tests hold it against, but with the
//! key of a day derived once: a list of products has sixty signed URLs.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rusty_s3::Method;
use sha2::{Digest, Sha256};
use url::{Position, Url};

use crate::Credentials;

/// All but what RFC 3986 calls unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Names, which hold nothing that is encoded, and values; in the order in which they are signed.
pub(crate) type Pairs = BTreeMap<&'static str, String>;

/// Signs with one key pair, for one region.
pub(crate) struct Signer {
    credentials: Credentials,
    region: String,
    /// The day last signed for, and its key.
    day: Mutex<Option<(String, Hmac<Sha256>)>>,
}

/// Without anything that signs.
impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

impl Signer {
    pub fn new(credentials: &Credentials, region: &str) -> Self {
        Self {
            credentials: credentials.clone(),
            region: region.to_owned(),
            day: Mutex::new(None),
        }
    }

    /// The URL with a signature that is valid from then on, of a request with this query and these headers, whose
    /// names are in lower case. Its body is not signed.
    pub fn sign(
        &self,
        method: Method,
        url: &Url,
        query: &Pairs,
        headers: &Pairs,
        from: Timestamp,
        expires: Duration,
    ) -> String {
        let time = from.strftime("%Y%m%dT%H%M%SZ").to_string();
        let (day, _) = time.split_at(8);
        let scope = format!("{day}/{}/s3/aws4_request", self.region);

        let host = &url[Position::BeforeHost..Position::AfterPort];
        let mut headers: BTreeMap<&str, &str> = headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        headers.insert("host", host);
        let signed = headers.keys().copied().collect::<Vec<_>>().join(";");

        let (credential, seconds) = (
            format!("{}/{scope}", self.credentials.access_key),
            expires.as_secs().to_string(),
        );
        let mut query: BTreeMap<&str, &str> = query
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        query.extend([
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
            ("X-Amz-Credential", credential.as_str()),
            ("X-Amz-Date", time.as_str()),
            ("X-Amz-Expires", seconds.as_str()),
            ("X-Amz-SignedHeaders", signed.as_str()),
        ]);
        let mut pairs = String::with_capacity(512);
        for (name, value) in query {
            if !pairs.is_empty() {
                pairs.push('&');
            }
            pairs.push_str(name);
            pairs.push('=');
            pairs.extend(utf8_percent_encode(value, RESERVED));
        }

        let mut request = String::with_capacity(1024);
        write(
            &mut request,
            format_args!("{}\n{}\n{pairs}\n", method.to_str(), url.path()),
        );
        for (name, value) in headers {
            let value = value.split_whitespace().collect::<Vec<_>>().join(" ");
            write(&mut request, format_args!("{name}:{value}\n"));
        }
        write(&mut request, format_args!("\n{signed}\nUNSIGNED-PAYLOAD"));

        let mut mac = self.key(day);
        let digest = hex(&Sha256::digest(request));
        mac.update(format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{digest}").as_bytes());
        let signature = hex(&mac.finalize().into_bytes());
        format!(
            "{}?{pairs}&X-Amz-Signature={signature}",
            &url[..Position::AfterPath]
        )
    }

    /// The key of a day, ready for what it signs.
    fn key(&self, day: &str) -> Hmac<Sha256> {
        let mut last = self.day.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((known, key)) if known == day => key.clone(),
            _ => {
                let secret = format!("AWS4{}", self.credentials.secret_key);
                let parts = [day, &self.region, "s3", "aws4_request"];
                let key = parts.iter().fold(hmac(secret.as_bytes()), |mut key, part| {
                    key.update(part.as_bytes());
                    hmac(&key.finalize().into_bytes())
                });
                *last = Some((day.to_owned(), key.clone()));
                key
            }
        }
    }
}

fn hmac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).unwrap_or_else(|_| unreachable!("HMAC takes any key length"))
}

fn write(text: &mut String, what: fmt::Arguments<'_>) {
    text.write_fmt(what)
        .unwrap_or_else(|_| unreachable!("memory takes any text"));
}

fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from(b"0123456789abcdef"[usize::from(half)]);
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer() -> Signer {
        let credentials = Credentials {
            access_key: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned(),
        };
        Signer::new(&credentials, "us-east-1")
    }

    fn pairs(of: &[(&'static str, &str)]) -> Pairs {
        of.iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect()
    }

    #[test]
    fn the_example_of_the_specification_is_signed_as_there() {
        let signed = signer().sign(
            Method::Get,
            &"https://examplebucket.s3.amazonaws.com/test.txt"
                .parse()
                .expect("a URL"),
            &Pairs::new(),
            &Pairs::new(),
            "2013-05-24T00:00:00Z".parse().expect("a time"),
            Duration::from_hours(24),
        );
        assert_eq!(
            signed,
            "https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256\
             &X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
             &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
             &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
        );
    }

    #[test]
    fn it_signs_as_rusty_s3_does_on_every_day() {
        let signer = signer();
        let times = [
            "2026-03-01T10:15:00Z",
            "2026-03-02T00:00:00Z",
            "2026-03-01T23:59:59Z",
        ];
        let urls = [
            "http://localhost:9000/files/a/..b/%C3%B1%20%252e%252e%3F%23%5C",
            "https://store.example.com/files/a",
            "http://[::1]:80/files/",
            "https://10.0.0.1:9443/files/a~b",
        ];
        let queries = [
            pairs(&[]),
            pairs(&[("list-type", "2"), ("prefix", "a b+ñ/&="), ("X-Amz-Zzz", "")]),
            pairs(&[(
                "response-content-disposition",
                "inline; filename*=UTF-8''caf%C3%A9%20%26.txt",
            )]),
        ];
        let headers = [
            pairs(&[]),
            pairs(&[
                ("content-length", "5"),
                ("content-type", "text/plain;  charset=utf-8 "),
            ]),
            pairs(&[
                (
                    "x-amz-checksum-sha256",
                    "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=",
                ),
                ("if-none-match", "*"),
            ]),
        ];
        for time in times {
            let from: Timestamp = time.parse().expect("a time");
            for url in urls.map(|url| url.parse::<Url>().expect("a URL")) {
                for (query, headers) in queries
                    .iter()
                    .zip(&headers)
                    .chain(queries.iter().zip(headers.iter().rev()))
                {
                    let theirs = rusty_s3::signing::sign(
                        &from,
                        Method::Put,
                        url.clone(),
                        &signer.credentials.access_key,
                        &signer.credentials.secret_key,
                        None,
                        "us-east-1",
                        600,
                        query.iter().map(|(name, value)| (*name, value.as_str())),
                        headers.iter().map(|(name, value)| (*name, value.as_str())),
                    );
                    let ours = signer.sign(Method::Put, &url, query, headers, from, Duration::from_mins(10));
                    assert_eq!(ours, theirs.as_str());
                }
            }
        }
    }

    #[test]
    fn debug_hides_the_keys() {
        let shown = format!("{:?}", signer());
        assert!(!shown.contains("wJalr") && !shown.contains("AKIA"), "{shown}");
    }
}
