//! Limits on guessing and on mails, kept in PostgreSQL: all processes count together.
//!
//! An attempt is charged before the password is looked at, so that attempts at once cannot all pass; one
//! that succeeds is refunded. Nobody can be locked out by others: pauses are bounded, and who signs in
//! from where he did before is charged for his own failures only.

use std::net::IpAddr;

use jiff::SignedDuration;
use kernel::app::App;
use kernel::db::SystemTx;
use kernel::error::{Code, Error, Result};
use kernel::keys::{Digest32, mac};
use kernel::origin::subscriber;
use kernel::types::Timestamp;
use sqlx::postgres::types::PgInterval;
use uuid::Uuid;

pub(crate) const TOO_MANY_ATTEMPTS: Code = Code::new(
    429,
    "too-many-attempts",
    "Too many attempts; try again after the time in Retry-After",
);

/// Attempts that go without a pause, and the longest pause in seconds.
struct Rule {
    what: &'static str,
    free: i32,
    longest: i64,
}

/// Of one account, from anywhere: what many addresses together may try.
const ACCOUNT: Rule = Rule {
    what: "account",
    free: 20,
    longest: 300,
};
/// From one address, at any account.
const ADDRESS: Rule = Rule {
    what: "address",
    free: 40,
    longest: 300,
};
/// From one address at one account.
const PAIR: Rule = Rule {
    what: "pair",
    free: 5,
    longest: 900,
};
/// The current password, asked of a signed-in user.
const OWN_PASSWORD: Rule = Rule {
    what: "own password",
    free: 5,
    longest: 900,
};

/// What the throttle knows callers by. Digests: the tables tell of no address.
pub struct Throttle {
    key: Digest32,
}

/// A charged attempt.
pub struct Attempt {
    keys: Vec<Vec<u8>>,
    /// Those that forget everything once the attempt succeeds.
    forgiven: Vec<Vec<u8>>,
}

impl Throttle {
    pub fn new(app: &App) -> Throttle {
        Throttle {
            key: app.keys.derive("throttle"),
        }
    }

    fn digest(&self, parts: &[&str]) -> Vec<u8> {
        let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
        mac(&self.key, &parts).to_vec()
    }

    /// What a device is known by: its address, of IPv6 its /64.
    pub fn device(&self, address: Option<IpAddr>) -> Option<Vec<u8>> {
        Some(self.digest(&["device", &subscriber(address?).to_string()]))
    }

    /// Charges one attempt to sign in, of an account that may not exist; `email` is
    /// [folded](crate::contact::folded). From a known device only the failures from there count.
    ///
    /// # Errors
    /// `too-many-attempts`, or those of the database.
    pub async fn sign_in(
        &self,
        app: &App,
        email: &str,
        address: Option<IpAddr>,
        known: bool,
    ) -> Result<Attempt> {
        let mut rules = Vec::new();
        let mut forgiven = Vec::new();
        if !known {
            rules.push((&ACCOUNT, self.digest(&[ACCOUNT.what, email])));
        }
        if let Some(address) = address {
            let address = subscriber(address).to_string();
            let pair = self.digest(&[PAIR.what, email, &address]);
            forgiven.push(pair.clone());
            rules.push((&PAIR, pair));
            if !known {
                rules.push((&ADDRESS, self.digest(&[ADDRESS.what, &address])));
            }
        }
        charge(app, rules, forgiven).await
    }

    /// Charges one attempt of a signed-in user to give his password.
    ///
    /// # Errors
    /// `too-many-attempts`, or those of the database.
    pub async fn own_password(&self, app: &App, user: Uuid) -> Result<Attempt> {
        let key = self.digest(&[OWN_PASSWORD.what, &user.to_string()]);
        charge(app, vec![(&OWN_PASSWORD, key.clone())], vec![key]).await
    }

    /// Spends one of `burst`, of which one comes back every `each`. Returns whether there was one left.
    /// Where the address is not known everything is allowed.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn allows(
        &self,
        tx: &mut SystemTx,
        app: &App,
        what: &str,
        who: &str,
        (burst, each): (i32, SignedDuration),
    ) -> Result<bool> {
        let now = app.clock.now();
        let spent = sqlx::query!(
            "insert into allowances as a (key, spent_until) values ($1, $2)
                 on conflict (key) do update set spent_until = greatest(a.spent_until, $3) + ($2 - $3)
              where a.spent_until <= $4",
            self.digest(&[what, who]),
            Timestamp(now + each) as _,
            Timestamp(now) as _,
            Timestamp(now + each * (burst - 1)) as _
        );
        Ok(spent.execute(&mut **tx).await?.rows_affected() == 1)
    }
}

async fn charge(app: &App, rules: Vec<(&Rule, Vec<u8>)>, forgiven: Vec<Vec<u8>>) -> Result<Attempt> {
    let now = app.clock.now();
    let free: Vec<i32> = rules.iter().map(|(rule, _)| rule.free).collect();
    let longest: Vec<PgInterval> = rules
        .iter()
        .map(|(rule, _)| PgInterval {
            months: 0,
            days: 0,
            microseconds: rule.longest * 1_000_000,
        })
        .collect();
    let keys: Vec<Vec<u8>> = rules.into_iter().map(|(_, key)| key).collect();
    #[expect(clippy::disallowed_methods, reason = "attempts are of no company")]
    let mut tx = app.db.system().await?;
    let blocked = sqlx::query_scalar!(
        r#"select charge_attempt($1, $2, $3, $4) as "until: Timestamp""#,
        &keys,
        &free,
        &longest,
        Timestamp(now) as _
    )
    .fetch_one(&mut *tx)
    .await?;
    if let Some(until) = blocked {
        let seconds = until.0.duration_since(now).as_secs() + 1;
        return Err(Error::new(&TOO_MANY_ATTEMPTS).retry_after(u32::try_from(seconds).unwrap_or(u32::MAX)));
    }
    tx.commit().await?;
    Ok(Attempt { keys, forgiven })
}

impl Attempt {
    /// The attempt was none: the password was not looked at.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn withdraw(self, app: &App) -> Result<()> {
        #[expect(clippy::disallowed_methods, reason = "attempts are of no company")]
        let mut tx = app.db.system().await?;
        refund(&mut tx, &self.keys, &[]).await?;
        tx.commit().await
    }

    /// The password was right.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn succeeded(self, tx: &mut SystemTx) -> Result<()> {
        refund(tx, &self.keys, &self.forgiven).await
    }
}

async fn refund(tx: &mut SystemTx, keys: &[Vec<u8>], forgiven: &[Vec<u8>]) -> Result<()> {
    sqlx::query!("select refund_attempt($1, $2)", keys, forgiven)
        .execute(&mut **tx)
        .await?;
    Ok(())
}
