//! The mails that a test's application sent.

use crate::TestApp;

/// A mail as it was kept instead of sent.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Mail {
    /// Its kind, such as `verify-email`.
    pub letter: String,
    /// The recipient's address.
    pub address: String,
    pub subject: String,
    pub headers: String,
    pub text: String,
    pub html: String,
}

impl Mail {
    /// The first link in the text.
    ///
    /// # Panics
    /// When there is none.
    pub fn link(&self) -> &str {
        let mut words = self.text.split_whitespace();
        words
            .find(|word| word.starts_with("http://") || word.starts_with("https://"))
            .unwrap_or_else(|| panic!("a mail without a link: {}", self.text))
    }

    /// The token in the first link's fragment.
    ///
    /// # Panics
    /// When there is none.
    pub fn token(&self) -> &str {
        let token = self.link().split_once("#token=").map(|(_, token)| token);
        token.unwrap_or_else(|| panic!("a link without a token: {}", self.link()))
    }
}

impl TestApp {
    /// All mails so far, oldest first. Jobs send them: [`run_jobs`](TestApp::run_jobs) first.
    pub async fn mail(&self) -> Vec<Mail> {
        let mut conn = self.superuser().await;
        sqlx::query_as(
            "select letter, address, subject, headers, text_body as text, html_body as html
               from ally.mails where outcome = 'kept' order by created_at, id",
        )
        .fetch_all(&mut conn)
        .await
        .expect("mails")
    }

    /// The mails to this address, oldest first.
    pub async fn mail_to(&self, address: &str) -> Vec<Mail> {
        let mut mails = self.mail().await;
        mails.retain(|mail| mail.address.eq_ignore_ascii_case(address));
        mails
    }
}
