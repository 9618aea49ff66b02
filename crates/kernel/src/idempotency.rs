//! `Idempotency-Key`, as draft-ietf-httpapi-idempotency-key-header has it: a write that is sent again
//! with its key is answered again and not done again.
//!
//! The key's row is inserted by the transaction of the write and filled with the answer before its
//! commit. So there is no state "started" that a crash could leave behind: a request that failed left no
//! key, and whoever comes with a key that is being used waits on the primary key until it is decided.

use std::convert::Infallible;

use axum::body::{Body, HttpBody, to_bytes};
use axum::extract::FromRequestParts;
use axum::response::Response;
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode, header};
use jiff::SignedDuration;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::app::App;
use crate::caller::{Caller, UserCaller};
use crate::db::SystemTx;
use crate::error::{
    Error, IDEMPOTENCY_ANSWER_NOT_KEPT, IDEMPOTENCY_KEY_IN_USE, IDEMPOTENCY_KEY_INVALID,
    IDEMPOTENCY_KEY_REUSED, Result,
};
use crate::job::background_tx;
use crate::keys::{Digest32, mac, sha256};
use crate::types::Timestamp;

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// Longest key, in characters.
pub const MAX_KEY_CHARS: usize = 255;
/// Largest answer kept, in bytes. The write of a larger one counts; sent again, it is refused.
pub const MAX_ANSWER_BYTES: usize = 256 * 1024;
/// How long keys are kept at least.
pub const KEPT: SignedDuration = SignedDuration::from_hours(24);
/// Rows per statement of the purge: short locks.
const BATCH: i64 = 1000;

/// In the extensions of a response: it carries a secret that is shown once, so it is not kept for
/// replays. The request sent again is refused instead.
#[derive(Clone, Copy, Debug)]
pub struct ShownOnce;

/// A request with a key.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    scope: Scope,
    caller: Uuid,
    key_hash: Digest32,
    fingerprint: Digest32,
}

/// Whose data it writes.
#[derive(Clone, Copy, Debug)]
enum Scope {
    Company,
    /// What belongs to no company.
    User,
}

impl Attempt {
    /// Of a write of somebody who is known, with a key.
    ///
    /// # Errors
    /// `idempotency-key-invalid`.
    pub fn of(parts: &Parts, body: &[u8]) -> Result<Option<Attempt>> {
        let mut values = parts.headers.get_all(KEY).iter();
        let caller = match (
            parts.extensions.get::<Caller>(),
            parts.extensions.get::<UserCaller>(),
        ) {
            (Some(caller), _) => Some((Scope::Company, caller.id())),
            (None, Some(user)) => Some((Scope::User, user.user_id)),
            (None, None) => None,
        };
        let (Some(value), Some((scope, caller))) = (values.next(), caller) else {
            return Ok(None);
        };
        let key = value.to_str().ok().and_then(parse);
        let (Some(key), None) = (key, values.next()) else {
            return Err(Error::new(&IDEMPOTENCY_KEY_INVALID));
        };
        let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
        Ok(Some(Attempt {
            scope,
            caller,
            key_hash: sha256(key.as_bytes()),
            // Only against confusion: what is compared is the client's own.
            fingerprint: mac(&[], &[parts.method.as_str().as_bytes(), target.as_bytes(), body]),
        }))
    }

    /// Takes the key for this transaction. Returns the answer of the request that had it before.
    ///
    /// # Errors
    /// `idempotency-key-in-use` when a request with the key still runs after the time that a lock is
    /// waited for, `idempotency-key-reused`, `idempotency-answer-not-kept`, or those of the database.
    pub async fn claim(&self, conn: &mut PgConnection) -> Result<Option<Response>> {
        let claimed = match self.scope {
            Scope::Company => of_companies::claim(self, &mut *conn).await,
            Scope::User => of_users::claim(self, &mut *conn).await,
        };
        match claimed {
            Ok(1) => Ok(None),
            Ok(_) => self.answer(conn).await.map(Some),
            Err(error) if is_lock_timeout(&error) => Err(in_use()),
            Err(error) => Err(error.into()),
        }
    }

