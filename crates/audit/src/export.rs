//! The trail as a file: streamed page by page, so that neither memory nor a transaction grows with it.

use std::collections::BTreeMap;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::IntoResponse;
use futures::stream;
use http::{HeaderValue, header};
use kernel::app::App;
use kernel::caller::Caller;
use kernel::input::{Parameters, Queries};
use kernel::prelude::*;
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, QueryBuilder};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::AuditRead;
use crate::digest::hex;
use crate::entries::{AuditEntry, AuditFilter, name_actors};

/// Entries read, written and sent at a time.
const PAGE: usize = 500;

pub(crate) fn module() -> Module {
    Module::new("audit-export")
        .routes(routes!(export))
        .rate_limit("10/minute", per_tenant)
}

#[derive(Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(default = "ndjson")]
enum Format {
    /// One JSON object per line, as the list has them, with their links.
    #[default]
    Ndjson,
    /// A header line, then one line per entry; cells that a spreadsheet would compute begin with an apostrophe.
    Csv,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ExportParams {
    #[serde(default)]
    #[param(inline)]
    format: Format,
}

impl Parameters for ExportParams {
    const NAMES: &'static [&'static str] = &["format"];
}

/// An entry and its link in the hash chain.
#[derive(Serialize, ToSchema)]
struct ExportedEntry {
    #[serde(flatten)]
    entry: AuditEntry,
    /// Null while the entry waits to be chained, a minute or so.
    #[schema(required = true)]
    link: Option<Link>,
}

/// What vouches for an entry, and what its hash is made of besides what is shown.
#[derive(Clone, Serialize, ToSchema)]
struct Link {
    /// Number in the company's chain, from 1.
    #[schema(example = 7)]
    seq: i64,
    /// SHA-256 over the hash before and the entry, hexadecimal.
    hash: String,
    tenant_id: Uuid,
    /// The transaction.
    xact: i64,
    backdated: bool,
    /// As recorded; of users and keys it is looked up for reading.
    #[schema(required = true)]
    actor_name: Option<String>,
}

/// Export changes of the company's data, oldest first.
///
/// All that match the filter, up to the moment of the request. A download that breaks off is not whole: the
/// connection then ends without the last chunk.
#[utoipa::path(get, path = "/audit/export", tag = "audit", operation_id = "export_audit_entries",
    security(("bearer" = ["audit.read"])), params(ExportParams, AuditFilter),
    responses((status = 200, content((ExportedEntry = "application/x-ndjson"), (String = "text/csv")))))]
async fn export(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    tx: TenantTx<AuditRead>,
    Queries(ExportParams { format }, filter): Queries<ExportParams, AuditFilter>,
) -> Result<impl IntoResponse> {
    // Each page has one of its own.
    drop(tx);
    let (media, name) = match format {
        Format::Ndjson => ("application/x-ndjson", "audit.ndjson"),
        Format::Csv => ("text/csv; charset=utf-8; header=present", "audit.csv"),
    };
    let pages = Pages {
        until: Timestamp(app.clock.now()),
        app,
        caller,
        filter,
        format,
        after: None,
        begun: false,
    };
    let body = stream::try_unfold(Some(pages), |pages| async move {
        match pages {
            Some(pages) => pages.next().await.map(Some),
            None => Ok(None),
        }
    });
    let disposition =
        HeaderValue::try_from(format!("attachment; filename=\"{name}\"")).map_err(Error::internal)?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(media)),
        (header::CONTENT_DISPOSITION, disposition),
    ];
    Ok((headers, Body::from_stream(body)))
}

/// What is still to be sent.
struct Pages {
    app: App,
    caller: Caller,
    filter: AuditFilter,
    format: Format,
    /// The export ends here, however much is written meanwhile.
    until: Timestamp,
    /// The last entry sent.
    after: Option<(Timestamp, Uuid)>,
    begun: bool,
}

impl Pages {
    /// The next piece, and the rest if there is more.
    async fn next(mut self) -> anyhow::Result<(Bytes, Option<Pages>)> {
        let entries = self.fetch().await.map_err(|error| anyhow::anyhow!("{error:?}"))?;
        let piece = match self.format {
            Format::Ndjson => ndjson(&entries)?,
            Format::Csv => csv(&entries, !self.begun)?,
        };
        self.begun = true;
        let rest = match entries.last() {
            Some(ExportedEntry { entry, .. }) if entries.len() == PAGE => {
                self.after = Some((entry.occurred_at, entry.id));
                Some(self)
            }
            _ => None,
        };
        Ok((piece.into(), rest))
    }

