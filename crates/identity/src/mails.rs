//! The mails of accounts: one job each, enqueued in the transaction of its event. Payloads are ids; what
//! a mail says is read when it is sent.

use std::time::Duration;

use kernel::app::App;
use kernel::db::SystemTx;
use kernel::error::Result;
use kernel::job::{Job, JobCx, JobResult};
use kernel::module::Module;
use mail::{Letter, Mailer, Recipient};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::client::device;
use crate::email_changes;
use crate::email_tokens::{self, Purpose};

/// Where somebody asks for a new password.
const RESET: &str = "/account/request-password-reset";

pub fn module() -> Module {
    Module::new("mails")
        .job::<MailVerification>()
        .job::<MailPasswordReset>()
        .job::<MailPasswordChanged>()
        .job::<MailEmailChange>()
        .job::<MailEmailChangeNotice>()
        .job::<MailAccountExists>()
        .job::<MailNewSignIn>()
}

macro_rules! mail_job {
    ($(#[$doc:meta])* $job:ident { $field:ident } = $name:literal) => {
        $(#[$doc])*
        #[derive(Debug, Serialize, Deserialize)]
        pub struct $job {
            pub $field: Uuid,
        }

        impl Job for $job {
            const NAME: &'static str = $name;
            const QUEUE: &'static str = mail::QUEUE;
            const MAX_ATTEMPTS: i32 = mail::MAX_ATTEMPTS;

            async fn run(self, cx: JobCx) -> JobResult {
                match self.letter(&cx.app, cx.app.part::<Mailer>()?).await? {
                    Some((to, letter)) => cx.app.part::<Mailer>()?.send(&cx, &to, &letter).await,
                    // What it was about is no more.
                    None => Ok(()),
                }
            }
        }
    };
}

mail_job! {
    /// The link that verifies an address.
    MailVerification { token } = "identity.mail_verification"
}
mail_job! {
    /// The link that lets choose a new password.
    MailPasswordReset { token } = "identity.mail_password_reset"
}
mail_job! {
    /// Tells that the password was changed.
    MailPasswordChanged { user } = "identity.mail_password_changed"
}
mail_job! {
    /// Asks at the new address of a change.
    MailEmailChange { change } = "identity.mail_email_change"
}
mail_job! {
    /// Asks at the old address of a change.
    MailEmailChangeNotice { change } = "identity.mail_email_change_notice"
}
mail_job! {
    /// Tells the owner of an address that somebody registered with it.
    MailAccountExists { user } = "identity.mail_account_exists"
}
mail_job! {
    /// Tells of a sign-in from a device that the account has not seen.
    MailNewSignIn { session } = "identity.mail_new_sign_in"
}

/// Whom a mail goes to and what it says.
type Mail<L> = Option<(Recipient, L)>;

#[expect(clippy::disallowed_methods, reason = "users are global")]
async fn begin(app: &App) -> Result<SystemTx> {
    app.db.system().await
}

/// A letter around a link with this token.
async fn with_token<L: Letter>(
    app: &App,
    id: Uuid,
    purpose: Purpose,
    letter: impl FnOnce(&str, Duration) -> L,
) -> Result<Mail<L>> {
    let mut tx = begin(app).await?;
    let Some(mailed) = email_tokens::to_mail(&mut tx, app, id, purpose).await? else {
        return Ok(None);
    };
    let to = Recipient::find(&mut tx, mailed.user_id).await?;
    Ok(to.map(|to| (to, letter(&mailed.token, mailed.expires_in))))
}

impl MailVerification {
    async fn letter(&self, app: &App, mailer: &Mailer) -> Result<Mail<mail::VerifyEmail>> {
        with_token(app, self.token, Purpose::VerifyEmail, |token, expires_in| {
            mail::VerifyEmail {
                link: mailer.link(&format!("/account/verify-email#token={token}")),
                expires_in,
            }
        })
        .await
    }
}

impl MailPasswordReset {
    async fn letter(&self, app: &App, mailer: &Mailer) -> Result<Mail<mail::PasswordReset>> {
        with_token(app, self.token, Purpose::ResetPassword, |token, expires_in| {
            mail::PasswordReset {
                link: mailer.link(&format!("/account/reset-password#token={token}")),
                expires_in,
            }
        })
        .await
    }
}

impl MailPasswordChanged {
    async fn letter(&self, app: &App, mailer: &Mailer) -> Result<Mail<mail::PasswordChanged>> {
        let mut tx = begin(app).await?;
        let at = sqlx::query_scalar!("select password_changed_at from users where id = $1", self.user);
        let at = at.fetch_optional(&mut *tx).await?.flatten();
        let to = Recipient::find(&mut tx, self.user).await?;
        Ok(to.zip(at).map(|(to, at)| {
            let reset_link = mailer.link(RESET);
            (to, mail::PasswordChanged { at: at.0, reset_link })
        }))
    }
}

impl MailEmailChange {
    async fn letter(&self, app: &App, mailer: &Mailer) -> Result<Mail<mail::EmailChange>> {
        let mut tx = begin(app).await?;
        let Some(change) = email_changes::to_mail(&mut tx, app, self.change).await? else {
            return Ok(None);
        };
        let Some(to) = Recipient::find(&mut tx, change.user_id).await? else {
            return Ok(None);
        };
        let to = Recipient {
            address: change.new_email,
            ..to
        };
        let link = mailer.link(&format!("/account/confirm-email#token={}", change.new_token));
        let expires_in = change.expires_in;
        Ok(Some((to, mail::EmailChange { link, expires_in })))
    }
}

impl MailEmailChangeNotice {
    async fn letter(&self, app: &App, mailer: &Mailer) -> Result<Mail<mail::EmailChangeNotice>> {
        let mut tx = begin(app).await?;
        let Some(change) = email_changes::to_mail(&mut tx, app, self.change).await? else {
            return Ok(None);
        };
        let to = Recipient::find(&mut tx, change.user_id).await?;
        Ok(to.map(|to| {
            let letter = mail::EmailChangeNotice {
                link: mailer.link(&format!("/account/confirm-email#token={}", change.old_token)),
                new_address: change.new_email,
                expires_in: change.expires_in,
            };
            (to, letter)
        }))
    }
}

impl MailAccountExists {
    async fn letter(&self, app: &App, mailer: &Mailer) -> Result<Mail<mail::AccountExists>> {
        let to = Recipient::load(app, self.user).await?;
        Ok(to.map(|to| {
            let letter = mail::AccountExists {
                sign_in_link: mailer.link("/"),
                reset_link: mailer.link(RESET),
            };
            (to, letter)
        }))
    }
}

impl MailNewSignIn {
    async fn letter(&self, app: &App, mailer: &Mailer) -> Result<Mail<mail::NewSignIn>> {
        let mut tx = begin(app).await?;
        let session = sqlx::query!(
            "select user_id, created_at, address, user_agent from sessions where id = $1",
            self.session
        );
        let Some(session) = session.fetch_optional(&mut *tx).await? else {
            return Ok(None);
        };
        let to = Recipient::find(&mut tx, session.user_id).await?;
        Ok(to.map(|to| {
            let letter = mail::NewSignIn {
                at: session.created_at.0,
                device: device(session.user_agent.as_deref()).unwrap_or_default().into(),
                origin: session.address.unwrap_or_default().into(),
                reset_link: mailer.link(RESET),
            };
            (to, letter)
        }))
    }
}
