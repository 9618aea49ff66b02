//! Mail as assembled here: the process's mailer, and `ally360 mail`.

use std::net::SocketAddr;

use ::mail::{Language, Mailer, Recipient};
use anyhow::ensure;
use clap::Subcommand;
use kernel::clock::Clock;
use tracing::warn;

use crate::cli::say;
use crate::run::Database;
use crate::settings::Settings;

#[derive(Subcommand, Clone, Debug)]
pub enum MailAction {
    /// Send a trial mail with the settings as they are, and print the server's answer
    Test { address: String },
    /// List the addresses that get no mail, because their server does not know them
    Suppressed,
    /// Let an address have mail again
    Unsuppress { address: String },
}

/// What sends mail: in `dev` it keeps it, so that nobody gets any by accident. `address` is what the process
/// listens on, if it does.
///
/// # Errors
/// When the settings of a server are not whole.
pub(crate) fn mailer(settings: &Settings, address: Option<SocketAddr>, dev: bool) -> anyhow::Result<Mailer> {
    let own_url = format!("http://{}", address.unwrap_or(settings.listen));
    if dev {
        return Mailer::mailbox(&settings.mail, &own_url);
    }
    let mailer = Mailer::new(&settings.mail, &own_url)?;
    if !mailer.is_set() {
        warn!("no mail server is set: mails wait until EMAIL_SMTP_SERVER is");
    } else if settings.mail.frontend_url.is_none() {
        warn!("FRONTEND_URL is not set: links in mails lead to {own_url}");
    }
    Ok(mailer)
}

/// `ally360 mail`.
pub(crate) async fn command(settings: Settings, action: MailAction) -> anyhow::Result<()> {
    if let MailAction::Test { address } = action {
        let to = Recipient {
            address,
            name: String::new(),
            language: Language::default(),
        };
        let mailer = Mailer::new(&settings.mail, "")?;
        return Ok(say(&mailer.send_trial(&to, Clock::default().now()).await?)?);
    }
    let database = Database::open(&settings).await?;
    let done = on_list(&database, &settings, &action).await;
    database.close().await;
    done
}

async fn on_list(database: &Database, settings: &Settings, action: &MailAction) -> anyhow::Result<()> {
    let app = database.app(settings);
    if let MailAction::Unsuppress { address } = action {
        ensure!(
            ::mail::unsuppress(&app, address).await?,
            "{address} is not suppressed"
        );
        say(&format!("{address} gets mail again"))?;
        return Ok(());
    }
    for entry in ::mail::suppressed(&app).await? {
        say(&format!(
            "{} {} {}",
            entry.created_at.0.strftime("%F"),
            entry.address,
            entry.reply
        ))?;
    }
    Ok(())
}
