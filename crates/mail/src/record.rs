//! What became of every mail, kept for some days.

use std::time::Duration;

use kernel::job::{Job, JobCx, JobResult};
use kernel::module::Module;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::Mailer;
use crate::render::Rendered;

/// How a mail ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The server took it.
    Sent,
    /// It lies in the mailbox of development.
    Kept,
    /// Its address is on the list of those that get none.
    Suppressed,
    /// Its address does not exist.
    Refused,
}

impl Outcome {
    fn code(self) -> &'static str {
        match self {
            Outcome::Sent => "sent",
            Outcome::Kept => "kept",
            Outcome::Suppressed => "suppressed",
            Outcome::Refused => "refused",
        }
    }
}

/// The row of one mail.
pub(crate) struct Record<'a> {
    pub letter: &'static str,
    pub address: &'a str,
    pub subject: &'a str,
    pub outcome: Outcome,
    pub reply: Option<&'a str>,
    /// Headers and bodies, if they are to be kept.
    pub content: Option<(&'a str, &'a Rendered)>,
}

impl Record<'_> {
    /// Writes the row.
    pub(crate) async fn insert(&self, conn: &mut PgConnection, job_id: Uuid) -> kernel::error::Result<()> {
        let (headers, letter) = self.content.unzip();
        sqlx::query!(
            "insert into mails (id, letter, address, subject, outcome, reply, headers, text_body, html_body)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            job_id,
            self.letter,
            self.address,
            self.subject,
            self.outcome.code(),
            self.reply,
            headers,
            letter.map(|letter| letter.text.as_str()),
            letter.map(|letter| letter.html.as_str())
        )
        .execute(conn)
        .await?;
        Ok(())
    }
}

/// Deletes what is older than the days kept.
#[derive(Default, Serialize, Deserialize)]
struct PurgeMails {}

/// Rows per statement: short locks.
const BATCH: i64 = 1000;

impl Job for PurgeMails {
    const NAME: &'static str = "mail.purge_mails";

    #[expect(clippy::disallowed_methods, reason = "the record is the installation's")]
    async fn run(self, cx: JobCx) -> JobResult {
        let days = cx.app.part::<Mailer>()?.log_days();
        loop {
            let mut tx = cx.app.db.system().await?;
            let old = sqlx::query!(
                "delete from mails where id in (
                   select id from mails where created_at < now() - make_interval(days => $1) limit $2)",
                days,
                BATCH
            );
            let deleted = old.execute(&mut *tx).await?.rows_affected();
            tx.commit().await?;
            if deleted == 0 || cx.cancelled.is_cancelled() {
                return Ok(());
            }
        }
    }
}

pub(crate) fn module() -> Module {
    Module::new("mails").every::<PurgeMails>(Duration::from_secs(24 * 3600))
}
