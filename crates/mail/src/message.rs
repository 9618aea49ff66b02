//! The message as it travels (RFC 5322, MIME).

use anyhow::Context;
use jiff::Timestamp;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::{Address, Message};
use uuid::Uuid;

use crate::render::Rendered;
use crate::{Name, Recipient};

/// Puts a rendered letter into an envelope. The same job makes the same `Message-ID`, so that a mail
/// that was sent twice can be told from two mails.
///
/// # Errors
/// When the recipient's address is none.
pub(crate) fn build(
    from: &Mailbox,
    to: &Recipient,
    letter: &Rendered,
    job_id: Uuid,
    at: Timestamp,
) -> anyhow::Result<Message> {
    let address: Address = to.address.parse().context("the recipient has no valid address")?;
    let name = Name::from(&to.name);
    let name = (!name.as_str().is_empty()).then(|| name.as_str().to_owned());
    let header = |name, value: &str| HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned());
    let message = Message::builder()
        .message_id(Some(format!("<{job_id}@{}>", from.email.domain())))
        .date(at.into())
        .from(from.clone())
        .to(Mailbox::new(name, address))
        .subject(letter.subject.as_str())
        // No automatic replies, please (RFC 3834; the second is Exchange's).
        .raw_header(header("Auto-Submitted", "auto-generated"))
        .raw_header(header("X-Auto-Response-Suppress", "All"))
        .raw_header(header("Content-Language", to.language.code()))
        .multipart(MultiPart::alternative_plain_html(
            letter.text.clone(),
            letter.html.clone(),
        ))?;
    Ok(message)
}
