//! Chaining: entries get their links some time after they were written, so that writers of one company never
//! wait for each other.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kernel::app::App;
use kernel::db::SystemTx;
use kernel::error::Result;
use kernel::job::{Job, JobCx, JobResult};
use kernel::keys::Digest32;
use kernel::module::Module;
use kernel::types::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::digest::{Entry, link_hash};

/// Entries per transaction.
const BATCH: i64 = 2000;

pub(crate) fn module() -> Module {
    Module::new("audit-chain").every::<ChainTrail>(Duration::from_mins(1))
}

/// Chains what was written since the last time.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct ChainTrail {}

impl Job for ChainTrail {
    const NAME: &'static str = "audit.chain_trail";
    const TIMEOUT: Duration = Duration::from_mins(10);

    async fn run(self, cx: JobCx) -> JobResult {
        while !cx.cancelled.is_cancelled() && batch(&cx.app).await? == BATCH {}
        Ok(())
    }
}

/// Chains all entries of the transactions that have ended. Returns how many.
///
/// # Errors
/// Those of the database; what was chained before stays so.
pub async fn chain(app: &App) -> Result<i64> {
    let mut chained = 0;
    loop {
        let more = batch(app).await?;
        chained += more;
        if more < BATCH {
            return Ok(chained);
        }
    }
}

/// How far chaining has come, and how far it can go now.
struct Progress {
    /// Entries of transactions below are chained.
    below: i64,
    /// All transactions below have ended.
    horizon: i64,
    /// Those from here on had not begun when...
    next: i64,
    /// ...it was this time.
    now: Timestamp,
    /// The same of an earlier time, before anything was begun that is not chained yet.
    seen_xact: i64,
    seen_at: Timestamp,
}

impl Progress {
    /// In a restored database transactions are counted anew: what waits is then found by the absence of
    /// its link alone.
    fn restored(&self) -> bool {
        self.horizon < self.below
    }

    /// Whether an entry claims a time before its transaction had begun.
    fn is_backdated(&self, entry: &Entry) -> bool {
        const TOLERATED: jiff::SignedDuration = jiff::SignedDuration::from_mins(1);
        entry.xact >= self.seen_xact && entry.occurred_at.0 < self.seen_at.0 - TOLERATED
    }
}

