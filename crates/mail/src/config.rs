//! Settings of mail.

use std::path::PathBuf;

use clap::Args;
use kernel::config::parse_bool;

/// Mail: the server that takes it, the sender, and where its links lead.
#[derive(Args, Clone, Debug)]
pub struct MailConfig {
    /// Host name of the mail server; without one mails wait, and `dev` keeps them at /dev/mail in any case
    #[arg(long, env = "EMAIL_SMTP_SERVER")]
    pub email_smtp_server: Option<String>,
    /// Its port: 465 speaks TLS from the start, any other STARTTLS
    #[arg(long, env = "EMAIL_SMTP_PORT", default_value_t = 587)]
    pub email_smtp_port: u16,
    /// Whether the server is spoken to by TLS only; a password is never sent without
    #[arg(long, env = "EMAIL_USE_TLS", value_parser = parse_bool, default_value = "true", action = clap::ArgAction::Set)]
    pub email_use_tls: bool,
    /// Login at the server, if it wants one
    #[arg(long, env = "EMAIL_USERNAME")]
    pub email_username: Option<String>,
    /// Its password
    #[arg(long, env = "EMAIL_PASSWORD", hide_env_values = true)]
    pub email_password: Option<String>,
    /// Address of the sender [default: EMAIL_USERNAME]
    #[arg(long, env = "EMAIL_FROM")]
    pub email_from: Option<String>,
    /// Name of the sender
    #[arg(long, env = "EMAIL_FROM_NAME", default_value = "Ally360")]
    pub email_from_name: String,
    /// Where the links in mails lead [default: the address that this program listens on]
    #[arg(long, env = "FRONTEND_URL", value_parser = parse_base)]
    pub frontend_url: Option<String>,
    /// Certificates in PEM of a mail server that no public authority vouches for
    #[arg(long, env = "ALLY360_MAIL_CA_FILE")]
    pub mail_ca_file: Option<PathBuf>,
    /// Days that the outcome of every mail is kept
    #[arg(long, env = "ALLY360_MAIL_LOG_DAYS", default_value_t = 30, value_parser = clap::value_parser!(i32).range(1..=3650))]
    pub mail_log_days: i32,
}

/// A URL that paths can be appended to; no slash at its end.
fn parse_base(value: &str) -> Result<String, String> {
    let web = value.starts_with("https://") || value.starts_with("http://");
    if !web || value.contains(['#', '?']) || value.contains(char::is_whitespace) {
        return Err("expected a URL such as https://app.example.com".to_owned());
    }
    Ok(value.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_built_on_web_addresses() {
        assert_eq!(
            parse_base("https://app.example.com/").as_deref(),
            Ok("https://app.example.com")
        );
        for bad in [
            "app.example.com",
            "javascript:alert(1)",
            "https://a.co/#x",
            "https://a co",
        ] {
            assert!(parse_base(bad).is_err(), "{bad}");
        }
    }
}
