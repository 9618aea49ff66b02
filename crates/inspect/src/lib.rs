//! Whether uploaded bytes may be kept: type, structure, content, malware. Knows no database and no object store.
//!
//! An [`Inspector`] looks at a local file and gives a [`Verdict`]. The built-in checks come first and always: the
//! content must be of the declared type and nothing besides, archives and documents must not act, images must decode
//! within limits of pixels, memory and time. Then clamd scans it, where one is set. A scanner that does not answer
//! is an error to try again after, never a pass.

mod archive;
mod clamd;
mod config;
mod content;
mod cursor;
mod images;
mod kind;
mod pdf;
mod verdict;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use archive::Extent;
use clamd::Clamd;
use kind::{Family, Kind};

pub use config::{ConfigError, InspectConfig};
pub use images::Thumbnail;
use verdict::Refusal;
pub use verdict::{Clean, ImageInfo, NoVerdict, Rejected, Scanner, Verdict, reason};

/// Largest file that is looked at, in bytes: it is read into memory.
pub const MAX_BYTES: u64 = 64 * 1024 * 1024;
/// [`Clean::scanned_by`] without clamd.
pub const BUILTIN: &str = "builtin-content-check";
/// How long looking at one file may take, waiting for its turn not included.
const TIME_LIMIT: Duration = Duration::from_secs(20);

/// Whether a file of this media type may have this name: what is refused here, [`Inspector::inspect`] refuses whatever
/// the bytes are.
///
/// # Errors
/// `unknown-type`, `extension-mismatch`.
pub fn check_name(declared_type: &str, filename: &str) -> Result<(), Rejected> {
    Kind::declared(declared_type)?.check_extension(filename)
}

/// Looks at files; clones share the limits.
#[derive(Clone, Debug)]
pub struct Inspector {
    clamd: Option<Clamd>,
    /// One file at a time: that bounds the memory of the process.
    turn: Arc<Semaphore>,
}

impl Inspector {
    /// # Errors
    /// A setting that does not fit.
    pub fn new(config: &InspectConfig) -> Result<Self, ConfigError> {
        Ok(Self {
            clamd: config.clamd()?.map(Clamd::new),
            turn: Arc::new(Semaphore::new(1)),
        })
    }

    /// Bytes of the largest file that is scanned; none without a scanner that has a limit.
    pub fn largest(&self) -> Option<u64> {
        self.clamd.as_ref().map(|clamd| clamd.max_bytes)
    }

    /// Who scans now. For readiness.
    ///
    /// # Errors
    /// clamd does not answer.
    pub async fn scanner(&self) -> Result<Scanner, NoVerdict> {
        match &self.clamd {
            Some(clamd) => clamd.version().await,
            None => Ok(Scanner {
                name: BUILTIN.to_owned(),
                signatures_made: None,
            }),
        }
    }

    /// Whether who scans now scans at all.
    ///
    /// # Errors
    /// clamd does not.
    pub async fn try_scanner(&self) -> Result<(), NoVerdict> {
        match &self.clamd {
            Some(clamd) => clamd.try_scan().await,
            None => Ok(()),
        }
    }

    /// Whether the bytes of a local file, which nobody else writes to, may be kept.
    ///
    /// The media type and the name are those that the uploader declared.
    ///
    /// # Errors
    /// No verdict could be had.
    pub async fn inspect(
        &self,
        file: &Path,
        declared_type: &str,
        filename: &str,
    ) -> Result<Verdict, NoVerdict> {
        let (path, declared, name) = (file.to_owned(), declared_type.to_owned(), filename.to_owned());
        let examined = self
            .in_turn(move |deadline| examine(&path, &declared, &name, deadline))
            .await;
        let examined = match examined {
            Ok(examined) => examined,
            Err(Stopped::Refused(refusal)) => return Ok(refusal.into()),
            Err(Stopped::Unread(error)) => {
                return Err(NoVerdict::Unavailable(format!("reading the file: {error}")));
            }
        };
        let scanned_by = match &self.clamd {
            None => BUILTIN.to_owned(),
            Some(clamd) => match measured(clamd.scan(file, examined.size, examined.archive)).await? {
                Ok(scanner) => scanner,
                Err(refusal) => return Ok(refusal.into()),
            },
        };
        let content_type = examined.kind.content_type();
        Ok(Verdict::Clean(Clean {
            content_type,
            scanned_by,
            image: examined.image,
        }))
    }