/// One transaction's worth. The row of progress is the lock: chaining is done by one at a time.
#[expect(
    clippy::disallowed_methods,
    reason = "one job chains the trails of all companies"
)]
async fn batch(app: &App) -> Result<i64> {
    let mut tx = app.db.system().await?;
    sqlx::query!("select from audit_progress for update")
        .execute(&mut *tx)
        .await?;
    // Of one snapshot, older than the one by which entries are read: nothing below the horizon is missed.
    let progress = sqlx::query_as!(
        Progress,
        r#"select chained_below as below, seen_xact, seen_at, now() as "now!",
                  pg_snapshot_xmin(pg_current_snapshot())::text::bigint as "horizon!",
                  pg_snapshot_xmax(pg_current_snapshot())::text::bigint as "next!"
             from audit_progress"#
    )
    .fetch_one(&mut *tx)
    .await?;
    let (from, to) = if progress.restored() {
        (0, i64::MAX)
    } else {
        (progress.below, progress.horizon)
    };
    let waiting = sqlx::query_as!(
        Entry,
        r#"select tenant_id, id, occurred_at, xact, actor_kind, actor_id, actor_name, address,
                  request_id, entity, entity_id, action, before::text, after::text
             from audit_entries as e
            where xact >= $1 and xact < $2
              and not exists (select from audit_links as l
                               where l.company_id = e.tenant_id and l.entry_id = e.id and l.chained_at >= e.occurred_at)
            order by xact, occurred_at, id limit $3"#,
        from,
        to,
        BATCH
    )
    .fetch_all(&mut *tx)
    .await?;
    let count = i64::try_from(waiting.len()).unwrap_or(BATCH);
    let below = match waiting.last() {
        Some(last) if count == BATCH && !progress.restored() => last.xact,
        _ if count == BATCH => progress.below,
        _ => progress.horizon,
    };
    link(&mut tx, &progress, &waiting).await?;
    // In a restored database what was seen before means nothing.
    let anew = progress.restored() && below == progress.horizon;
    sqlx::query!(
        "update audit_progress
            set chained_below = $1,
                seen_xact = case when $4 then $2 when $1 >= next_xact then next_xact else seen_xact end,
                seen_at = case when $4 then $3 when $1 >= next_xact then next_at else seen_at end,
                next_xact = case when $4 or $1 >= next_xact then $2 else next_xact end,
                next_at = case when $4 or $1 >= next_xact then $3 else next_at end",
        below,
        progress.next,
        progress.now as _,
        anew
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(count)
}

/// Continues the chains of the companies with these entries, in this order.
async fn link(tx: &mut SystemTx, progress: &Progress, entries: &[Entry]) -> Result<()> {
    let companies: BTreeSet<Uuid> = entries.iter().map(|entry| entry.tenant_id).collect();
    let companies: Vec<Uuid> = companies.into_iter().collect();
    let mut heads = heads_of(tx, &companies).await?;
    // A link is never older than its entry, so that both are dropped in this order.
    let chained_at = entries.iter().map(|entry| entry.occurred_at).max();
    let chained_at = chained_at.map_or(progress.now, |latest| latest.max(progress.now));
    let mut links = Links::default();
    for entry in entries {
        let head = heads.entry(entry.tenant_id).or_default();
        let backdated = progress.is_backdated(entry);
        head.seq += 1;
        head.hash = link_hash(&head.hash, head.seq, backdated, entry);
        links.tenants.push(entry.tenant_id);
        links.seqs.push(head.seq);
        links.ids.push(entry.id);
        links.times.push(entry.occurred_at);
        links.backdated.push(backdated);
        links.hashes.push(head.hash.to_vec());
    }
    sqlx::query!(
        "insert into audit_links (company_id, seq, chained_at, entry_id, entry_at, backdated, hash)
         select t.company_id, t.seq, $7, t.entry_id, t.entry_at, t.backdated, t.hash
           from unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::timestamptz[], $5::boolean[], $6::bytea[])
             as t (company_id, seq, entry_id, entry_at, backdated, hash)",
        &links.tenants,
        &links.seqs,
        &links.ids,
        &links.times as _,
        &links.backdated,
        &links.hashes,
        chained_at as _
    )
    .execute(&mut **tx)
    .await?;
    let (seqs, hashes): (Vec<i64>, Vec<Vec<u8>>) = companies
        .iter()
        .filter_map(|company| heads.get(company))
        .map(|head| (head.seq, head.hash.to_vec()))
        .unzip();
    sqlx::query!(
        "insert into audit_heads (company_id, seq, hash)
         select * from unnest($1::uuid[], $2::bigint[], $3::bytea[])
             on conflict (company_id) do update set seq = excluded.seq, hash = excluded.hash",
        &companies,
        &seqs,
        &hashes
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Columns of the new links.
#[derive(Default)]
struct Links {
    tenants: Vec<Uuid>,
    seqs: Vec<i64>,
    ids: Vec<Uuid>,
    times: Vec<Timestamp>,
    backdated: Vec<bool>,
    hashes: Vec<Vec<u8>>,
}

/// The end of a chain; of none, zero.
#[derive(Default)]
struct End {
    seq: i64,
    hash: Digest32,
}

async fn heads_of(tx: &mut SystemTx, companies: &[Uuid]) -> Result<BTreeMap<Uuid, End>> {
    let rows = sqlx::query!(
        "select company_id, seq, hash from audit_heads where company_id = any($1)",
        companies
    )
    .fetch_all(&mut **tx)
    .await?;
    let end = |seq, hash: Vec<u8>| -> Result<End> {
        let hash = hash
            .try_into()
            .map_err(|_| anyhow::anyhow!("a hash of 32 bytes"))?;
        Ok(End { seq, hash })
    };
    rows.into_iter()
        .map(|row| Ok((row.company_id, end(row.seq, row.hash)?)))
        .collect()
}
