//! Verification: every link is computed anew from its entry, and nothing may be missing or extra.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use kernel::app::App;
use kernel::db::SystemTx;
use kernel::error::Result;
use kernel::keys::Digest32;
use kernel::types::Timestamp;
use uuid::Uuid;

use crate::digest::{Entry, hex, link_hash};
use crate::heads::{Head, Known, known};

/// Links per query.
const PAGE: i64 = 1000;
/// Faults reported of one company; the first is what matters.
pub(crate) const MAX_FAULTS: usize = 100;

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The entry, or its link, is not what was chained.
    Changed { seq: i64, entry: Uuid },
    /// The entry is gone.
    Removed { seq: i64, entry: Uuid },
    /// Links are gone.
    LinksMissing { from: i64, to: i64 },
    /// More than one link has this number, or one beyond the end.
    LinkExtra { seq: i64 },
    /// The entry claims a time before its transaction had begun.
    Backdated { seq: Option<i64>, entry: Uuid },
    /// An entry without a link, though all of its time were chained.
    Inserted { entry: Uuid },
    /// The chain does not end where it was last continued.
    HeadDiffers { seq: i64 },
    /// The chain is not the one whose head was exported.
    Rewritten { seq: i64 },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Changed { seq, entry } => write!(f, "link {seq}: entry {entry} or its link was changed"),
            Fault::Removed { seq, entry } => write!(f, "link {seq}: entry {entry} was removed"),
            Fault::LinksMissing { from, to } => write!(f, "link {from}: removed, up to link {to}"),
            Fault::LinkExtra { seq } => write!(f, "link {seq}: was added"),
            Fault::Backdated {
                seq: Some(seq),
                entry,
            } => write!(f, "link {seq}: entry {entry} is backdated"),
            Fault::Backdated { seq: None, entry } => write!(f, "not chained yet: entry {entry} is backdated"),
            Fault::Inserted { entry } => write!(f, "no link: entry {entry} was inserted"),
            Fault::HeadDiffers { seq } => write!(f, "link {seq}: the chain does not end as it was left"),
            Fault::Rewritten { seq } => {
                write!(f, "link {seq}: the chain is not the one whose head was exported")
            }
        }
    }
}

/// What was found of one company.
#[derive(Debug, Default)]
pub struct Report {
    /// Links checked.
    pub links: i64,
    /// Entries that wait to be chained: nothing vouches for them yet.
    pub waiting: i64,
    /// In the order of the chain, then what is outside it; at most a hundred.
    pub faults: Vec<Fault>,
}

/// Every company that has a chain, entries or exported heads.
///
/// # Errors
/// Those of the database.
#[expect(
    clippy::disallowed_methods,
    reason = "an operator verifies the trails of all companies"
)]
pub async fn companies(app: &App, exported: &[Head]) -> Result<BTreeSet<Uuid>> {
    let mut tx = app.db.system().await?;
    let known = sqlx::query_scalar!(
        r#"select company_id as "id!" from audit_heads union select tenant_id from companies"#
    )
    .fetch_all(&mut *tx)
    .await?;
    Ok(known
        .into_iter()
        .chain(exported.iter().map(|head| head.company_id))
        .collect())
}

/// Verifies the trail of a company, also against heads that were exported earlier.
///
/// # Errors
/// Those of the database.
#[expect(
    clippy::disallowed_methods,
    reason = "an operator verifies the trails of all companies"
)]
pub async fn verify(app: &App, company: Uuid, exported: &[Head]) -> Result<Report> {
    let mut tx = app.db.system().await?;
    // One snapshot for all: chaining goes on meanwhile.
    sqlx::query!("set transaction isolation level repeatable read, read only")
        .execute(&mut *tx)
        .await?;
    let head = sqlx::query!(
        r#"select seq, hash, anchor_seq, anchor_hash, anchor_at from audit_heads where company_id = $1"#,
        company
    )
    .fetch_optional(&mut *tx)
    .await?;
    let mut walk = Walk {
        expected: 1,
        previous: Some([0; 32]),
        dropped_before: Timestamp(jiff::Timestamp::UNIX_EPOCH),
        exported: known(exported, company),
        report: Report::default(),
    };
    let mut end = (0, [0; 32].to_vec());
    if let Some(head) = head {
        walk.expected = head.anchor_seq + 1;
        walk.previous = head.anchor_hash.try_into().ok();
        walk.dropped_before = head.anchor_at;
        walk.exported.retain(|seq, _| *seq > head.anchor_seq);
        end = (head.seq, head.hash);
    }
    let mut after = 0;
    loop {
        let links = page(&mut tx, company, after).await?;
        let entries = entries(&mut tx, company, &links).await?;
        for link in &links {
            walk.step(link, entries.get(&link.entry_id));
            after = link.seq;
        }
        if (links.len() as i64) < PAGE {
            break;
        }
    }
    walk.end(&end);
    let mut report = walk.report;
    outside(&mut tx, company, &mut report).await?;
    report.faults.truncate(MAX_FAULTS);
    Ok(report)
}