    /// Thumbnails of an image that was found clean, the smallest first.
    ///
    /// # Errors
    /// The file is no image, or exceeds the limits of one.
    pub async fn thumbnails(&self, file: &Path) -> Result<Vec<Thumbnail>, Rejected> {
        let path = file.to_owned();
        let made = self.in_turn(move |_| {
            let bytes = read(&path)?;
            let Family::Image(format) = Family::sniff(&bytes)? else {
                return Err(Rejected::new(reason::TYPE_MISMATCH, "no image").into());
            };
            let header = images::check_header(&bytes, format)?;
            drop(bytes);
            Ok(images::thumbnails(header, &path)?)
        });
        made.await.map_err(|stopped| match stopped {
            Stopped::Refused(Refusal::Rejected(rejected)) => rejected,
            Stopped::Refused(Refusal::Infected { name }) => Rejected::new(reason::UNSCANNABLE, name),
            Stopped::Unread(error) => Rejected::new(reason::MALFORMED, error.to_string()),
        })
    }

    /// Runs a check when its turn comes, on a thread that may block. A check that outlives its time keeps its turn
    /// until it ends, so that no two ever add up.
    async fn in_turn<T: Send + 'static>(
        &self,
        check: impl FnOnce(Instant) -> Result<T, Stopped> + Send + 'static,
    ) -> Result<T, Stopped> {
        let turn = Arc::clone(&self.turn)
            .acquire_owned()
            .await
            .map_err(io::Error::other)?;
        let running = spawn_blocking(move || {
            let result = check(Instant::now() + TIME_LIMIT);
            drop(turn);
            result
        });
        match tokio::time::timeout(TIME_LIMIT, running).await {
            Ok(Ok(result)) => result,
            // A decoder that panics has met a file that it should not have to decode.
            Ok(Err(error)) if error.is_panic() => {
                Err(Rejected::new(reason::MALFORMED, "the decoder gave up").into())
            }
            Ok(Err(error)) => Err(io::Error::other(error).into()),
            Err(_) => {
                Err(Rejected::new(reason::TOO_SLOW, format!("more than {} s", TIME_LIMIT.as_secs())).into())
            }
        }
    }
}

/// Tells how long a scan took.
async fn measured(
    scan: impl Future<Output = Result<Result<String, Refusal>, NoVerdict>>,
) -> Result<Result<String, Refusal>, NoVerdict> {
    let started = Instant::now();
    let scanned = scan.await;
    let outcome = match &scanned {
        Ok(Ok(_)) => "clean",
        Ok(Err(_)) => "refused",
        Err(_) => "unavailable",
    };
    metrics::histogram!("ally360_scan_duration_seconds", "outcome" => outcome).record(started.elapsed());
    scanned
}

/// What the built-in checks learnt about a file that passed them.
struct Examined {
    kind: Kind,
    size: u64,
    archive: Extent,
    image: Option<ImageInfo>,
}

/// Why the built-in checks ended early.
enum Stopped {
    Refused(Refusal),
    /// The local file could not be read, which says nothing about its content.
    Unread(io::Error),
}

impl From<Refusal> for Stopped {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Rejected> for Stopped {
    fn from(rejected: Rejected) -> Self {
        Self::Refused(rejected.into())
    }
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        Self::Unread(error)
    }
}

fn examine(path: &Path, declared: &str, filename: &str, deadline: Instant) -> Result<Examined, Stopped> {
    let bytes = read(path)?;
    content::check_malware(&*bytes)?;
    let family = Family::sniff(&bytes)?;
    let kind = Kind::declared(declared)?;
    if !family.includes(kind) {
        let detail = format!("{family:?} declared as {}", kind.content_type());
        return Err(Rejected::new(reason::TYPE_MISMATCH, detail).into());
    }
    kind.check_extension(filename)?;
    let mut examined = Examined {
        kind,
        size: bytes.len() as u64,
        archive: Extent::default(),
        image: None,
    };
    match kind {
        Kind::Image(format) => {
            let header = images::check_header(&bytes, format)?;
            content::check_passive(&bytes)?;
            drop(bytes);
            examined.image = Some(header.decode(path, deadline)?);
        }
        Kind::Pdf => pdf::check(&bytes)?,
        Kind::Zip | Kind::Xlsx | Kind::Docx => examined.archive = archive::check(&bytes, kind)?,
        Kind::Csv | Kind::Text => content::check_text(&bytes)?,
    }
    Ok(examined)
}

/// All bytes of a file that is neither empty nor too large.
fn read(path: &Path) -> Result<Vec<u8>, Stopped> {
    match std::fs::metadata(path)?.len() {
        0 => Err(Rejected::new(reason::EMPTY, "no bytes").into()),
        size if size > MAX_BYTES => Err(Rejected::new(reason::TOO_LARGE, format!("{size} bytes")).into()),
        _ => Ok(std::fs::read(path)?),
    }
}
