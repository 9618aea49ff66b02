//! Verification of an exported trail: from the file alone, without a database.

use std::io::BufRead;

use anyhow::Context;
use kernel::keys::Digest32;
use kernel::types::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::digest::{Entry, hex, link_hash};
use crate::heads::{Head, known};
use crate::verify::{Fault, MAX_FAULTS, Report};

/// A line of an export in NDJSON, as far as its hash is concerned.
#[derive(Deserialize)]
struct Line<'a> {
    id: Uuid,
    occurred_at: Timestamp,
    actor: Actor,
    address: Option<String>,
    request_id: Option<String>,
    action: String,
    entity: String,
    entity_id: String,
    #[serde(borrow)]
    before: Option<&'a RawValue>,
    #[serde(borrow)]
    after: Option<&'a RawValue>,
    link: Option<Link>,
}

#[derive(Deserialize)]
struct Actor {
    kind: String,
    id: Option<Uuid>,
}

#[derive(Deserialize)]
struct Link {
    seq: i64,
    hash: String,
    tenant_id: Uuid,
    xact: i64,
    backdated: bool,
    actor_name: Option<String>,
}

struct Chained {
    seq: i64,
    hash: String,
    backdated: bool,
    entry: Entry,
}

/// Verifies an export in NDJSON, made without a filter, also against heads that were exported earlier. The
/// first link is taken as it is unless it is number 1. Returns the company and what was found.
///
/// # Errors
/// When the file cannot be read, is no such export, or holds nothing that is chained.
pub fn verify_export(file: impl BufRead, exported: &[Head]) -> anyhow::Result<(Uuid, Report)> {
    let mut report = Report::default();
    let mut chain = Vec::new();
    for (number, line) in (1..).zip(file.lines()) {
        let text = line.with_context(|| format!("line {number} cannot be read"))?;
        match parse(&text).with_context(|| format!("line {number} is no entry of an export"))? {
            Some(chained) => chain.push(chained),
            None => report.waiting += 1,
        }
    }
    chain.sort_by_key(|chained| chained.seq);
    let company = chain.first().context("nothing in it is chained")?.entry.tenant_id;
    let heads = known(exported, company);
    let mut previous: Option<Digest32> = None;
    let mut last = 0;
    for chained in &chain {
        let (seq, entry) = (chained.seq, chained.entry.id);
        report.links += 1;
        if seq <= last {
            report.faults.push(Fault::LinkExtra { seq });
            continue;
        }
        if last > 0 && seq > last + 1 {
            let (from, to) = (last + 1, seq - 1);
            report.faults.push(Fault::LinksMissing { from, to });
            previous = None;
        }
        let before = if seq == 1 { Some([0; 32]) } else { previous };
        let own: Digest32 = digest(&chained.hash).with_context(|| format!("link {seq} has no hash"))?;
        let fits =
            before.is_none_or(|before| link_hash(&before, seq, chained.backdated, &chained.entry) == own);
        if !fits || chained.entry.tenant_id != company {
            report.faults.push(Fault::Changed { seq, entry });
        }
        if chained.backdated {
            report.faults.push(Fault::Backdated {
                seq: Some(seq),
                entry,
            });
        }
        if heads.get(&seq).is_some_and(|head| *head != hex(&own)) {
            report.faults.push(Fault::Rewritten { seq });
        }
        (previous, last) = (Some(own), seq);
    }
    report.faults.truncate(MAX_FAULTS);
    Ok((company, report))
}

/// The entry, if it is chained.
fn parse(text: &str) -> anyhow::Result<Option<Chained>> {
    let line: Line = serde_json::from_str(text)?;
    let Some(link) = line.link else { return Ok(None) };
    let raw = |json: Option<&RawValue>| json.map(|json| json.get().to_owned());
    Ok(Some(Chained {
        seq: link.seq,
        hash: link.hash,
        backdated: link.backdated,
        entry: Entry {
            tenant_id: link.tenant_id,
            id: line.id,
            occurred_at: line.occurred_at,
            xact: link.xact,
            actor_kind: line.actor.kind,
            actor_id: line.actor.id,
            actor_name: link.actor_name,
            address: line.address,
            request_id: line.request_id,
            entity: line.entity,
            entity_id: line.entity_id,
            action: line.action,
            before: raw(line.before),
            after: raw(line.after),
        },
    }))
}

fn digest(hash: &str) -> Option<Digest32> {
    let mut bytes = [0; 32];
    let digits = hash.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(bytes)
}
