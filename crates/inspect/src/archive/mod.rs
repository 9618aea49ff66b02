//! ZIP archives and the Office documents built on them.
//!
//! Strict on purpose: readers of ZIP disagree about anything unusual, and what they disagree about is where
//! content hides. The entries must lie one after the other from the first byte to the directory, the directory
//! must reach to the end record and that to the end of the file.

mod directory;

use std::io::{self, Read};

use flate2::Crc;
use flate2::read::DeflateDecoder;
use memchr::memmem;

use crate::content;
use crate::kind::{Kind, executable, is_archive};
use crate::verdict::{Refusal, Rejected, reason};
use directory::Entry;

const MAX_ENTRIES: usize = 1_000;
const MAX_INFLATED: u64 = 100 * 1_000 * 1_000;
/// Inflated to compressed bytes, for all entries together.
const MAX_RATIO: u64 = 100;
/// Below this many inflated bytes the ratio does not matter: an empty sheet compresses well.
const RATIO_FROM: u64 = 1_000 * 1_000;
/// Parts of Office documents that are read as a whole.
const MAX_PART: u64 = 4 * 1_000 * 1_000;

/// Programs, scripts, shortcuts, disk images and active documents by name.
const ACTIVE_EXTENSIONS: &[&str] = &[
    "apk", "app", "bat", "chm", "class", "cmd", "com", "cpl", "dll", "dmg", "exe", "hta", "htm", "html",
    "img", "iso", "jar", "js", "jse", "lnk", "mht", "mhtml", "msi", "msp", "php", "ps1", "psm1", "reg",
    "scr", "sh", "svg", "swf", "sys", "url", "vb", "vbe", "vbs", "vhd", "wsf", "wsh", "xhtml", "xll", "docm",
    "dotm", "xlsm", "xltm", "xlam", "pptm", "xlsb",
];

/// How much there is to scan in an archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Inflated bytes of all entries.
    pub total: u64,
    /// Inflated bytes of the largest entry.
    pub largest: u64,
}

/// Looks into every entry.
///
/// # Errors
/// Whatever is wrong with the archive or one of its entries.
pub(crate) fn check(bytes: &[u8], kind: Kind) -> Result<Extent, Refusal> {
    let entries = directory::read(bytes, MAX_ENTRIES)?;
    let declared = entries.iter().map(|entry| u64::from(entry.inflated)).sum();
    check_volume(declared, bytes.len())?;
    check_document(&entries, kind)?;
    let mut extent = Extent::default();
    for entry in &entries {
        check_name(entry, kind)?;
        let inflated = inspect_entry(entry, kind)?;
        extent.total += inflated;
        extent.largest = extent.largest.max(inflated);
    }
    Ok(extent)
}

fn check_volume(inflated: u64, compressed: usize) -> Result<(), Rejected> {
    let ratio = inflated / (compressed.max(1) as u64);
    if inflated > MAX_INFLATED || (inflated > RATIO_FROM && ratio > MAX_RATIO) {
        let detail = format!("{inflated} bytes out of {compressed}");
        return Err(Rejected::new(reason::ARCHIVE_BOMB, detail));
    }
    Ok(())
}

fn check_name(entry: &Entry<'_>, kind: Kind) -> Result<(), Rejected> {
    let name = entry.name.to_ascii_lowercase();
    let active = if kind == Kind::Zip {
        let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
        ACTIVE_EXTENSIONS.contains(&extension)
    } else {
        false
    };
    // Macros, ActiveX controls, embedded programs and Excel 4 macro sheets.
    let part = ["vbaproject.bin", "/activex/", "oleobject", "/macrosheets/"];
    if active || part.iter().any(|part| name.contains(part)) {
        return Err(Rejected::new(
            reason::ACTIVE_CONTENT,
            format!("entry {:?}", entry.name),
        ));
    }
    Ok(())
}

