//! The trail as a file: streamed page by page, so that neither memory nor a transaction grows with it.

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
use serde::Deserialize;
use sqlx::QueryBuilder;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::AuditRead;
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
    /// One JSON object per line, as the list has them.
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

/// Export changes of the company's data, oldest first.
///
/// All that match the filter, up to the moment of the request. A download that breaks off is not whole: the
/// connection then ends without the last chunk.
#[utoipa::path(get, path = "/audit/export", tag = "audit", operation_id = "export_audit_entries",
    security(("bearer" = ["audit.read"])), params(ExportParams, AuditFilter),
    responses((status = 200, content((AuditEntry = "application/x-ndjson"), (String = "text/csv")))))]
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
        let mut entries = self.fetch().await.map_err(|error| anyhow::anyhow!("{error:?}"))?;
        name_actors(&self.app, &mut entries)
            .await
            .map_err(|error| anyhow::anyhow!("{error:?}"))?;
        let piece = match self.format {
            Format::Ndjson => ndjson(&entries)?,
            Format::Csv => csv(&entries, !self.begun)?,
        };
        self.begun = true;
        let rest = match entries.last() {
            Some(last) if entries.len() == PAGE => {
                self.after = Some((last.occurred_at, last.id));
                Some(self)
            }
            _ => None,
        };
        Ok((piece.into(), rest))
    }

    /// In a transaction of its own: none is open while the client reads.
    async fn fetch(&self) -> Result<Vec<AuditEntry>> {
        let mut tx = TenantTx::<AuditRead>::begin(&self.app.db, self.caller.clone()).await?;
        let mut query = QueryBuilder::new("select ");
        query
            .push(AuditEntry::COLUMNS)
            .push(" from ")
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

fn ndjson(entries: &[AuditEntry]) -> anyhow::Result<Vec<u8>> {
    let mut lines = Vec::new();
    for entry in entries {
        serde_json::to_writer(&mut lines, entry)?;
        lines.push(b'\n');
    }
    Ok(lines)
}

const COLUMNS: [&str; 12] = [
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
];

fn csv(entries: &[AuditEntry], with_header: bool) -> anyhow::Result<Vec<u8>> {
    let mut lines = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(Vec::new());
    if with_header {
        lines.write_record(COLUMNS)?;
    }
    for entry in entries {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let json =
            |value: &Option<crate::entries::Raw>| value.as_ref().map(|raw| raw.0.clone()).unwrap_or_default();
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