struct Link {
    seq: i64,
    entry_id: Uuid,
    entry_at: Timestamp,
    backdated: bool,
    hash: Vec<u8>,
}

/// A way along the chain.
struct Walk {
    expected: i64,
    /// Unknown after a gap.
    previous: Option<Digest32>,
    /// Entries before are gone by retention.
    dropped_before: Timestamp,
    exported: Known,
    report: Report,
}

impl Walk {
    fn step(&mut self, link: &Link, entry: Option<&Entry>) {
        let (seq, entry_id) = (link.seq, link.entry_id);
        if seq < self.expected {
            return self.report.faults.push(Fault::LinkExtra { seq });
        }
        if seq > self.expected {
            let (from, to) = (self.expected, seq - 1);
            self.report.faults.push(Fault::LinksMissing { from, to });
            self.previous = None;
        }
        let hash: Option<Digest32> = link.hash.as_slice().try_into().ok();
        match (entry, self.previous) {
            (None, _) if link.entry_at < self.dropped_before => {}
            (None, _) => self.report.faults.push(Fault::Removed { seq, entry: entry_id }),
            (Some(entry), Some(previous)) => {
                if Some(link_hash(&previous, seq, link.backdated, entry)) != hash {
                    self.report.faults.push(Fault::Changed { seq, entry: entry_id });
                }
            }
            (Some(_), None) => {}
        }
        if link.backdated {
            self.report.faults.push(Fault::Backdated {
                seq: Some(seq),
                entry: entry_id,
            });
        }
        if self
            .exported
            .remove(&seq)
            .is_some_and(|known| known != hex(&link.hash))
        {
            self.report.faults.push(Fault::Rewritten { seq });
        }
        self.previous = hash;
        self.expected = seq + 1;
        self.report.links += 1;
    }

    /// Nothing may be missing at the end, of what the head tells and of what was exported.
    fn end(&mut self, head: &(i64, Vec<u8>)) {
        let last = self.expected - 1;
        if head.0 > last {
            let (from, to) = (self.expected, head.0);
            self.report.faults.push(Fault::LinksMissing { from, to });
        } else if head.0 < last || self.previous.is_some_and(|hash| head.1 != hash) {
            self.report.faults.push(Fault::HeadDiffers { seq: last });
        }
        let unmet = self.exported.keys().copied();
        self.report
            .faults
            .extend(unmet.map(|seq| Fault::Rewritten { seq }));
    }
}

async fn page(tx: &mut SystemTx, company: Uuid, after: i64) -> Result<Vec<Link>> {
    let links = sqlx::query_as!(
        Link,
        r#"select seq, entry_id, entry_at, backdated, hash
             from audit_links where company_id = $1 and seq > $2 order by seq limit $3"#,
        company,
        after,
        PAGE
    );
    Ok(links.fetch_all(&mut **tx).await?)
}

/// The entries of these links by id.
async fn entries(tx: &mut SystemTx, company: Uuid, links: &[Link]) -> Result<BTreeMap<Uuid, Entry>> {
    let (ids, times): (Vec<Uuid>, Vec<Timestamp>) =
        links.iter().map(|link| (link.entry_id, link.entry_at)).unzip();
    let entries = sqlx::query_as!(
        Entry,
        r#"select e.tenant_id, e.id, e.occurred_at, xact, actor_kind, actor_id, actor_name, address,
                  request_id, entity, entity_id, action, before::text, after::text
             from unnest($2::uuid[], $3::timestamptz[]) as l (id, at)
             join audit_entries as e on e.tenant_id = $1 and e.occurred_at = l.at and e.id = l.id"#,
        company,
        &ids,
        &times as _
    );
    let entries = entries.fetch_all(&mut **tx).await?;
    Ok(entries.into_iter().map(|entry| (entry.id, entry)).collect())
}

/// Entries without a link, and links that share a number.
async fn outside(tx: &mut SystemTx, company: Uuid, report: &mut Report) -> Result<()> {
    let unlinked = sqlx::query!(
        r#"select id, xact < chained_below as "late!",
                  xact >= seen_xact and occurred_at < seen_at - interval '1 minute' as "backdated!"
             from audit_progress, audit_entries as e
            where tenant_id = $1
              and not exists (select from audit_links as l
                               where l.company_id = e.tenant_id and l.entry_id = e.id and l.entry_at = e.occurred_at)
            order by occurred_at, id"#,
        company
    );
    for entry in unlinked.fetch_all(&mut **tx).await? {
        if entry.late {
            report.faults.push(Fault::Inserted { entry: entry.id });
        } else if entry.backdated {
            report.faults.push(Fault::Backdated {
                seq: None,
                entry: entry.id,
            });
        } else {
            report.waiting += 1;
        }
    }
    let shared = sqlx::query_scalar!(
        "select seq from audit_links where company_id = $1 group by seq having count(*) > 1 order by seq limit $2",
        company,
        MAX_FAULTS as i64
    );
    let shared = shared.fetch_all(&mut **tx).await?;
    for seq in shared {
        let extra = Fault::LinkExtra { seq };
        if !report.faults.contains(&extra) {
            report.faults.push(extra);
        }
    }
    Ok(())
}
