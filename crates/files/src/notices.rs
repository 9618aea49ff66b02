//! What a company is told of its room by mail: those of its members who get it, as its settings say.

use company_settings::SettingsCache;
use kernel::app::App;
use kernel::job::{Background, Job, JobCx, JobResult};
use kernel::prelude::*;
use mail::{Mailer, Recipient, StorageNearlyFull};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::FilesConfig;

pub(crate) fn module() -> Module {
    Module::new("file-notices").job::<MailNearlyFull>()
}

/// Tells when the bytes kept last took the company past nine tenths of its room. Room comes back only when
/// deleted files are purged, so this is said once per crossing.
///
/// # Errors
/// Those of the database.
pub(crate) async fn tell_if_nearly_full(
    tx: &mut TenantTx<Background>,
    app: &App,
    config: &FilesConfig,
    kept: i64,
) -> Result<()> {
    let usage = sqlx::query!(
        r#"select used_bytes, coalesce(quota_bytes, $1) as "quota!" from storage_usage"#,
        config.company_quota_bytes
    );
    let usage = usage.fetch_one(&mut **tx).await?;
    let line = usage.quota - usage.quota / 10;
    if usage.used_bytes - kept >= line || usage.used_bytes < line {
        return Ok(());
    }
    let settings = app.part::<SettingsCache>()?.of(tx.caller().tenant_id).await?;
    let roles = settings.notifications.storage_nearly_full.roles();
    let roles: Vec<String> = roles.iter().map(|&role| role.to_owned()).collect();
    let users = sqlx::query_scalar!(
        "select user_id from memberships where state = 'active' and role = any($1) order by user_id",
        &roles
    );
    for user in users.fetch_all(&mut **tx).await? {
        let quota = usage.quota;
        tx.enqueue(&MailNearlyFull { user, quota }).await?;
    }
    Ok(())
}

/// The mail to one member.
#[derive(Debug, Serialize, Deserialize)]
struct MailNearlyFull {
    user: Uuid,
    /// In bytes.
    quota: i64,
}

impl Job for MailNearlyFull {
    const NAME: &'static str = "files.mail_nearly_full";
    const QUEUE: &'static str = mail::QUEUE;
    const MAX_ATTEMPTS: i32 = mail::MAX_ATTEMPTS;

    async fn run(self, cx: JobCx) -> JobResult {
        let Some(to) = Recipient::load(&cx.app, self.user).await? else {
            return Ok(());
        };
        let letter = self.letter(&cx).await?;
        cx.app.part::<Mailer>()?.send(&cx, &to, &letter).await
    }
}

impl MailNearlyFull {
    async fn letter(&self, cx: &JobCx) -> Result<StorageNearlyFull> {
        let mut tx = cx.tenant_tx().await?;
        let found = sqlx::query!(
            r#"select c.name as company, u.used_bytes from companies c join storage_usage u using (tenant_id)"#
        );
        let found = found.fetch_one(&mut *tx).await?;
        Ok(StorageNearlyFull {
            company: found.company.into(),
            percent: found.used_bytes.saturating_mul(100) / self.quota.max(1),
        })
    }
}
