//! What a company owns, read past row security: to see that nobody changed it, and to know it again
//! in answers to others.

use std::collections::BTreeSet;

use sqlx::{AssertSqlSafe, PgConnection};
use testkit::{Answer, TestApp};
use uuid::Uuid;

use super::world::Tenant;

/// A hash of every row of every table that is not of `except`, with its last writer: a row that was
/// written over with the same values differs too.
pub async fn rows_of_others(app: &TestApp, except: Uuid) -> String {
    old_rows_of_others(app, except, "infinity").await
}

/// The same without people who have come `since`, their sessions and what befell them: the probes make members as they go.
pub async fn old_rows_of_others(app: &TestApp, except: Uuid, since: &str) -> String {
    let mut conn = app.superuser().await;
    let of_somebody = |table: &String| table != ALLOWANCES;
    let each = tables(&mut conn).await.into_iter().filter(of_somebody).map(|table| {
        format!(
            "select '{table}', md5(string_agg(t.xmin::text || t::text, '|' order by t::text)) from ally.{table} t
             where to_jsonb(t) ->> 'tenant_id' is distinct from '{except}'
               and not coalesce(to_jsonb(t) ->> 'tenant_id' is null and coalesce(to_jsonb(t) ->> 'created_at', to_jsonb(t) ->> 'occurred_at')::timestamptz > '{since}', false)"
        )
    });
    let hashes = each.collect::<Vec<_>>().join(" union all ");
    query(
        &mut conn,
        format!("select string_agg(hashes::text, ' ' order by hashes::text) from ({hashes}) as hashes"),
    )
    .await
}

/// The database's time.
pub async fn now(app: &TestApp) -> String {
    query(&mut app.superuser().await, "select now()::text".to_owned()).await
}

/// Counts what all companies together do, such as mailing an address.
const ALLOWANCES: &str = "allowances";

/// All tables of the schema.
async fn tables(conn: &mut PgConnection) -> Vec<String> {
    let tables = "select relname::text from pg_class where relnamespace = 'ally'::regnamespace and relkind in ('r', 'p') and not relispartition order by 1";
    sqlx::query_scalar(tables)
        .fetch_all(conn)
        .await
        .expect("pg_class")
}

/// Tables whose rows belong to companies.
pub async fn tenant_tables(conn: &mut PgConnection) -> Vec<String> {
    let tables = "select relname::text from pg_class
                   where relnamespace = 'ally'::regnamespace and relkind in ('r', 'p') and relrowsecurity and not relispartition order by 1";
    sqlx::query_scalar(tables)
        .fetch_all(conn)
        .await
        .expect("pg_class")
}

#[expect(
    clippy::disallowed_methods,
    reason = "names of tables come from the catalogue"
)]
async fn query(conn: &mut PgConnection, statement: String) -> String {
    sqlx::query_scalar(AssertSqlSafe(statement))
        .fetch_one(conn)
        .await
        .expect("statement of the witness")
}

/// What only one company knows: its marker and all ids in its rows.
pub struct Secrets(BTreeSet<String>);

impl Secrets {
    pub async fn of(app: &TestApp, tenant: &Tenant) -> Secrets {
        let mut conn = app.superuser().await;
        let mut secrets = BTreeSet::from([tenant.owner.marker.clone()]);
        for table in tenant_tables(&mut conn).await {
            let company = tenant.client.company();
            let rows = format!(
                "select coalesce(json_agg(t), '[]')::text from ally.{table} t where tenant_id = '{company}'"
            );
            let rows = query(&mut conn, rows).await;
            secrets.extend(
                rows.split('"')
                    .filter(|text| text.parse::<Uuid>().is_ok())
                    .map(ToOwned::to_owned),
            );
        }
        assert!(secrets.len() > 3, "{secrets:?}");
        Secrets(secrets)
    }

    /// Without those of a user whom both companies know.
    pub fn shared_with(mut self, user: Uuid) -> Secrets {
        self.0.remove(&user.to_string());
        self
    }

    /// Those that stand in the answer, its headers or its body.
    pub fn in_answer(&self, answer: &Answer) -> Vec<&str> {
        let text = format!("{:?} {}", answer.headers, answer.text());
        self.0
            .iter()
            .map(String::as_str)
            .filter(|secret| text.contains(secret))
            .collect()
    }
}