    async fn fetch(&self) -> Result<Vec<ExportedEntry>> {
        let (mut entries, recorded): (Vec<AuditEntry>, Vec<Recorded>) = self
            .rows()
            .await?
            .into_iter()
            .map(|row| (row.entry, row.recorded))
            .unzip();
        let links = self.links(&entries, recorded).await?;
        name_actors(&self.app, &mut entries).await?;
        let exported = entries.into_iter().map(|entry| ExportedEntry {
            link: links.get(&entry.id).cloned(),
            entry,
        });
        Ok(exported.collect())
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "links are the installation's; these are of the caller's entries"
    )]
    async fn links(&self, entries: &[AuditEntry], recorded: Vec<Recorded>) -> Result<BTreeMap<Uuid, Link>> {
        let Some(oldest) = entries.first() else {
            return Ok(BTreeMap::new());
        };
        let ids: Vec<Uuid> = entries.iter().map(|entry| entry.id).collect();
        let mut tx = self.app.db.system().await?;
        let found = sqlx::query!(
            "select entry_id, seq, hash, backdated from audit_links
              where company_id = $1 and entry_id = any($2) and chained_at >= $3",
            self.caller.tenant_id,
            &ids,
            oldest.occurred_at as _
        );
        let found = found.fetch_all(&mut *tx).await?;
        let mut recorded: BTreeMap<Uuid, Recorded> = ids.into_iter().zip(recorded).collect();
        let links = found.into_iter().filter_map(|link| {
            let Recorded { xact, recorded_name } = recorded.remove(&link.entry_id)?;
            let shown = Link {
                seq: link.seq,
                hash: hex(&link.hash),
                tenant_id: self.caller.tenant_id,
                xact,
                backdated: link.backdated,
                actor_name: recorded_name,
            };
            Some((link.entry_id, shown))
        });
        Ok(links.collect())
    }

    /// In a transaction of its own: none is open while the client reads.
    async fn rows(&self) -> Result<Vec<Row>> {
        let mut tx = TenantTx::<AuditRead>::begin(&self.app.db, self.caller.clone()).await?;
        let mut query = QueryBuilder::new("select ");
        query
            .push(AuditEntry::COLUMNS)
            .push(", xact, actor_name as recorded_name from ")
            .push(AuditEntry::TABLE);
        query.push(" where occurred_at < ").push_bind(self.until);
        self.filter.push(&mut query);
        if let Some((at, id)) = self.after {
            query.push(" and (occurred_at, id) > (").push_bind(at);
            query.push(", ").push_bind(id).push(")");
        }
        query.push(" order by occurred_at, id limit ").push(PAGE);
        Ok(query.build_query_as().fetch_all(&mut *tx).await?)
    }
}

/// An entry, and what its hash is made of besides.
#[derive(FromRow)]
struct Row {
    #[sqlx(flatten)]
    entry: AuditEntry,
    #[sqlx(flatten)]
    recorded: Recorded,
}

#[derive(FromRow)]
struct Recorded {
    xact: i64,
    recorded_name: Option<String>,
}

fn ndjson(entries: &[ExportedEntry]) -> anyhow::Result<Vec<u8>> {
    let mut lines = Vec::new();
    for entry in entries {
        serde_json::to_writer(&mut lines, entry)?;
        lines.push(b'\n');
    }
    Ok(lines)
}

const COLUMNS: [&str; 17] = [
    "id",
    "occurred_at",
    "actor_kind",
    "actor_id",
    "actor_name",
    "address",
    "request_id",
    "action",
    "entity",
    "entity_id",
    "before",
    "after",
    "seq",
    "hash",
    "xact",
    "backdated",
    "recorded_name",
];

fn csv(entries: &[ExportedEntry], with_header: bool) -> anyhow::Result<Vec<u8>> {
    let mut lines = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(Vec::new());
    if with_header {
        lines.write_record(COLUMNS)?;
    }
    for ExportedEntry { entry, link } in entries {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let json =
            |value: &Option<crate::entries::Raw>| value.as_ref().map(|raw| raw.0.clone()).unwrap_or_default();
        let of_link = |shown: &dyn Fn(&Link) -> String| link.as_ref().map(shown).unwrap_or_default();
        let cells: [String; COLUMNS.len()] = [
            entry.id.to_string(),
            entry.occurred_at.0.to_string(),
            entry.actor.kind.name().to_owned(),
            entry.actor.id.map(|id| id.to_string()).unwrap_or_default(),
            text(&entry.actor.name),
            text(&entry.address),
            text(&entry.request_id),
            entry.action.name().to_owned(),
            entry.entity.clone(),
            entry.entity_id.clone(),
            json(&entry.before),
            json(&entry.after),
            of_link(&|link| link.seq.to_string()),
            of_link(&|link| link.hash.clone()),
            of_link(&|link| link.xact.to_string()),
            of_link(&|link| link.backdated.to_string()),
            of_link(&|link| text(&link.actor_name)),
        ];
        lines.write_record(cells.map(harmless))?;
    }
    Ok(lines.into_inner()?)
}

/// A spreadsheet computes cells that begin like a formula; an apostrophe makes them text.
fn harmless(cell: String) -> String {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '|', '%']) {
        format!("'{cell}")
    } else {
        cell
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula() {
        for bad in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "|cmd", "%0A"] {
            assert_eq!(harmless(bad.to_owned()), format!("'{bad}"));
        }
        for good in ["", "Café", "{\"a\": \"=1\"}", "1-2"] {
            assert_eq!(harmless(good.to_owned()), good);
        }
    }
}
