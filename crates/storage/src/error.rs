/// Why an operation on the store failed. No message carries a URL, a signature or a credential.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("the object does not exist")]
    NotFound,
    /// The ETag given is not the object's any more.
    #[error("the object is not the one expected")]
    PreconditionFailed,
    /// The network or the store itself; the same call may succeed later.
    #[error("the object store is unavailable: {0}")]
    Unavailable(String),
    /// The store refuses these credentials (or this clock).
    #[error("the object store refuses access: {0}")]
    Denied(String),
    /// The key cannot be written as a URL path that every server reads alike.
    #[error("not a usable object key: {0}")]
    InvalidKey(&'static str),
    /// Reading the local file that was to be sent.
    #[error("cannot read the content to store: {0}")]
    Content(String),
    #[error("the object store answered {status} {code}")]
    Refused { status: u16, code: String },
    #[error("the object store answered something unreadable: {0}")]
    Protocol(String),
}

impl Error {
    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    /// Whether it says something of the installation and nothing of the object: every other call would end alike,
    /// until somebody mends that.
    pub fn is_of_the_store(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::Denied(_) => true,
            Self::Refused { code, .. } => code == "NoSuchBucket",
            _ => false,
        }
    }

    /// The error that a response's status and S3 error code stand for.
    pub(crate) fn from_response(status: u16, code: String) -> Self {
        match (status, code.as_str()) {
            // A missing bucket is a fault of the installation, not an object that is gone.
            (404, "NoSuchBucket") => Self::Refused { status, code },
            (404, _) => Self::NotFound,
            (412, _) => Self::PreconditionFailed,
            (401 | 403, _) => Self::Denied(code),
            (501, _) => Self::Refused { status, code },
            (408 | 429 | 500.., _) | (409, "OperationAborted" | "ConditionalRequestConflict") => {
                Self::Unavailable(format!("{status} {code}"))
            }
            _ => Self::Refused { status, code },
        }
    }
}