    async fn answer(&self, conn: &mut PgConnection) -> Result<Response> {
        let kept = match self.scope {
            Scope::Company => of_companies::find(self, conn).await?,
            Scope::User => of_users::find(self, conn).await?,
        };
        // Purged just now: it is free again.
        let kept = kept.ok_or_else(in_use)?;
        if kept.fingerprint != self.fingerprint {
            return Err(Error::new(&IDEMPOTENCY_KEY_REUSED));
        }
        let status = kept.status.and_then(|status| u16::try_from(status).ok());
        let status = status.and_then(|status| StatusCode::from_u16(status).ok());
        let mut response = Response::new(Body::from(kept.body.unwrap_or_default()));
        *response.status_mut() = status.ok_or(&IDEMPOTENCY_ANSWER_NOT_KEPT)?;
        let headers = response.headers_mut();
        headers.insert(REPLAYED, HeaderValue::from_static("true"));
        for (name, value) in [
            (header::CONTENT_TYPE, kept.content_type),
            (header::ETAG, kept.etag),
            (header::LOCATION, kept.location),
        ] {
            let value = value.and_then(|value| HeaderValue::try_from(value).ok());
            headers.extend(value.map(|value| (name, value)));
        }
        Ok(response)
    }

    /// Adds the answer to the claimed key, unless it is too large or shown once.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn keep(&self, conn: &mut PgConnection, response: Response) -> Result<Response> {
        let (parts, body) = response.into_parts();
        let size = body.size_hint().exact();
        let fits = size.is_some_and(|bytes| bytes <= MAX_ANSWER_BYTES as u64);
        if !fits || parts.extensions.get::<ShownOnce>().is_some() {
            return Ok(Response::from_parts(parts, body));
        }
        let body = to_bytes(body, MAX_ANSWER_BYTES).await.map_err(Error::internal)?;
        let text = |name: HeaderName| {
            let value = parts.headers.get(name).and_then(|value| value.to_str().ok());
            value.map(ToOwned::to_owned)
        };
        let kept = Kept {
            fingerprint: self.fingerprint.to_vec(),
            status: Some(i16::try_from(parts.status.as_u16()).map_err(Error::internal)?),
            content_type: text(header::CONTENT_TYPE),
            etag: text(header::ETAG),
            location: text(header::LOCATION),
            body: Some(body.to_vec()),
        };
        match self.scope {
            Scope::Company => of_companies::keep(self, &kept, conn).await?,
            Scope::User => of_users::keep(self, &kept, conn).await?,
        }
        Ok(Response::from_parts(parts, Body::from(body)))
    }
}

/// What a row holds.
struct Kept {
    fingerprint: Vec<u8>,
    status: Option<i16>,
    content_type: Option<String>,
    etag: Option<String>,
    location: Option<String>,
    body: Option<Vec<u8>>,
}

/// The statements on one table of keys.
macro_rules! keys {
    ($name:ident, $table:literal) => {
        mod $name {
            use sqlx::PgConnection;

            use super::{Attempt, Kept};

            pub async fn claim(attempt: &Attempt, conn: &mut PgConnection) -> sqlx::Result<u64> {
                let claimed = sqlx::query!(
                    "insert into "
                        + $table
                        + " (caller_id, key_hash, fingerprint) values ($1, $2, $3) on conflict do nothing",
                    attempt.caller,
                    &attempt.key_hash[..],
                    &attempt.fingerprint[..]
                );
                Ok(claimed.execute(conn).await?.rows_affected())
            }

            pub async fn find(attempt: &Attempt, conn: &mut PgConnection) -> sqlx::Result<Option<Kept>> {
                let found = sqlx::query_as!(
                    Kept,
                    "select fingerprint, status, content_type, etag, location, body from "
                        + $table
                        + " where caller_id = $1 and key_hash = $2",
                    attempt.caller,
                    &attempt.key_hash[..]
                );
                found.fetch_optional(conn).await
            }

            pub async fn keep(attempt: &Attempt, kept: &Kept, conn: &mut PgConnection) -> sqlx::Result<()> {
                let kept = sqlx::query!(
                    "update "
                        + $table
                        + " set status = $3, content_type = $4, etag = $5, location = $6, body = $7
                           where caller_id = $1 and key_hash = $2",
                    attempt.caller,
                    &attempt.key_hash[..],
                    kept.status,
                    kept.content_type.as_deref(),
                    kept.etag.as_deref(),
                    kept.location.as_deref(),
                    kept.body.as_deref()
                );
                kept.execute(conn).await.map(drop)
            }
        }
    };
}
keys!(of_companies, "idempotency_keys");
keys!(of_users, "user_idempotency_keys");