/// Inflates an entry, counting: the declared size must be the true one.
fn inspect_entry(entry: &Entry<'_>, kind: Kind) -> Result<u64, Refusal> {
    let mut head = Vec::new();
    // As far as the farthest magic bytes of an archive, those of a disc image.
    entry
        .open()
        .take(33 * 1024)
        .read_to_end(&mut head)
        .map_err(|error| damaged(entry, &error))?;
    let refuse =
        |reason, what: &str| Err(Rejected::new(reason, format!("entry {:?} {what}", entry.name)).into());
    if let Some(program) = executable(&head) {
        return refuse(reason::EXECUTABLE, &format!("starts as {program}"));
    }
    if is_archive(&head) {
        return refuse(reason::ARCHIVE_NESTED, "is an archive");
    }
    // Office documents are made of XML.
    if kind == Kind::Zip
        && content::starts_as_markup(&head)
        && !entry.name.to_ascii_lowercase().ends_with(".xml")
    {
        return refuse(reason::ACTIVE_CONTENT, "starts as HTML, SVG or XML");
    }
    let mut counted = Counted {
        inner: entry.open(),
        count: 0,
        crc: Crc::new(),
    };
    content::check_malware(&mut counted).map_err(|refusal| match refusal {
        Refusal::Rejected(rejected) => damaged(entry, &rejected.detail).into(),
        infected @ Refusal::Infected { .. } => infected,
    })?;
    if counted.count != u64::from(entry.inflated) {
        return refuse(reason::ARCHIVE_BOMB, "inflates to another size than declared");
    }
    if counted.crc.sum() != entry.crc {
        return refuse(reason::MALFORMED, "does not match its checksum");
    }
    Ok(counted.count)
}

/// What makes the archive the document it is declared as, and what that document may load.
fn check_document(entries: &[Entry<'_>], kind: Kind) -> Result<(), Rejected> {
    let (main, content_type): (&str, &[u8]) = match kind {
        Kind::Xlsx => ("xl/workbook.xml", b"spreadsheetml.sheet.main+xml"),
        Kind::Docx => ("word/document.xml", b"wordprocessingml.document.main+xml"),
        _ if entries.iter().any(|entry| entry.name == "[Content_Types].xml") => {
            return Err(Rejected::new(
                reason::TYPE_MISMATCH,
                "an Office document declared as an archive",
            ));
        }
        _ => return Ok(()),
    };
    let types = entries
        .iter()
        .find(|entry| entry.name == "[Content_Types].xml")
        .map(part)
        .transpose()?;
    let found = types
        .as_deref()
        .is_some_and(|types| memmem::find(types, content_type).is_some());
    if !found || !entries.iter().any(|entry| entry.name == main) {
        return Err(Rejected::new(
            reason::TYPE_MISMATCH,
            format!("an archive without {main}"),
        ));
    }
    if types
        .as_deref()
        .is_some_and(|types| memmem::find(types, b"macroEnabled").is_some())
    {
        return Err(Rejected::new(reason::ACTIVE_CONTENT, "a document with macros"));
    }
    for entry in entries
        .iter()
        .filter(|entry| entry.name.to_ascii_lowercase().ends_with(".rels"))
    {
        let relations = part(entry)?.to_ascii_lowercase();
        // Loaded from elsewhere when the document is opened.
        let loads = |relation: &[u8]| memmem::find(&relations, relation).is_some();
        if loads(b"/attachedtemplate") || loads(b"/oleobject") {
            return Err(Rejected::new(
                reason::ACTIVE_CONTENT,
                format!("{:?} loads other content", entry.name),
            ));
        }
    }
    Ok(())
}

fn part(entry: &Entry<'_>) -> Result<Vec<u8>, Rejected> {
    let mut bytes = Vec::new();
    entry
        .open()
        .take(MAX_PART + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| damaged(entry, &error))?;
    if bytes.len() as u64 > MAX_PART {
        return Err(Rejected::new(
            reason::ARCHIVE_BOMB,
            format!("entry {:?} is too large", entry.name),
        ));
    }
    Ok(bytes)
}

fn damaged(entry: &Entry<'_>, error: &dyn std::fmt::Display) -> Rejected {
    Rejected::new(reason::MALFORMED, format!("entry {:?}: {error}", entry.name))
}

impl<'a> Entry<'a> {
    /// The inflated bytes, never more than one over the declared size.
    fn open(&self) -> impl Read + use<'a> {
        let inflated: Box<dyn Read + 'a> = if self.deflated {
            Box::new(DeflateDecoder::new(self.data))
        } else {
            Box::new(self.data)
        };
        inflated.take(u64::from(self.inflated) + 1)
    }
}

/// Counts and sums what passes.
struct Counted<R> {
    inner: R,
    count: u64,
    crc: Crc,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.count += count as u64;
        self.crc.update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}
