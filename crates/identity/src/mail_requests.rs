//! What somebody without a session asks to be mailed, and how many mails an address gets.
//!
//! The request is written down, the same for every address; a job looks up whether there is an account
//! and what it is owed. So an answer cannot tell who has one, neither by its text nor by its time.

use jiff::SignedDuration;
use kernel::app::App;
use kernel::db::SystemTx;
use kernel::job::{Job, JobCx, JobResult};
use kernel::prelude::*;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::client::Client;
use crate::email_tokens::{self, Purpose};
use crate::mails::{MailAccountExists, MailPasswordReset, MailVerification};
use crate::throttle::TOO_MANY_ATTEMPTS;
use crate::{Identity, contact};

/// Mails to one address, whoever asks for them. Those that reset a password are counted apart, or others could keep
/// them away by having it mailed something else.
const PER_EMAIL: (i32, SignedDuration) = (5, SignedDuration::from_mins(15));
/// Mails that one address of the network may ask for.
const PER_ADDRESS: (i32, SignedDuration) = (30, SignedDuration::from_mins(2));

const MAILS: &str = "mails to";

pub fn module() -> Module {
    Module::new("mail_requests").job::<AnswerMailRequest>()
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    VerifyEmail,
    ResetPassword,
    /// Somebody registered with an address that has an account.
    AccountExists,
}

impl Kind {
    /// What its mails are counted as.
    fn counter(self) -> &'static str {
        match self {
            Kind::VerifyEmail | Kind::AccountExists => MAILS,
            Kind::ResetPassword => "reset mails to",
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Kind::VerifyEmail => "verify-email",
            Kind::ResetPassword => "reset-password",
            Kind::AccountExists => "account-exists",
        }
    }
}

/// Writes a request down in a transaction of its own; see [`ask`].
///
/// # Errors
/// Those of the database.
#[expect(clippy::disallowed_methods, reason = "nobody is signed in")]
pub async fn ask_alone(
    app: &App,
    identity: &Identity,
    client: &Client,
    kind: Kind,
    email: &str,
) -> Result<()> {
    let mut tx = app.db.system().await?;
    ask(&mut tx, app, identity, client, kind, email).await?;
    tx.commit().await
}

/// Writes a request down, unless the address, or who asks, has had too many: then silently nothing
/// happens.
///
/// # Errors
/// Those of the database.
pub async fn ask(
    tx: &mut SystemTx,
    app: &App,
    identity: &Identity,
    client: &Client,
    kind: Kind,
    email: &str,
) -> Result<()> {
    let throttle = &identity.0.throttle;
    if let Some(address) = client.address {
        let subscriber = kernel::origin::subscriber(address).to_string();
        if !throttle
            .allows(tx, app, "mails asked for by", &subscriber, PER_ADDRESS)
            .await?
        {
            tracing::warn!(client.address = %subscriber, "asks for too many mails");
            return Ok(());
        }
    }
    let folded = contact::folded(tx, email).await?;
    if !throttle
        .allows(tx, app, kind.counter(), &folded, PER_EMAIL)
        .await?
    {
        return Ok(());
    }
    let id = kernel::ids::new_id();
    sqlx::query!(
        "insert into mail_requests (id, kind, email, created_at) values ($1, $2, $3, $4)",
        id,
        kind.as_str(),
        email,
        Timestamp(app.clock.now()) as _
    )
    .execute(&mut **tx)
    .await?;
    tx.enqueue(&AnswerMailRequest { request: id }).await?;
    Ok(())
}

/// Charges a mail to an address that a signed-in user names, who is told when it has had too many. That says
/// nothing of an account: addresses without one are charged alike.
///
/// # Errors
/// `too-many-attempts`, or those of the database.
pub async fn charge(tx: &mut SystemTx, app: &App, identity: &Identity, email: &str) -> Result<()> {
    let folded = contact::folded(tx, email).await?;
    let throttle = &identity.0.throttle;
    if throttle.allows(tx, app, MAILS, &folded, PER_EMAIL).await? {
        return Ok(());
    }
    let wait = u32::try_from(PER_EMAIL.1.as_secs()).unwrap_or(u32::MAX);
    Err(Error::new(&TOO_MANY_ATTEMPTS)
        .detail("the address has had as many mails as it may have in this time")
        .retry_after(wait))
}

/// [`charge`] in a transaction of its own.
///
/// # Errors
/// `too-many-attempts`, or those of the database.
pub async fn charge_alone(app: &App, identity: &Identity, email: &str) -> Result<()> {
    #[expect(clippy::disallowed_methods, reason = "an address is mailed by all companies")]
    let mut tx = app.db.system().await?;
    charge(&mut tx, app, identity, email).await?;
    tx.commit().await
}

/// Enqueues the mail that a request is owed, if any.
#[derive(Debug, Serialize, Deserialize)]
pub struct AnswerMailRequest {
    pub request: Uuid,
}

impl Job for AnswerMailRequest {
    const NAME: &'static str = "identity.answer_mail_request";
    const QUEUE: &'static str = mail::QUEUE;
    const MAX_ATTEMPTS: i32 = mail::MAX_ATTEMPTS;

    async fn run(self, cx: JobCx) -> JobResult {
        let app = &cx.app;
        #[expect(clippy::disallowed_methods, reason = "users are global")]
        let mut tx = app.db.system().await?;
        let request = sqlx::query!(
            "delete from mail_requests where id = $1 returning kind, email",
            self.request
        )
        .fetch_optional(&mut *tx)
        .await?;
        // Another run has answered it.
        let Some(request) = request else { return Ok(()) };
        let user = sqlx::query!(
            "select id, is_active or disabled_himself as \"reachable!\", email_verified_at is not null as \"verified!\"
               from users where lower(email) = lower($1) and deleted_at is null",
            request.email
        );
        let user = user.fetch_optional(&mut *tx).await?.filter(|user| user.reachable);
        if let Some(user) = user {
            match request.kind.as_str() {
                "verify-email" if !user.verified => {
                    let (token, _) = email_tokens::issue(&mut tx, app, user.id, Purpose::VerifyEmail).await?;
                    tx.enqueue(&MailVerification { token }).await?;
                }
                "reset-password" => {
                    let (token, _) =
                        email_tokens::issue(&mut tx, app, user.id, Purpose::ResetPassword).await?;
                    tx.enqueue(&MailPasswordReset { token }).await?;
                }
                "account-exists" => {
                    tx.enqueue(&MailAccountExists { user: user.id }).await?;
                }
                _ => {}
            }
        }
        tx.commit().await?;
        Ok(())
    }
}
