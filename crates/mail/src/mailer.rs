//! Sending: a mail is the effect of a job.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use jiff::Timestamp;
use kernel::app::App;
use kernel::error::Result;
use kernel::job::{JobCx, JobError, JobResult, complete};
use kernel::trace;
use lettre::message::Mailbox;
use tracing::{Instrument, Span, field, info, trace_span, warn};
use uuid::Uuid;

use crate::record::{Outcome, Record};
use crate::render::{Rendered, render};
use crate::smtp::{Fault, Smtp};
use crate::{Letter, MailConfig, Recipient, mailbox, message, suppression};

/// How long mails wait for somebody to set a mail server.
const UNSET_PAUSE: Duration = Duration::from_secs(300);
const UNSET: &str = "no mail server is set: EMAIL_SMTP_SERVER";
/// A mail is out and its record must follow, however long the database takes to come back: within the
/// time of the job.
const RECORD_PAUSES: [u64; 4] = [0, 1, 3, 8];

/// Sends mails; a part of the [`App`].
#[derive(Clone)]
pub struct Mailer(Arc<Shared>);

struct Shared {
    delivery: Delivery,
    from: Mailbox,
    base: String,
    log_days: i32,
}

/// Where mails go.
#[derive(Clone)]
enum Delivery {
    /// Into the mailbox of development.
    Mailbox,
    Server(Smtp),
    /// Nowhere: no server is set.
    Unset,
}

impl Mailer {
    /// Sends by the configured server. `own_url` is where links lead unless FRONTEND_URL says otherwise.
    ///
    /// # Errors
    /// When a server is set and its settings are not whole.
    pub fn new(config: &MailConfig, own_url: &str) -> anyhow::Result<Mailer> {
        let delivery = match &config.email_smtp_server {
            Some(host) => Delivery::Server(Smtp::new(host, config)?),
            None => Delivery::Unset,
        };
        Mailer::open(config, own_url, delivery)
    }

    /// Keeps mails in the mailbox of development, whatever server is set.
    ///
    /// # Errors
    /// When the sender is no address.
    pub fn mailbox(config: &MailConfig, own_url: &str) -> anyhow::Result<Mailer> {
        Mailer::open(config, own_url, Delivery::Mailbox)
    }

    fn open(config: &MailConfig, own_url: &str, delivery: Delivery) -> anyhow::Result<Mailer> {
        let from = match config.email_from.as_ref().or(config.email_username.as_ref()) {
            Some(from) => from.as_str(),
            None if matches!(delivery, Delivery::Server(_)) => {
                anyhow::bail!("EMAIL_FROM is required with EMAIL_SMTP_SERVER")
            }
            None => "ally360@localhost.localdomain",
        };
        let address = from
            .parse()
            .with_context(|| format!("EMAIL_FROM: {from} is no address"))?;
        Ok(Mailer(Arc::new(Shared {
            delivery,
            from: Mailbox::new(Some(config.email_from_name.clone()), address),
            base: config.frontend_url.clone().unwrap_or_else(|| own_url.to_owned()),
            log_days: config.mail_log_days,
        })))
    }

    /// A link into the web pages: `/account/verify-email#token=…`. A secret stands in the fragment, which
    /// reaches neither a server's log nor another site.
    pub fn link(&self, path_and_fragment: &str) -> String {
        format!("{}{path_and_fragment}", self.0.base)
    }

    /// Sends one mail as the effect of a job, and completes the job. Nothing is sent to an address that
    /// is known not to exist; that, too, completes it.
    ///
    /// A job sends at most one mail, except when between the server's acceptance and the record of it the
    /// process ends, the lease is lost, or the database stays away for longer than 12 s: then the
    /// mail is sent again, under the same `Message-ID`.
    ///
    /// # Errors
    /// Retry when the server is away, busy or does not let us in; later when none is set; failure when it
    /// never takes this mail.
    pub async fn send<L: Letter>(&self, cx: &JobCx, to: &Recipient, letter: &L) -> JobResult {
        if cx.committed.load(Ordering::Acquire) {
            return Err(JobError::fail(anyhow!(
                "the job has ended already: it sends one mail only"
            )));
        }
        let letter_name = L::NAME;
        let rendered = render(to, letter).map_err(JobError::fail)?;
        let (mailer, cx, to) = (self.clone(), cx.clone(), to.clone());
        // A task of its own: a run that is cut by its time or by a shutdown does not cut the dialogue with
        // the server, nor the record of how it ended.
        let (tasks, uncut) = (cx.app.tasks.clone(), cx.uncut.clone());
        let sending = async move { mailer.deliver(&cx, &to, letter_name, &rendered).await };
        let sending = tasks.spawn(uncut.track_future(sending.in_current_span()));
        sending.await.context("sending panicked")?
    }

