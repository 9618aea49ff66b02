//! Telling a company that malware was uploaded: a mail to those whom its settings name and to who uploaded it.

use company_settings::SettingsCache;
use kernel::app::App;
use kernel::job::{Background, Job, JobCx, JobResult};
use kernel::prelude::*;
use mail::{Mailer, MalwareFound, Recipient};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::file::FileId;

pub(crate) fn module() -> Module {
    Module::new("file-alarms").job::<MailMalware>()
}

/// Tells one person.
#[derive(Serialize, Deserialize)]
struct MailMalware {
    file_id: FileId,
    user_id: Uuid,
}

impl Job for MailMalware {
    const NAME: &'static str = "files.mail_malware";
    const QUEUE: &'static str = mail::QUEUE;
    const MAX_ATTEMPTS: i32 = mail::MAX_ATTEMPTS;

    async fn run(self, cx: JobCx) -> JobResult {
        let (letter, to) = (
            self.letter(&cx).await?,
            Recipient::load(&cx.app, self.user_id).await?,
        );
        match (letter, to) {
            (Some(letter), Some(to)) => cx.app.part::<Mailer>()?.send(&cx, &to, &letter).await,
            // The file or the person is gone.
            _ => Ok(()),
        }
    }
}

impl MailMalware {
    async fn letter(&self, cx: &JobCx) -> Result<Option<MalwareFound>> {
        let settings = cx.app.part::<SettingsCache>()?.of(cx.tenant_id).await?;
        let mut tx = cx.tenant_tx().await?;
        let found = sqlx::query!(
            r#"select filename, reason as "malware!", files.created_at, companies.name as company
                 from files join companies using (tenant_id) where files.id = $1 and files.state = 'infected'"#,
            self.file_id as _
        );
        let found = found.fetch_optional(&mut *tx).await?;
        Ok(found.map(|found| MalwareFound {
            company: found.company.into(),
            filename: found.filename.into(),
            malware: found.malware.into(),
            at: found.created_at.0,
            time_zone: settings.time_zone.clone(),
        }))
    }
}

/// A file was found infected: has those told whom the company wants told, and who uploaded it, each once an hour; nobody, where
/// it wants nobody told.
///
/// # Errors
/// Those of the database.
pub(crate) async fn raise(tx: &mut TenantTx<Background>, app: &App, id: FileId) -> Result<()> {
    let settings = app.part::<SettingsCache>()?.of(tx.caller().tenant_id).await?;
    let roles = settings.notifications.infected_file.roles();
    if roles.is_empty() {
        return Ok(());
    }
    let roles: Vec<String> = roles.iter().map(|&role| role.to_owned()).collect();
    let people = sqlx::query_scalar!(
        "insert into malware_alarms as before (user_id, told_at)
         select user_id, $3 from memberships join files on files.id = $1
          where memberships.state = 'active' and (role = any($2) or user_id = uploaded_by)
          order by user_id
             on conflict (tenant_id, user_id) do update set told_at = excluded.told_at
          where before.told_at <= excluded.told_at - interval '1 hour'
         returning user_id",
        id as _,
        &roles,
        Timestamp(app.clock.now()) as _
    );
    for user_id in people.fetch_all(&mut **tx).await? {
        tx.enqueue(&MailMalware { file_id: id, user_id }).await?;
    }
    Ok(())
}
