//! Names of users and API keys, for those who see what they did.

use std::collections::BTreeMap;

use kernel::app::App;
use kernel::error::Result;
use uuid::Uuid;

/// First and last names of users, and names of API keys, by id; who is unknown is absent.
///
/// # Errors
/// Those of the database.
#[expect(
    clippy::disallowed_methods,
    reason = "users are global; the ids come from the company's own rows"
)]
pub async fn names(app: &App, ids: &[Uuid]) -> Result<BTreeMap<Uuid, String>> {
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut tx = app.db.system().await?;
    let names = sqlx::query!(
        r#"select id as "id!", first_name || ' ' || last_name as "name!" from users where id = any($1)
           union all select id, name from api_keys where id = any($1)"#,
        ids
    )
    .fetch_all(&mut *tx)
    .await?;
    Ok(names.into_iter().map(|row| (row.id, row.name)).collect())
}
