//! A mail that an operator sends to himself, to see whether the settings are right.

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use crate::{Letter, Mailer, Recipient};

/// Says that mail works.
#[derive(Serialize)]
pub(crate) struct Trial {}

impl Letter for Trial {
    const NAME: &'static str = "trial";
}

impl Mailer {
    /// Sends a trial mail now, without a job; returns the server's answer.
    ///
    /// # Errors
    /// When no server is set, or what it did not like.
    pub async fn send_trial(&self, to: &Recipient, at: Timestamp) -> anyhow::Result<String> {
        self.send_at_once(to, &Trial {}, Uuid::new_v4(), at).await
    }
}
