//! The token of an API key: `ak_live_`, the key's id (22 characters of base 62), 256 random bits (44)
//! and a checksum (6). Whoever finds one knows what it is, so secret scanners do; and one that was cut
//! or mistyped is refused without asking the database.

use kernel::keys::{Digest32, sha256};
use uuid::Uuid;

/// What every token begins with.
pub const PREFIX: &str = "ak_live_";
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Digits of a number of 128 and of 32 bits.
const WIDE: usize = 22;
const NARROW: usize = 6;
const LENGTH: usize = PREFIX.len() + 3 * WIDE + NARROW;
/// So many characters are shown again: those of the id's time and a little more.
const SHOWN: usize = PREFIX.len() + 12;

/// A fresh token of the key with this id, and what is stored of it.
pub fn fresh(id: Uuid) -> (String, Digest32) {
    let secret = [rand::random::<u128>(), rand::random::<u128>()];
    let mut token = PREFIX.to_owned();
    for number in [id.as_u128(), secret[0], secret[1]] {
        token += &base62(number, WIDE);
    }
    token += &checksum(&token);
    let hash = sha256(token.as_bytes());
    (token, hash)
}

/// What may be shown of a token.
pub fn prefix(token: &str) -> &str {
    token.get(..SHOWN).unwrap_or_default()
}

/// What is stored of a token, and looked up; looking up a hash needs no constant-time comparison.
/// Nothing for what no installation has made.
pub fn hash(token: &str) -> Option<Digest32> {
    let (body, check) = token.split_at_checked(LENGTH - NARROW)?;
    let digits = body.strip_prefix(PREFIX)?;
    let whole = digits.bytes().all(|b| b.is_ascii_alphanumeric()) && check == checksum(body);
    whole.then(|| sha256(token.as_bytes()))
}

fn checksum(body: &str) -> String {
    base62(crc32fast::hash(body.as_bytes()).into(), NARROW)
}

/// The number's lowest digits, the highest first.
fn base62(mut number: u128, digits: usize) -> String {
    let mut text = vec![b'0'; digits];
    for place in text.iter_mut().rev() {
        *place = DIGITS[(number % 62) as usize];
        number /= 62;
    }
    text.into_iter().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fill_their_digits() {
        assert_eq!(base62(0, WIDE), "0".repeat(WIDE));
        assert_eq!(base62(61, 2), "0z");
        assert_eq!(base62(62, 2), "10");
        // The largest fit: another digit would be nought.
        assert_eq!(base62(u128::MAX, WIDE + 1).as_bytes()[0], b'0');
        assert_eq!(base62(u32::MAX.into(), NARROW + 1).as_bytes()[0], b'0');
    }

    #[test]
    fn every_changed_character_shows() {
        let id = Uuid::from_u128(7);
        let (token, stored) = fresh(id);
        assert_eq!(token.len(), LENGTH);
        assert_ne!(token, fresh(id).0);
        assert!(token.starts_with(prefix(&token)) && !prefix(&token).is_empty());
        assert_eq!(hash(&token), Some(stored));
        for place in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[place] = if bytes[place] == b'x' { b'y' } else { b'x' };
            let changed = String::from_utf8(bytes).expect("ascii");
            assert_eq!(hash(&changed), None, "{place}");
        }
        for bad in [
            "",
            PREFIX,
            &token[1..],
            &token[..token.len() - 1],
            &format!("{token}0"),
            &format!("{PREFIX}{}", "ñ".repeat(36)),
        ] {
            assert_eq!(hash(bad), None, "{bad}");
        }
    }
}
