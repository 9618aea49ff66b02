//! The heads of the chains, to be kept outside the database: who rewrites a chain cannot rewrite those.

use std::collections::BTreeMap;

use kernel::app::App;
use kernel::error::Result;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::digest::hex;

/// Where the chain of a company ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    pub company_id: Uuid,
    /// Number of entries ever chained.
    pub seq: i64,
    /// Hash of the last link, hexadecimal.
    pub hash: String,
}

/// The heads of all chains, or of one, by company.
///
/// # Errors
/// Those of the database.
#[expect(
    clippy::disallowed_methods,
    reason = "an operator exports the heads of all companies"
)]
pub async fn heads(app: &App, company: Option<Uuid>) -> Result<Vec<Head>> {
    let mut tx = app.db.system().await?;
    let rows = sqlx::query!(
        "select company_id, seq, hash from audit_heads where $1::uuid is null or company_id = $1 order by company_id",
        company
    )
    .fetch_all(&mut *tx)
    .await?;
    let heads = rows.into_iter().map(|row| Head {
        company_id: row.company_id,
        seq: row.seq,
        hash: hex(&row.hash),
    });
    Ok(heads.collect())
}

/// Hashes by number.
pub(crate) type Known = BTreeMap<i64, String>;

/// What was exported earlier of one company.
pub(crate) fn known(heads: &[Head], company: Uuid) -> Known {
    let own = heads.iter().filter(|head| head.company_id == company);
    own.map(|head| (head.seq, head.hash.to_ascii_lowercase()))
        .collect()
}
