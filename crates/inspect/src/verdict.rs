//! What an inspection can come to.

use jiff::civil::DateTime;

/// The stable codes of [`Rejected::reason`].
pub mod reason {
    /// No bytes at all.
    pub const EMPTY: &str = "empty";
    /// More bytes than any upload may have.
    pub const TOO_LARGE: &str = "too-large";
    /// No type that is accepted anywhere.
    pub const UNKNOWN_TYPE: &str = "unknown-type";
    /// The content is of another type than declared.
    pub const TYPE_MISMATCH: &str = "type-mismatch";
    /// The name ends otherwise than names of that type do.
    pub const EXTENSION_MISMATCH: &str = "extension-mismatch";
    /// A program or script.
    pub const EXECUTABLE: &str = "executable";
    /// Markup, scripts, macros, actions, or an archive inside another type.
    pub const ACTIVE_CONTENT: &str = "active-content";
    /// Bytes after the end of the image or document.
    pub const TRAILING_DATA: &str = "trailing-data";
    /// Truncated or damaged: it does not parse or decode.
    pub const MALFORMED: &str = "malformed";
    /// More pixels, frames or decoded bytes than allowed.
    pub const IMAGE_TOO_LARGE: &str = "image-too-large";
    /// Archive that inflates beyond the limits, or whose entries overlap.
    pub const ARCHIVE_BOMB: &str = "archive-bomb";
    /// Archive in an archive.
    pub const ARCHIVE_NESTED: &str = "archive-nested";
    /// Entry names that leave the directory, symbolic links, duplicates.
    pub const ARCHIVE_NAMES: &str = "archive-names";
    /// Cannot be looked into: encrypted, or beyond the limits of the scanner.
    pub const UNSCANNABLE: &str = "unscannable";
    /// The inspection took longer than it may.
    pub const TOO_SLOW: &str = "too-slow";

    /// Every code there is.
    pub const ALL: &[&str] = &[
        EMPTY,
        TOO_LARGE,
        UNKNOWN_TYPE,
        TYPE_MISMATCH,
        EXTENSION_MISMATCH,
        EXECUTABLE,
        ACTIVE_CONTENT,
        TRAILING_DATA,
        MALFORMED,
        IMAGE_TOO_LARGE,
        ARCHIVE_BOMB,
        ARCHIVE_NESTED,
        ARCHIVE_NAMES,
        UNSCANNABLE,
        TOO_SLOW,
    ];
}

/// The outcome of an inspection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The bytes may be kept.
    Clean(Clean),
    /// The bytes must not be kept.
    Rejected(Rejected),
    /// The bytes must not be kept: malware of that name.
    Infected { name: String },
}

/// Who looks for malware.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scanner {
    /// As [`Clean::scanned_by`].
    pub name: String,
    /// When its official signatures were made, by its own local time; `None` where it has none.
    pub signatures_made: Option<DateTime>,
}

/// What is known of a file that may be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clean {
    /// The media type by content, canonical, without parameters.
    pub content_type: &'static str,
    /// `clamd 1.4.6/27800`, or `builtin-content-check` without clamd.
    pub scanned_by: String,
    /// For images.
    pub image: Option<ImageInfo>,
}

/// Size in pixels, as displayed: after the orientation of the metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageInfo {
    pub width: u32,
    pub height: u32,
}

/// Why a file is not kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {detail}")]
pub struct Rejected {
    /// One of [`reason::ALL`].
    pub reason: &'static str,
    /// For logs and operators, in English; may quote the file's own names.
    pub detail: String,
}

impl Rejected {
    pub(crate) fn new(reason: &'static str, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: detail.into(),
        }
    }
}

/// No verdict could be had. This never stands for clean.
#[derive(Debug, thiserror::Error)]
pub enum NoVerdict {
    /// clamd is down or without a database, or the local file could not be read: try again later.
    #[error("no verdict: {0}")]
    Unavailable(String),
    /// clamd was there, and failed or did not end while it looked at this file. It may have been stopped meanwhile;
    /// happening again and again it is the file.
    #[error("no verdict on this file: {0}")]
    Failed(String),
}

/// Why a local check ends early.
#[derive(Debug)]
pub(crate) enum Refusal {
    Rejected(Rejected),
    Infected { name: String },
}

impl From<Rejected> for Refusal {
    fn from(rejected: Rejected) -> Self {
        Self::Rejected(rejected)
    }
}

impl From<Refusal> for Verdict {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Rejected(rejected) => Self::Rejected(rejected),
            Refusal::Infected { name } => Self::Infected { name },
        }
    }
}
