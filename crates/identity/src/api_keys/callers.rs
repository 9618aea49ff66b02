//! The machine that calls with an API key, cached as users are.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kernel::app::App;
use kernel::cache::{Cached, FreshCache};
use kernel::caller::{Caller, UserCaller};
use kernel::error::{COMPANY_CLOSED, Error, Result, UNAUTHENTICATED};
use kernel::keys::Digest32;
use kernel::limit::Overrides;
use kernel::types::Timestamp;
use moka::future::Cache;
use uuid::Uuid;

use super::{is_for_people, token};
use crate::roles;

/// The last use is known this exactly; a process writes it no more often.
const USE_INTERVAL: Duration = Duration::from_mins(1);
/// Keys whose use is remembered at most.
const CAPACITY: u64 = 50_000;

/// API keys in use.
pub struct ApiKeys {
    app: App,
    entries: FreshCache<Digest32, Entry>,
    /// Whose use was noted within the interval.
    noted: Cache<Uuid, ()>,
}

struct Entry {
    caller: Caller,
    expires_at: Timestamp,
}

impl Cached for Entry {
    fn about(&self) -> impl Iterator<Item = Uuid> + Send {
        [self.caller.id(), self.caller.tenant_id].into_iter()
    }
}

impl ApiKeys {
    pub fn new(app: &App) -> ApiKeys {
        ApiKeys {
            app: app.clone(),
            entries: FreshCache::new("api_keys", &app.changes),
            noted: Cache::builder()
                .max_capacity(CAPACITY)
                .time_to_live(USE_INTERVAL)
                .build(),
        }
    }

    /// The caller with this token, in the company of its key.
    ///
    /// # Errors
    /// `unauthenticated`, the same for a token that was never made, an expired and a revoked one;
    /// `company-closed`.
    pub async fn caller(&self, token: &str) -> Result<Caller> {
        let hash = token::hash(token).ok_or(&UNAUTHENTICATED)?;
        let entry = self.entries.get(hash, || self.load(hash)).await?;
        if entry.expires_at.0 <= self.app.clock.now() {
            return Err(Error::new(&UNAUTHENTICATED));
        }
        self.note_use(&entry.caller).await;
        Ok(entry.caller.clone())
    }

    #[expect(clippy::disallowed_methods, reason = "which company it is, the key tells")]
    async fn load(&self, hash: Digest32) -> Result<Entry> {
        let mut tx = self.app.db.system().await?;
        let key = sqlx::query!(
            r#"select k.id, k.tenant_id, k.permissions, k.expires_at, c.state,
                      array(select policy || '=' || rate from company_limits where company_id = k.tenant_id) as "limits!"
                 from api_keys k join companies c using (tenant_id)
                where k.token_hash = $1 and k.revoked_at is null"#,
            &hash[..]
        )
        .fetch_optional(&mut *tx)
        .await?
        .ok_or(&UNAUTHENTICATED)?;
        if key.state == "closed" {
            return Err(Error::new(&COMPANY_CLOSED));
        }
        let caller = Caller {
            user: UserCaller {
                user_id: Uuid::nil(),
                session_id: Uuid::nil(),
            },
            api_key: Some(key.id),
            tenant_id: key.tenant_id,
            role: "api_key",
            grants: Arc::new(grants(&key.permissions)),
            suspended: key.state != "active",
            limits: Overrides::parse(key.limits.iter().map(String::as_str)),
        };
        Ok(Entry {
            caller,
            expires_at: key.expires_at,
        })
    }

    /// Notes that the key is used, beside the request that uses it. What could not be written is noted
    /// by a later use.
    async fn note_use(&self, caller: &Caller) {
        let (key, tenant) = (caller.id(), caller.tenant_id);
        if !self.noted.entry(key).or_insert(()).await.is_fresh() {
            return;
        }
        let app = self.app.clone();
        self.app.tasks.spawn(async move {
            if let Err(error) = note(&app, tenant, key).await {
                tracing::debug!(%error, api_key.id = %key, "the use of an API key was not noted");
            }
        });
    }
}

/// Of the permissions chosen when the key was made, those that there still are.
fn grants(chosen: &[String]) -> BTreeSet<&'static str> {
    let given = |name: &&str| chosen.iter().any(|permission| permission == name) && !is_for_people(name);
    roles::permissions().filter(given).collect()
}

#[expect(
    clippy::disallowed_methods,
    reason = "a company does not write of its keys' use"
)]
async fn note(app: &App, tenant: Uuid, key: Uuid) -> Result<()> {
    let mut tx = app.db.system().await?;
    // Other processes note it too.
    sqlx::query!(
        "insert into api_key_uses as uses (tenant_id, key_id, last_used_at) values ($1, $2, now())
             on conflict (tenant_id, key_id) do update set last_used_at = now()
          where uses.last_used_at < now() - interval '1 minute'",
        tenant,
        key
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permission_that_is_gone_or_not_for_machines_is_not_held() {
        let chosen = ["brands.read", "brands.paint", "api_keys.write"].map(str::to_owned);
        assert_eq!(grants(&chosen), BTreeSet::from(["brands.read"]));
    }
}
