//! A job that sends a mail, as those of the domain crates do.

use std::time::Duration;

use ::mail::{Language, Mailer, PasswordReset, Recipient};
use kernel::job::{Job, JobCx, JobKind, JobResult};
use serde::{Deserialize, Serialize};
use testkit::{Client, TestApp};
use uuid::Uuid;

/// Sends a link for a new password to an address.
#[derive(Clone, Serialize, Deserialize)]
pub struct SendReset {
    pub to: String,
    #[serde(default)]
    pub name: String,
}

impl SendReset {
    pub fn to(address: &str) -> SendReset {
        SendReset {
            to: address.to_owned(),
            name: "Rosa".to_owned(),
        }
    }
}

impl Job for SendReset {
    const NAME: &'static str = "test.send_reset";
    const QUEUE: &'static str = ::mail::QUEUE;
    const MAX_ATTEMPTS: i32 = ::mail::MAX_ATTEMPTS;

    async fn run(self, cx: JobCx) -> JobResult {
        let mailer = cx.app.part::<Mailer>()?;
        let to = Recipient {
            address: self.to,
            name: self.name,
            language: Language::Es,
        };
        let letter = PasswordReset {
            link: mailer.link("/account/reset-password#token=t0k3n"),
            expires_in: Duration::from_secs(1800),
        };
        mailer.send(&cx, &to, &letter).await
    }
}

/// The API, with a worker that knows the job.
pub async fn app() -> TestApp {
    with_job(crate::app().await)
}

pub fn with_job(t: TestApp) -> TestApp {
    let mut kinds = ::server::jobs().0;
    kinds.push(JobKind::of::<SendReset>());
    t.with_jobs(kinds)
}

/// Enqueues it in the client's company.
pub async fn send(t: &TestApp, client: &Client, job: &SendReset) -> Uuid {
    let mut tx = kernel::job::background_tx(&t.app, client.company())
        .await
        .expect("a transaction");
    let id = tx.enqueue(job).await.expect("enqueued").expect("an id");
    tx.commit().await.expect("committed");
    id
}
