//! Who runs the installation: one token, set by whoever starts the program.

use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue, header};
use kernel::app::App;
use kernel::error::{Error, NOT_FOUND, UNAUTHENTICATED};
use kernel::keys::{Digest32, mac};

/// The operator token, kept as a digest. Digests under a key that nobody outside knows are compared:
/// the time that takes tells nothing of the token.
pub(crate) struct Operator {
    key: Digest32,
    token: Option<Digest32>,
}

impl Operator {
    pub(crate) fn new(app: &App) -> Operator {
        let key = app.keys.derive("operator token");
        let token = app
            .config
            .auth
            .operator_token
            .as_ref()
            .map(|token| mac(&key, &[token.as_bytes()]));
        Operator { key, token }
    }

    /// Lets the operator pass.
    ///
    /// # Errors
    /// 404 when the installation has no operator token; 401 that makes a browser ask for a password.
    #[expect(
        clippy::result_large_err,
        reason = "the answer itself, once per refused request"
    )]
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<(), Response> {
        let Some(token) = &self.token else {
            return Err(Error::new(&NOT_FOUND).into_response());
        };
        if given(headers).is_some_and(|given| mac(&self.key, &[&given]) == *token) {
            return Ok(());
        }
        let mut refusal = Error::new(&UNAUTHENTICATED).into_response();
        let challenge = HeaderValue::from_static("Basic realm=\"ally360 operator\", charset=\"UTF-8\"");
        refusal.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        Err(refusal)
    }
}

/// The bearer token, or the password of HTTP Basic, of the one Authorization header.
fn given(headers: &HeaderMap) -> Option<Vec<u8>> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let (scheme, credentials) = value.to_str().ok()?.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(credentials.as_bytes().to_vec());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = STANDARD.decode(credentials).ok()?;
    let colon = pair.iter().position(|byte| *byte == b':')?;
    Some(pair[colon + 1..].to_vec())
}
