//! Keys derived from `APP_SECRET_STRING`, one per purpose, so that a value made for one use is
//! worthless for another.

use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// 32 bytes: a SHA-256 digest or key.
pub type Digest32 = [u8; 32];

/// The installation's secret, and those it had before; only derived keys leave it. What is made is
/// made with the present one; what an earlier one made is still known.
#[derive(Clone)]
pub struct Keys {
    /// The present secret, then the earlier ones. Never empty.
    secrets: Arc<[Box<[u8]>]>,
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

fn derived(secret: &[u8], purpose: &str) -> Digest32 {
    mac(secret, &[b"ally360", purpose.as_bytes()])
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

impl Keys {
    /// Keys of an installation with this secret.
    pub fn new(secret: &str) -> Keys {
        Keys::rotated(secret, &[])
    }

    /// Keys of an installation with this secret and, before it, others. Empty ones do not count:
    /// anybody could sign with them.
    pub fn rotated(secret: &str, previous: &[String]) -> Keys {
        let earlier = previous
            .iter()
            .map(String::as_str)
            .filter(|secret| !secret.is_empty());
        Keys {
            secrets: std::iter::once(secret)
                .chain(earlier)
                .map(|secret| secret.as_bytes().into())
                .collect(),
        }
    }

    /// The key of a purpose, e.g. `cursor`.
    pub fn derive(&self, purpose: &str) -> Digest32 {
        derived(&self.secrets[0], purpose)
    }

    /// The keys of a purpose that a value may have been made with: the present one, then earlier ones.
    pub fn derive_all(&self, purpose: &str) -> Vec<Digest32> {
        self.secrets
            .iter()
            .map(|secret| derived(secret, purpose))
            .collect()
    }

    /// The raw secret, for tokens that other services verify with `APP_SECRET_STRING` itself.
    pub fn secret(&self) -> &[u8] {
        &self.secrets[0]
    }

    /// All raw secrets, each with an id that tells nothing of it; the present one first.
    pub fn secrets(&self) -> impl Iterator<Item = (String, &[u8])> {
        self.secrets
            .iter()
            .map(|secret| (hex(&derived(secret, "key id")[..8]), &**secret))
    }

    /// Passwords of a runtime database role when none is configured: 64 hexadecimal digits, the present one first.
    pub fn role_passwords(&self, role: &str) -> Vec<String> {
        let keys = self.derive_all(&format!("database role {role}"));
        keys.iter().map(|key| hex(key)).collect()
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
        assert_eq!(keys.role_passwords("ally_app")[0].len(), 64);
    }

    #[test]
    fn earlier_secrets_are_known_and_make_nothing_new() {
        let (old, new) = (
            Keys::new("one"),
            Keys::rotated("two", &["one".to_owned(), String::new()]),
        );
        assert_eq!(new.derive("a"), Keys::new("two").derive("a"));
        assert_eq!(new.derive_all("a"), [new.derive("a"), old.derive("a")]);
        let ids: Vec<String> = new.secrets().map(|(id, _)| id).collect();
        assert_eq!(ids.len(), 2, "the empty one does not count");
        assert_eq!(old.secrets().next().map(|(id, _)| id).as_ref(), ids.last());
        assert!(ids[0] != ids[1] && ids[0].len() == 16);
    }
}
