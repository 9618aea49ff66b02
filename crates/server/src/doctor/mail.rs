//! Whether mails would go.

use ::mail::Mailer;

use super::report::Report;
use crate::settings::Settings;

pub(super) async fn examine(settings: &Settings, report: &mut Report) {
    let config = &settings.mail;
    let Some(server) = &config.email_smtp_server else {
        return report.warn(
            "mail",
            "no server is set, mails wait in the queue: set EMAIL_SMTP_SERVER",
        );
    };
    let checked = match Mailer::new(config, "") {
        Ok(mailer) => mailer.check().await,
        Err(error) => Err(error),
    };
    match checked {
        Ok(()) => report.ok("mail", format!("{server}:{} takes mail", config.email_smtp_port)),
        Err(error) => report.fail("mail", format!("{error:#}")),
    }
    if config.frontend_url.is_none() {
        let own = settings.listen;
        report.warn(
            "mail",
            format!("links lead to http://{own}, which only this machine may reach: set FRONTEND_URL"),
        );
    }
}
