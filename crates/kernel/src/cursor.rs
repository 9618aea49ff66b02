//! Opaque, tamper-proof list cursors: base64url(payload ‖ MAC), the MAC bound to a context so that
//! a cursor works only for the company, list, filters and order it was issued for.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{CURSOR_INVALID, Error, Result};
use crate::keys::{Digest32, mac};

const MAC_BYTES: usize = 16;
/// Longer ones were not made here.
const MAX_CHARS: usize = 2048;

/// Seals a position.
///
/// # Errors
/// When the position cannot be written as JSON.
pub fn seal<T: Serialize>(key: &Digest32, context: &[u8], position: &T) -> Result<String> {
    let mut bytes = serde_json::to_vec(position).map_err(Error::internal)?;
    let tag = mac(key, &[context, &bytes]);
    bytes.extend_from_slice(&tag[..MAC_BYTES]);
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

/// Opens what [`seal`] made in the same context.
///
/// # Errors
/// `cursor-invalid` for anything else.
pub fn open<T: DeserializeOwned>(key: &Digest32, context: &[u8], cursor: &str) -> Result<T> {
    let invalid = || Error::new(&CURSOR_INVALID);
    if cursor.len() > MAX_CHARS {
        return Err(invalid());
    }
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(cursor).map_err(|_| invalid())?;
    let (payload, tag) = bytes
        .split_at_checked(bytes.len().saturating_sub(MAC_BYTES))
        .ok_or_else(invalid)?;
    let expected = mac(key, &[context, payload]);
    let differs =
        tag.len() != MAC_BYTES || tag.iter().zip(&expected).fold(0, |acc, (a, b)| acc | (a ^ b)) != 0;
    if differs {
        return Err(invalid());
    }
    serde_json::from_slice(payload).map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_issued_cursor_opens_and_only_in_its_context() {
        let key = [7; 32];
        let cursor = seal(&key, b"tenant a", &("name", 5)).expect("seal");
        assert_eq!(
            open::<(String, i64)>(&key, b"tenant a", &cursor).expect("open"),
            ("name".to_owned(), 5)
        );
        assert!(open::<(String, i64)>(&key, b"tenant b", &cursor).is_err());
        assert!(open::<(String, i64)>(&[8; 32], b"tenant a", &cursor).is_err());
        for i in 0..cursor.len() {
            let mut bytes = cursor.clone().into_bytes();
            bytes[i] = if bytes[i] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(bytes).expect("ascii");
            assert!(
                open::<(String, i64)>(&key, b"tenant a", &forged).is_err() || forged == cursor,
                "{i}"
            );
        }
        for bad in ["", "A", "####", &"A".repeat(5000)] {
            assert!(open::<(String, i64)>(&key, b"tenant a", bad).is_err());
        }
    }
}
