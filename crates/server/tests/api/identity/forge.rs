//! Tokens as an attacker would make them.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::{Sha256, Sha384, Sha512};

/// HMAC with the hash that this algorithm names.
fn hmac(algorithm: &str, secret: &[u8], message: &str) -> Vec<u8> {
    macro_rules! signed {
        ($hash:ty) => {{
            let mut mac = <Hmac<$hash> as KeyInit>::new_from_slice(secret).expect("any length");
            mac.update(message.as_bytes());
            mac.finalize().into_bytes().to_vec()
        }};
    }
    match algorithm {
        "HS384" => signed!(Sha384),
        "HS512" => signed!(Sha512),
        _ => signed!(Sha256),
    }
}

/// A token of these parts, signed with this secret.
pub fn sign_text(header: &str, claims: &str, secret: &[u8]) -> String {
    let message = format!("{}.{}", BASE64.encode(header), BASE64.encode(claims));
    let algorithm =
        serde_json::from_str::<Value>(header).map(|h| h["alg"].as_str().unwrap_or_default().to_owned());
    let signature = BASE64.encode(hmac(&algorithm.unwrap_or_default(), secret, &message));
    format!("{message}.{signature}")
}

pub fn sign(header: &Value, claims: &Value, secret: &[u8]) -> String {
    sign_text(&header.to_string(), &claims.to_string(), secret)
}

/// The claims of a token.
pub fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).expect("a signed token");
    serde_json::from_slice(&BASE64.decode(payload).expect("base64url")).expect("JSON")
}

/// The header of our tokens.
pub fn hs256() -> Value {
    json!({"alg": "HS256", "typ": "JWT", "kid": kid(testkit::SECRET)})
}

/// The id of a secret.
pub fn kid(secret: &str) -> String {
    let keys = kernel::keys::Keys::new(secret);
    let (kid, _) = keys.secrets().next().expect("a secret");
    kid
}

/// The claims with one of them set, or removed with null.
pub fn with(claims: &Value, name: &str, value: Value) -> Value {
    let mut changed = claims.clone();
    let object = changed.as_object_mut().expect("object");
    match value {
        Value::Null => drop(object.remove(name)),
        value => drop(object.insert(name.to_owned(), value)),
    }
    changed
}
