//! Keys derived from `APP_SECRET_STRING`, one per purpose, so that a value made for one use is
//! worthless for another.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// 32 bytes: a SHA-256 digest or key.
pub type Digest32 = [u8; 32];

/// The installation's secret; only derived keys leave it.
#[derive(Clone)]
pub struct Keys {
    secret: std::sync::Arc<[u8]>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(..)")
    }
}

/// HMAC-SHA256 of the concatenated, length-prefixed parts.
pub fn mac(key: &[u8], parts: &[&[u8]]) -> Digest32 {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key)
        .unwrap_or_else(|_| unreachable!("HMAC takes any key length"));
    for part in parts {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// SHA-256, the form in which opaque tokens are kept.
pub fn sha256(bytes: &[u8]) -> Digest32 {
    Sha256::digest(bytes).into()
}

impl Keys {
    /// Keys of an installation with this secret.
    pub fn new(secret: &str) -> Keys {
        Keys {
            secret: secret.as_bytes().into(),
        }
    }

    /// The key of a purpose, e.g. `cursor`.
    pub fn derive(&self, purpose: &str) -> Digest32 {
        mac(&self.secret, &[b"ally360", purpose.as_bytes()])
    }

    /// The raw secret, for tokens that other services verify with `APP_SECRET_STRING` itself.
    pub fn secret(&self) -> &[u8] {
        &self.secret
    }

    /// Password of a runtime database role when none is configured: 64 hexadecimal digits.
    pub fn role_password(&self, role: &str) -> String {
        use std::fmt::Write;
        self.derive(&format!("database role {role}"))
            .iter()
            .fold(String::new(), |mut hex, byte| {
                let _ = write!(hex, "{byte:02x}");
                hex
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purposes_and_secrets_give_unrelated_keys() {
        let keys = Keys::new("one");
        assert_ne!(keys.derive("a"), keys.derive("b"));
        assert_ne!(keys.derive("a"), Keys::new("two").derive("a"));
        assert_ne!(mac(b"k", &[b"ab", b"c"]), mac(b"k", &[b"a", b"bc"]));
        assert_eq!(keys.role_password("ally_app").len(), 64);
    }
}