/// The idempotency key of a user's request, if it has one: for handlers whose write belongs to no company. They
/// claim it first and keep their answer before they commit.
#[derive(Clone, Debug)]
pub struct UserKey(Option<Attempt>);

impl UserKey {
    /// Takes the key for this transaction. Returns the answer of the request that had it before.
    ///
    /// # Errors
    /// As with business data: the key is in use or was used for something else, or those of the database.
    pub async fn claim(&self, tx: &mut SystemTx) -> Result<Option<Response>> {
        match &self.0 {
            Some(attempt) => attempt.claim(tx).await,
            None => Ok(None),
        }
    }

    /// Adds the answer to the claimed key.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn keep(&self, tx: &mut SystemTx, response: Response) -> Result<Response> {
        match &self.0 {
            Some(attempt) => attempt.keep(tx, response).await,
            None => Ok(response),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for UserKey {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<UserKey, Infallible> {
        Ok(UserKey(parts.extensions.get::<Attempt>().cloned()))
    }
}

fn in_use() -> Error {
    Error::new(&IDEMPOTENCY_KEY_IN_USE).retry_after(1)
}

fn is_lock_timeout(error: &sqlx::Error) -> bool {
    let code = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code);
    code.as_deref() == Some("55P03")
}

/// The key in the header: a structured field's string (RFC 9651), or the same characters bare, which
/// most clients send. A comma there would be two headers that a proxy has joined.
fn parse(value: &str) -> Option<String> {
    let key = match value.strip_prefix('"') {
        Some(quoted) => unquoted(quoted)?,
        None if value
            .bytes()
            .all(|b| b.is_ascii_graphic() && !b"\",\\".contains(&b)) =>
        {
            value.to_owned()
        }
        None => return None,
    };
    (1..=MAX_KEY_CHARS).contains(&key.len()).then_some(key)
}

/// What stands between the quotes, the first of which is gone already.
fn unquoted(text: &str) -> Option<String> {
    let mut key = String::new();
    let mut chars = text.chars();
    loop {
        match chars.next()? {
            '"' => return chars.next().is_none().then_some(key),
            '\\' => key.push(chars.next().filter(|c| "\"\\".contains(*c))?),
            c @ ' '..='~' => key.push(c),
            _ => return None,
        }
    }
}

/// Deletes a company's keys that were kept long enough. Returns how many.
///
/// # Errors
/// Those of the database; what was deleted before stays deleted.
pub async fn purge(app: &App, company: Uuid) -> Result<u64> {
    let before = Timestamp(app.clock.now() - KEPT);
    let mut purged = 0;
    loop {
        let mut tx = background_tx(app, company).await?;
        let batch = sqlx::query!(
            "delete from idempotency_keys where (caller_id, key_hash) in
               (select caller_id, key_hash from idempotency_keys where created_at < $1 limit $2)",
            before as _,
            BATCH
        );
        let batch = batch.execute(&mut *tx).await?.rows_affected();
        tx.commit().await?;
        purged += batch;
        if batch < BATCH as u64 {
            return Ok(purged);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_strings_of_structured_fields_or_bare() {
        let longest = "k".repeat(MAX_KEY_CHARS);
        for (value, key) in [
            (
                "8e03978e-40d5-43dd-bc93-6894a57f9324",
                "8e03978e-40d5-43dd-bc93-6894a57f9324",
            ),
            ("\"8e03978e\"", "8e03978e"),
            ("\"two words\"", "two words"),
            ("\"a \\\" and a \\\\\"", "a \" and a \\"),
            (&longest, &longest),
        ] {
            assert_eq!(parse(value).as_deref(), Some(key), "{value}");
        }
        let too_long = "k".repeat(MAX_KEY_CHARS + 1);
        for value in [
            "",
            "\"\"",
            "two words",
            "\"",
            "\"open",
            "\"a\"b",
            "\"a\";p=1",
            "\"\\n\"",
            "a,b",
            "a\"b",
            "a\\b",
            "ñ",
            "\"ñ\"",
            "\"tab\t\"",
            &too_long,
            &format!("\"{too_long}\""),
        ] {
            assert_eq!(parse(value), None, "{value}");
        }
    }
}
