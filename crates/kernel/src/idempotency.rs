//! `Idempotency-Key`, as draft-ietf-httpapi-idempotency-key-header has it: a write that is sent again
//! with its key is answered again and not done again.
//!
//! The key's row is inserted by the transaction of the write and filled with the answer before its
//! commit. So there is no state "started" that a crash could leave behind: a request that failed left no
//! key, and whoever comes with a key that is being used waits on the primary key until it is decided.

use axum::body::{Body, HttpBody, to_bytes};
use axum::response::Response;
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode, header};
use jiff::SignedDuration;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::app::App;
use crate::caller::Caller;
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
    caller: Uuid,
    key_hash: Digest32,
    fingerprint: Digest32,
}

impl Attempt {
    /// Of a write on business data that has a key.
    ///
    /// # Errors
    /// `idempotency-key-invalid`.
    pub fn of(parts: &Parts, body: &[u8]) -> Result<Option<Attempt>> {
        let mut values = parts.headers.get_all(KEY).iter();
        let (Some(value), Some(caller)) = (values.next(), parts.extensions.get::<Caller>()) else {
            return Ok(None);
        };
        let key = value.to_str().ok().and_then(parse);
        let (Some(key), None) = (key, values.next()) else {
            return Err(Error::new(&IDEMPOTENCY_KEY_INVALID));
        };
        let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
        Ok(Some(Attempt {
            caller: caller.id(),
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
        let claimed = sqlx::query!(
            "insert into idempotency_keys (caller_id, key_hash, fingerprint) values ($1, $2, $3) on conflict do nothing",
            self.caller,
            &self.key_hash[..],
            &self.fingerprint[..]
        );
        match claimed.execute(&mut *conn).await {
            Ok(done) if done.rows_affected() == 1 => Ok(None),
            Ok(_) => self.answer(conn).await.map(Some),
            Err(error) if is_lock_timeout(&error) => Err(in_use()),
            Err(error) => Err(error.into()),
        }
    }

    async fn answer(&self, conn: &mut PgConnection) -> Result<Response> {
        let found = sqlx::query!(
            "select fingerprint, status, content_type, etag, location, body from idempotency_keys
              where caller_id = $1 and key_hash = $2",
            self.caller,
            &self.key_hash[..]
        );
        // Purged just now: it is free again.
        let found = found.fetch_optional(conn).await?.ok_or_else(in_use)?;
        if found.fingerprint != self.fingerprint {
            return Err(Error::new(&IDEMPOTENCY_KEY_REUSED));
        }
        let status = found.status.and_then(|status| u16::try_from(status).ok());
        let status = status.and_then(|status| StatusCode::from_u16(status).ok());
        let mut response = Response::new(Body::from(found.body.unwrap_or_default()));
        *response.status_mut() = status.ok_or(&IDEMPOTENCY_ANSWER_NOT_KEPT)?;
        let headers = response.headers_mut();
        headers.insert(REPLAYED, HeaderValue::from_static("true"));
        for (name, value) in [
            (header::CONTENT_TYPE, found.content_type),
            (header::ETAG, found.etag),
            (header::LOCATION, found.location),
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
        let text = |name: HeaderName| parts.headers.get(name).and_then(|value| value.to_str().ok());
        sqlx::query!(
            "update idempotency_keys set status = $3, content_type = $4, etag = $5, location = $6, body = $7
              where caller_id = $1 and key_hash = $2",
            self.caller,
            &self.key_hash[..],
            i16::try_from(parts.status.as_u16()).map_err(Error::internal)?,
            text(header::CONTENT_TYPE),
            text(header::ETAG),
            text(header::LOCATION),
            &body[..]
        )
        .execute(conn)
        .await?;
        Ok(Response::from_parts(parts, Body::from(body)))
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
