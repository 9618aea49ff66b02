//! The mails there are. Links come from [`Mailer::link`](crate::Mailer::link).

use std::time::Duration;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use crate::{Letter, Name};

/// As seconds, for the filter `span`.
fn seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(time.as_secs())
}

/// Asks whoever registered to show that the address is his.
#[derive(Clone, Debug, Serialize)]
pub struct VerifyEmail {
    pub link: String,
    /// How long the link works.
    #[serde(serialize_with = "seconds")]
    pub expires_in: Duration,
}

impl Letter for VerifyEmail {
    const NAME: &'static str = "verify-email";
}

/// A link to choose a new password.
#[derive(Clone, Debug, Serialize)]
pub struct PasswordReset {
    pub link: String,
    /// How long the link works.
    #[serde(serialize_with = "seconds")]
    pub expires_in: Duration,
}

impl Letter for PasswordReset {
    const NAME: &'static str = "password-reset";
}

/// Tells that the password was changed.
#[derive(Clone, Debug, Serialize)]
pub struct PasswordChanged {
    pub at: Timestamp,
    /// Where to ask for a new password, for whom it was not.
    pub reset_link: String,
}

impl Letter for PasswordChanged {
    const NAME: &'static str = "password-changed";
}

/// Asks at the new address whether an account shall move to it.
#[derive(Clone, Debug, Serialize)]
pub struct EmailChange {
    pub link: String,
    /// How long the link works.
    #[serde(serialize_with = "seconds")]
    pub expires_in: Duration,
}

impl Letter for EmailChange {
    const NAME: &'static str = "email-change";
}

/// Asks at the old address whether the account shall move away from it.
#[derive(Clone, Debug, Serialize)]
pub struct EmailChangeNotice {
    /// Where the change is confirmed or refused.
    pub link: String,
    pub new_address: String,
    /// How long the link works.
    #[serde(serialize_with = "seconds")]
    pub expires_in: Duration,
}

impl Letter for EmailChangeNotice {
    const NAME: &'static str = "email-change-notice";
}

/// Invites somebody to work in a company.
#[derive(Clone, Debug, Serialize)]
pub struct Invitation {
    pub link: String,
    pub inviter: Name,
    pub company: Name,
    /// Name of the role; the built-in ones are translated.
    pub role: Name,
    /// How long the link works.
    #[serde(serialize_with = "seconds")]
    pub expires_in: Duration,
}

impl Letter for Invitation {
    const NAME: &'static str = "invitation";
}

/// Somebody registered with the address of an account that exists.
#[derive(Clone, Debug, Serialize)]
pub struct AccountExists {
    pub sign_in_link: String,
    pub reset_link: String,
}

impl Letter for AccountExists {
    const NAME: &'static str = "account-exists";
}

/// A sign-in from a device that the account has not seen.
#[derive(Clone, Debug, Serialize)]
pub struct NewSignIn {
    pub at: Timestamp,
    /// Such as `Firefox, Android`.
    pub device: Name,
    /// The internet address.
    pub origin: Name,
    /// Where to ask for a new password, for whom it was not.
    pub reset_link: String,
}

impl Letter for NewSignIn {
    const NAME: &'static str = "new-sign-in";
}

/// Tells a company that malware was uploaded.
#[derive(Clone, Debug, Serialize)]
pub struct MalwareFound {
    pub company: Name,
    pub filename: Name,
    /// As the scanner calls it.
    pub malware: Name,
    /// When the upload was begun.
    pub at: Timestamp,
    /// Of the company, by its IANA name.
    pub time_zone: String,
}

impl Letter for MalwareFound {
    const NAME: &'static str = "malware-found";
}

/// Tells who cares for a company that there is little room left for its files.
#[derive(Clone, Debug, Serialize)]
pub struct StorageNearlyFull {
    pub company: Name,
    /// Of the room, taken.
    pub percent: i64,
}

impl Letter for StorageNearlyFull {
    const NAME: &'static str = "storage-nearly-full";
}
