//! Statements in traces. sqlx tells of each when it has ended, with its text, in which values are placeholders.

use std::time::Duration;

use opentelemetry::trace::{Span, SpanKind, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue};
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{self, Layer};

/// Whether it tells of a statement, or of the begin or end of a transaction.
pub(super) fn is_statement(metadata: &Metadata<'_>) -> bool {
    metadata.target() == "sqlx::query" || (metadata.target() == kernel::trace::TARGET && metadata.is_event())
}

/// Makes a span of each statement that belongs to a sampled trace.
pub(super) struct SqlSpans<T>(T);

impl<T> SqlSpans<T> {
    pub(super) fn new(tracer: T) -> SqlSpans<T> {
        SqlSpans(tracer)
    }
}

impl<S, T> Layer<S> for SqlSpans<T>
where
    S: Subscriber,
    T: Tracer + 'static,
{
    fn on_event(&self, event: &Event<'_>, _: layer::Context<'_, S>) {
        let here = Context::current();
        if !here.span().span_context().is_sampled() {
            return;
        }
        let mut statement = Statement::default();
        event.record(&mut statement);
        let end = opentelemetry::time::now();
        let mut span = self
            .0
            .span_builder(statement.name())
            .with_kind(SpanKind::Client)
            .with_start_time(end - statement.took)
            .with_attributes(statement.attributes())
            .start_with_context(&self.0, &here);
        span.end_with_timestamp(end);
    }
}

/// What the event says.
#[derive(Default)]
struct Statement {
    /// Its first words, or a short one whole.
    summary: String,
    /// A long one whole.
    text: String,
    took: Duration,
    rows: [u64; 2],
}

impl Statement {
    fn text(&self) -> &str {
        if self.text.is_empty() {
            &self.summary
        } else {
            &self.text
        }
    }

    /// `select products`: what it does, and to which table first.
    fn name(&self) -> String {
        let mut words = self.text().split_whitespace();
        let verb = words.next().unwrap_or("statement").to_lowercase();
        let before_table = |word: &&str| matches!(word.to_lowercase().as_str(), "from" | "into" | "update");
        let table = if verb == "update" {
            words.next()
        } else {
            words.find(before_table).and_then(|_| words.next())
        };
        let table = table.map(|table| table.trim_matches(|c: char| !c.is_alphanumeric() && c != '_'));
        match table {
            Some(table) if !table.is_empty() => format!("{verb} {table}"),
            _ => verb,
        }
    }

    fn attributes(&self) -> Vec<KeyValue> {
        let [affected, returned] = self.rows.map(|rows| i64::try_from(rows).unwrap_or(i64::MAX));
        vec![
            KeyValue::new("db.system.name", "postgresql"),
            KeyValue::new("db.query.text", self.text().to_owned()),
            KeyValue::new("db.response.returned_rows", returned),
            KeyValue::new("db.response.affected_rows", affected),
        ]
    }
}

impl Visit for Statement {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "summary" => value.clone_into(&mut self.summary),
            "db.statement" => value.trim().clone_into(&mut self.text),
            _ => {}
        }
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if field.name() == "elapsed_secs" {
            self.took = Duration::try_from_secs_f64(value).unwrap_or_default();
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "rows_affected" => self.rows[0] = value,
            "rows_returned" => self.rows[1] = value,
            _ => {}
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_named_by_what_it_does_to_which_table() {
        let name = |text: &str| {
            let text = text.to_owned();
            Statement {
                text,
                ..Statement::default()
            }
            .name()
        };
        assert_eq!(
            name("select id, name\n  from products where id = $1"),
            "select products"
        );
        assert_eq!(name("INSERT INTO jobs (tenant_id) values ($1)"), "insert jobs");
        assert_eq!(name("update files set state = $1"), "update files");
        assert_eq!(name("delete from \"jobs\" where id = $1"), "delete jobs");
        assert_eq!(name("with done as (delete from jobs) select 1"), "with jobs");
        assert_eq!(name("select pg_notify('ally_jobs', '')"), "select");
        assert_eq!(name("COMMIT"), "commit");
        assert_eq!(name(""), "statement");
    }
}
