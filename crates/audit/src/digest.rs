//! The canonical form of an entry and the hash of its link.

use kernel::keys::Digest32;
use kernel::types::Timestamp;
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The first part of every hash: the form that follows.
const FORM: &str = "ally360 audit 1";

/// An entry as the trigger wrote it.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub tenant_id: Uuid,
    pub id: Uuid,
    pub occurred_at: Timestamp,
    pub xact: i64,
    pub actor_kind: String,
    pub actor_id: Option<Uuid>,
    pub actor_name: Option<String>,
    pub address: Option<String>,
    pub request_id: Option<String>,
    pub entity: String,
    pub entity_id: String,
    pub action: String,
    /// JSON, exactly as stored.
    pub before: Option<String>,
    pub after: Option<String>,
}

/// The hash of an entry's link: SHA-256 over the parts in this order, each with its length before it (64 bits,
/// big endian; all ones for a part that is null). Numbers are decimal, ids hyphenated and lower case, times
/// microseconds since 1970 UTC.
pub(crate) fn link_hash(previous: &Digest32, seq: i64, backdated: bool, entry: &Entry) -> Digest32 {
    let mut hash = Parts(Sha256::new());
    hash.text(FORM);
    hash.bytes(previous);
    hash.text(&seq.to_string());
    hash.text(if backdated { "backdated" } else { "" });
    hash.text(&entry.tenant_id.to_string());
    hash.text(&entry.id.to_string());
    hash.text(&entry.occurred_at.0.as_microsecond().to_string());
    hash.text(&entry.xact.to_string());
    hash.text(&entry.actor_kind);
    hash.optional(entry.actor_id.map(|id| id.to_string()).as_deref());
    hash.optional(entry.actor_name.as_deref());
    hash.optional(entry.address.as_deref());
    hash.optional(entry.request_id.as_deref());
    hash.text(&entry.entity);
    hash.text(&entry.entity_id);
    hash.text(&entry.action);
    hash.optional(entry.before.as_deref());
    hash.optional(entry.after.as_deref());
    hash.0.finalize().into()
}

struct Parts(Sha256);

impl Parts {
    fn bytes(&mut self, part: &[u8]) {
        self.0.update((part.len() as u64).to_be_bytes());
        self.0.update(part);
    }

    fn text(&mut self, part: &str) {
        self.bytes(part.as_bytes());
    }

    fn optional(&mut self, part: Option<&str>) {
        match part {
            Some(part) => self.text(part),
            None => self.0.update(u64::MAX.to_be_bytes()),
        }
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry {
            tenant_id: Uuid::from_u128(1),
            id: Uuid::from_u128(2),
            occurred_at: Timestamp("2026-11-23T15:04:05.123456Z".parse().expect("a time")),
            xact: 740,
            actor_kind: "user".to_owned(),
            actor_id: Some(Uuid::from_u128(3)),
            actor_name: None,
            address: Some("10.0.0.1".to_owned()),
            request_id: None,
            entity: "brands".to_owned(),
            entity_id: Uuid::from_u128(4).to_string(),
            action: "update".to_owned(),
            before: Some(r#"{"name": "Café"}"#.to_owned()),
            after: Some(r#"{"name": "Té"}"#.to_owned()),
        }
    }

    /// Computed by an independent program; see docs/audit.md.
    #[test]
    fn the_form_is_the_documented_one() {
        assert_eq!(hex(&link_hash(&[0; 32], 1, false, &entry())), KNOWN);
    }

    const KNOWN: &str = "69ae0acf4e9559901b41318155e55eeab1c47f8890ad6e3ae9617da94cc8a7c0";

    #[test]
    fn every_part_counts_and_none_runs_into_the_next() {
        let of = |change: fn(&mut Entry)| {
            let mut changed = entry();
            change(&mut changed);
            link_hash(&[0; 32], 1, false, &changed)
        };
        let mut hashes = vec![
            of(|_| {}),
            link_hash(&[1; 32], 1, false, &entry()),
            link_hash(&[0; 32], 2, false, &entry()),
            link_hash(&[0; 32], 1, true, &entry()),
            of(|e| e.tenant_id = Uuid::nil()),
            of(|e| e.id = Uuid::nil()),
            of(|e| e.occurred_at = Timestamp(e.occurred_at.0 + jiff::SignedDuration::from_micros(1))),
            of(|e| e.xact += 1),
            of(|e| e.actor_kind = "key".to_owned()),
            of(|e| e.actor_id = None),
            of(|e| e.actor_name = Some(String::new())),
            of(|e| e.address = None),
            of(|e| e.request_id = Some(String::new())),
            of(|e| e.entity = "brand".to_owned()),
            of(|e| e.entity_id.insert(0, 's')),
            of(|e| e.action = "delete".to_owned()),
            of(|e| e.before = None),
            of(|e| e.after = None),
            of(|e| std::mem::swap(&mut e.before, &mut e.after)),
            // The same bytes, cut elsewhere.
            of(|e| (e.entity, e.entity_id) = ("brand".to_owned(), format!("s{}", e.entity_id))),
        ];
        let all = hashes.len();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), all);
    }
}
