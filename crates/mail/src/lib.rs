//! E-mail: every mail is a [`Letter`], sent by a background job through the [`Mailer`].
//!
//! A domain crate defines a [`Job`](kernel::job::Job) per mail, with [`QUEUE`] and [`MAX_ATTEMPTS`], and
//! enqueues it in the transaction of the event. The job reads what it needs by the ids of its payload and
//! ends with [`Mailer::send`].

mod config;
mod dev;
mod letters;
mod mailbox;
mod mailer;
mod message;
mod record;
mod render;
mod smtp;
mod suppression;
#[cfg(test)]
mod tests;
mod trial;
mod words;

pub use config::MailConfig;
pub use kernel::language::Language;
pub use letters::{
    AccountExists, EmailChange, EmailChangeNotice, Invitation, MalwareFound, NewSignIn, PasswordChanged,
    PasswordReset, StorageNearlyFull, VerifyEmail,
};
pub use mailer::Mailer;
pub use suppression::{Suppression, suppressed, unsuppress};
pub use words::Name;

use kernel::app::App;
use kernel::db::SystemTx;
use kernel::error::Result;
use kernel::module::Module;
use serde::Serialize;
use uuid::Uuid;

/// Queue of all jobs that send a mail.
pub const QUEUE: &str = "mail";
/// Attempts of such a job: with the queue's pauses, a mail server may be away for a day.
pub const MAX_ATTEMPTS: i32 = 16;

/// A mail of one kind: the values of its template. Text that people chose themselves is a [`Name`].
pub trait Letter: Serialize + Sync {
    /// Its templates are `templates/<NAME>.{es,en}.{html,txt}`; the subject stands in the text.
    const NAME: &'static str;
}

/// Whom a mail goes to.
#[derive(Clone, Debug)]
pub struct Recipient {
    pub address: String,
    /// How the mail greets; may be empty.
    pub name: String,
    pub language: Language,
}

impl Recipient {
    /// As [`Recipient::find`], for who has no transaction beyond companies open.
    ///
    /// # Errors
    /// Those of the database.
    #[expect(clippy::disallowed_methods, reason = "people are global")]
    pub async fn load(app: &App, user: Uuid) -> Result<Option<Recipient>> {
        Recipient::find(&mut app.db.system().await?, user).await
    }

    /// A user, unless the account is gone.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn find(tx: &mut SystemTx, user: Uuid) -> Result<Option<Recipient>> {
        let row = sqlx::query!(
            "select email, first_name, language from users where id = $1 and deleted_at is null",
            user
        );
        let row = row.fetch_optional(&mut **tx).await?;
        Ok(row.map(|row| Recipient {
            address: row.email,
            name: row.first_name,
            language: Language::of_tag(&row.language).unwrap_or_default(),
        }))
    }
}

/// The modules of this crate.
pub fn modules() -> Vec<Module> {
    vec![record::module(), dev::module()]
}