    async fn deliver(
        &self,
        cx: &JobCx,
        to: &Recipient,
        letter: &'static str,
        rendered: &Rendered,
    ) -> JobResult {
        let record = |outcome, reply| Record {
            letter,
            address: &to.address,
            subject: &rendered.subject,
            outcome,
            reply,
            content: None,
        };
        let message = message::build(&self.0.from, to, rendered, cx.job_id, cx.app.clock.now())
            .map_err(JobError::fail)?;
        if let Some(reason) = suppression::reason(&cx.app, &to.address).await? {
            return Ok(conclude(cx, &record(Outcome::Suppressed, Some(&reason))).await?);
        }
        match &self.0.delivery {
            Delivery::Unset => Err(JobError::Later(UNSET_PAUSE, anyhow!(UNSET))),
            Delivery::Mailbox => {
                let headers = message.headers().to_string();
                let content = Some((headers.as_str(), rendered));
                Ok(conclude(
                    cx,
                    &Record {
                        content,
                        ..record(Outcome::Kept, None)
                    },
                )
                .await?)
            }
            // Another worker has the job, or will.
            Delivery::Server(_) if cx.cancelled.is_cancelled() => Err(anyhow!("told to stop").into()),
            Delivery::Server(server) => {
                let (host, port) = server.address();
                let span = trace_span!(
                    target: trace::TARGET, "SMTP", otel.name = "SMTP send", otel.kind = "client", otel.status_code = field::Empty,
                    server.address = host, server.port = port, letter, outcome = field::Empty
                );
                let text = message.formatted();
                match measured(server.send(message.envelope(), &text))
                    .instrument(span)
                    .await
                {
                    Ok(answer) => Ok(conclude(cx, &record(Outcome::Sent, Some(&answer))).await?),
                    Err(Fault::NoSuchAddress(answer)) => {
                        Ok(conclude(cx, &record(Outcome::Refused, Some(&answer))).await?)
                    }
                    Err(Fault::Passing(cause)) => Err(JobError::Retry(cause)),
                    Err(Fault::Refused(cause)) => Err(JobError::Fail(cause)),
                }
            }
        }
    }

    /// Sends without a job and without a record.
    pub(crate) async fn send_at_once<L: Letter>(
        &self,
        to: &Recipient,
        letter: &L,
        id: Uuid,
        at: Timestamp,
    ) -> anyhow::Result<String> {
        let message = message::build(&self.0.from, to, &render(to, letter)?, id, at)?;
        match &self.0.delivery {
            Delivery::Server(server) => Ok(server.send(message.envelope(), &message.formatted()).await?),
            Delivery::Mailbox | Delivery::Unset => Err(anyhow!(UNSET)),
        }
    }

    /// Whether mails lie in the mailbox of development.
    pub(crate) fn keeps(&self) -> bool {
        matches!(self.0.delivery, Delivery::Mailbox)
    }

    pub(crate) fn log_days(&self) -> i32 {
        self.0.log_days
    }

    /// Whether mails go anywhere.
    pub fn is_set(&self) -> bool {
        !matches!(self.0.delivery, Delivery::Unset)
    }

    /// Connects to the mail server and signs in, if there is one.
    ///
    /// # Errors
    /// What it did not like.
    pub async fn check(&self) -> anyhow::Result<()> {
        match &self.0.delivery {
            Delivery::Server(server) => server.check().await,
            Delivery::Mailbox | Delivery::Unset => Ok(()),
        }
    }
}

/// Tells how long the dialogue with the server took.
async fn measured<T>(sending: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    let started = Instant::now();
    let sent = sending.await;
    let outcome = match &sent {
        Ok(_) => "sent",
        Err(Fault::Passing(_)) => "unavailable",
        Err(Fault::NoSuchAddress(_) | Fault::Refused(_)) => "refused",
    };
    metrics::histogram!("ally360_mail_duration_seconds", "outcome" => outcome).record(started.elapsed());
    let span = Span::current();
    span.record("outcome", outcome);
    if sent.is_err() {
        span.record("otel.status_code", "error");
    }
    sent
}

/// Records how a mail ended together with the completion of its job.
async fn conclude(cx: &JobCx, record: &Record<'_>) -> anyhow::Result<()> {
    let mut held = Ok(false);
    for pause in RECORD_PAUSES {
        tokio::time::sleep(Duration::from_secs(pause)).await;
        held = try_conclude(cx, record).await;
        match &held {
            Ok(_) => break,
            Err(error) => warn!(%error, "a mail ended and cannot be recorded"),
        }
    }
    if !held? {
        return Err(anyhow!("the lease was lost: another worker has the job"));
    }
    cx.committed.store(true, Ordering::Release);
    info!(letter = record.letter, outcome = ?record.outcome, "mail");
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "the record and the queue are the installation's"
)]
async fn try_conclude(cx: &JobCx, record: &Record<'_>) -> Result<bool> {
    let app: &App = &cx.app;
    let mut tx = app.db.system().await?;
    record.insert(&mut tx, cx.job_id).await?;
    match (record.outcome, record.reply) {
        (Outcome::Kept, _) => mailbox::trim(&mut tx).await?,
        (Outcome::Refused, Some(reply)) => suppression::suppress(&mut tx, record.address, reply).await?,
        _ => {}
    }
    let held = complete(&mut tx, cx.tenant_id, cx.job_id, cx.attempt).await?;
    if held {
        tx.commit().await?;
    }
    Ok(held)
}
