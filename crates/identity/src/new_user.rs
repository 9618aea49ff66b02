//! Making a person's account.

use kernel::app::App;
use kernel::db::SystemTx;
use kernel::error::Result;
use kernel::types::Timestamp;
use uuid::Uuid;

use crate::contact;
use crate::me::Profile;

/// A person who has no account yet.
pub struct NewUser<'a> {
    pub email: &'a str,
    pub password_hash: &'a str,
    pub profile: &'a Profile,
    /// Tag of the language of mails.
    pub language: &'a str,
    /// The address is known to be his.
    pub verified: bool,
}

impl NewUser<'_> {
    /// Makes the account and returns its id; `None` when the address has one, which then stays as it is.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn create(&self, tx: &mut SystemTx, app: &App) -> Result<Option<Uuid>> {
        let now = Timestamp(app.clock.now());
        let phone = self.profile.phone_number.as_deref();
        let dni = self.profile.dni.as_deref();
        let created = sqlx::query_scalar!(
            "insert into users (id, email, password_hash, first_name, last_name, phone_number, dni, language,
                                email_verified_at, created_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) on conflict (lower(email)) do nothing returning id",
            kernel::ids::new_id(),
            self.email,
            self.password_hash,
            self.profile.first_name,
            self.profile.last_name,
            phone.and_then(contact::phone_number),
            dni.and_then(contact::dni_number),
            self.language,
            self.verified.then_some(now) as _,
            now as _
        );
        Ok(created.fetch_optional(&mut **tx).await?)
    }
}
