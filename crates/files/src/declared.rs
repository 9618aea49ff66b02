//! What a client declares of the bytes that it is going to send: checked, and signed into the upload's URL, so that
//! the store itself refuses anything else.

use std::time::Duration;

use inspect::Rejected;
use jiff::SignedDuration;
use kernel::app::App;
use kernel::config::Environment;
use kernel::error::MISCONFIGURED;
use kernel::prelude::*;
use storage::{Presigned, PutConditions};

use crate::Files;

pub(crate) const TYPE_NOT_ALLOWED: Code = Code::new(
    422,
    "file-type-not-allowed",
    "The module does not take files of this type",
);
pub(crate) const EXTENSION_MISMATCH: Code = Code::new(
    422,
    "file-extension-mismatch",
    "The name does not end as names of files of this type do",
);
pub(crate) const TOO_LARGE: Code = Code::new(
    422,
    "file-too-large",
    "The file is larger than the module or the plan allows",
);

/// A media type, and size in bytes and checksum where they are known beforehand.
pub(crate) struct Declared<'a> {
    pub content_type: &'a str,
    pub size: Option<i64>,
    pub sha256: Option<[u8; 32]>,
}

impl Declared<'_> {
    /// # Errors
    /// `file-type-not-allowed` for a type that is not taken.
    pub fn check_type(&self, taken: &[impl AsRef<str>]) -> Result<()> {
        let taken: Vec<&str> = taken.iter().map(AsRef::as_ref).collect();
        if taken.contains(&self.content_type) {
            return Ok(());
        }
        let taken = format!("taken are {}", taken.join(", "));
        Err(Error::new(&TYPE_NOT_ALLOWED).at("/content_type").detail(taken))
    }

    /// # Errors
    /// `file-extension-mismatch` for a name with which no bytes would be found in order.
    pub fn check_name(&self, filename: &str) -> Result<()> {
        let mismatch = |rejected: Rejected| {
            let error = Error::new(&EXTENSION_MISMATCH).at("/filename");
            error.detail(rejected.detail)
        };
        inspect::check_name(self.content_type, filename).map_err(mismatch)
    }

    /// # Errors
    /// `file-too-large` when more than `most` bytes are declared.
    pub fn check_size(&self, most: i64) -> Result<()> {
        if self.size.is_none_or(|size| size <= most) {
            return Ok(());
        }
        let most = format!("at most {most} bytes");
        Err(Error::new(&TOO_LARGE).at("/size").detail(most))
    }

    /// The request that writes the quarantine's key, and until when it may begin.
    ///
    /// # Errors
    /// `misconfigured` in production when the store would give more for the URL than an upload; and when the key is none.
    pub fn presign(&self, app: &App, files: &Files, key: &str) -> Result<(Presigned, Timestamp)> {
        if files.storage.upload_urls_are_loose() && app.config.environment == Environment::Production {
            tracing::error!("{}", crate::LOOSE_UPLOAD_URLS);
            return Err(Error::new(&MISCONFIGURED));
        }
        let conditions = PutConditions {
            content_type: Some(self.content_type.to_owned()),
            content_length: self.size.and_then(|size| u64::try_from(size).ok()),
            sha256: self.sha256,
            create_only: false,
            expires: files.config.upload_url(),
        };
        let presigned = files.storage.presign_put(key, &conditions);
        Ok((
            presigned.map_err(Error::internal)?,
            expiry(app, conditions.expires),
        ))
    }
}

/// Until when a URL signed now works; signatures know whole seconds.
pub(crate) fn expiry(app: &App, lifetime: Duration) -> Timestamp {
    let now = app.clock.now();
    let begun = SignedDuration::from_nanos(now.subsec_nanosecond().into());
    Timestamp(now - begun + SignedDuration::try_from(lifetime).unwrap_or_default())
}

/// A checksum as requests carry it.
pub(crate) fn hexadecimal(value: &str, _: &()) -> garde::Result {
    if value.len() == 64 && value.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(());
    }
    Err(garde::Error::new("pattern: 64 hexadecimal digits"))
}

/// The bytes of what [`hexadecimal`] accepted.
pub(crate) fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(bytes)
}
