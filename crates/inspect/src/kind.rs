//! Types by content: the accepted ones, and whether the declared type and the name agree.

use image::ImageFormat;

use crate::content;
use crate::verdict::{Rejected, reason};

/// The types that may be uploaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Image(ImageFormat),
    Pdf,
    Zip,
    Xlsx,
    Docx,
    Csv,
    Text,
}

const JPEG: Kind = Kind::Image(ImageFormat::Jpeg);
const PNG: Kind = Kind::Image(ImageFormat::Png);
const WEBP: Kind = Kind::Image(ImageFormat::WebP);
const GIF: Kind = Kind::Image(ImageFormat::Gif);

/// Kind, media type, extensions.
const TABLE: &[(Kind, &str, &[&str])] = &[
    (JPEG, "image/jpeg", &["jpg", "jpeg", "jpe", "jfif"]),
    (PNG, "image/png", &["png"]),
    (WEBP, "image/webp", &["webp"]),
    (GIF, "image/gif", &["gif"]),
    (Kind::Pdf, "application/pdf", &["pdf"]),
    (Kind::Zip, "application/zip", &["zip"]),
    (
        Kind::Xlsx,
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        &["xlsx"],
    ),
    (
        Kind::Docx,
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        &["docx"],
    ),
    (Kind::Csv, "text/csv", &["csv"]),
    (Kind::Text, "text/plain", &["txt"]),
];

/// Other names of accepted types that browsers send.
const ALIASES: &[(&str, &str)] = &[
    ("image/jpg", "image/jpeg"),
    ("image/pjpeg", "image/jpeg"),
    ("application/x-zip-compressed", "application/zip"),
];

impl Kind {
    pub fn content_type(self) -> &'static str {
        TABLE
            .iter()
            .find(|(kind, ..)| *kind == self)
            .map_or("application/octet-stream", |(_, name, _)| name)
    }

    /// The kind that a declared media type stands for; parameters such as `charset` do not count.
    pub fn declared(media_type: &str) -> Result<Self, Rejected> {
        let essence = media_type
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        let canonical = ALIASES
            .iter()
            .find(|(alias, _)| *alias == essence)
            .map_or(&*essence, |(_, name)| name);
        TABLE
            .iter()
            .find(|(_, name, _)| *name == canonical)
            .map(|(kind, ..)| *kind)
            .ok_or_else(|| Rejected::new(reason::UNKNOWN_TYPE, format!("{essence} is not accepted")))
    }

    /// Whether a file name ends as names of this kind do.
    pub fn check_extension(self, filename: &str) -> Result<(), Rejected> {
        let extension = filename
            .rsplit_once('.')
            .map_or("", |(_, extension)| extension)
            .to_ascii_lowercase();
        let known = TABLE
            .iter()
            .find(|(kind, ..)| *kind == self)
            .map_or(&[][..], |(.., extensions)| extensions);
        if known.contains(&&*extension) {
            return Ok(());
        }
        let detail = format!("names of {} end in .{}", self.content_type(), known.join(", ."));
        Err(Rejected::new(reason::EXTENSION_MISMATCH, detail))
    }
}

/// What the first bytes, or all of them for text, say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Image(ImageFormat),
    Pdf,
    /// ZIP, and what is built on it.
    Zip,
    /// CSV and plain text cannot be told apart.
    Text,
}

impl Family {
    /// # Errors
    /// `executable`, `active-content` for markup, `unknown-type`.
    pub fn sniff(bytes: &[u8]) -> Result<Self, Rejected> {
        if let Some(program) = executable(bytes) {
            return Err(Rejected::new(reason::EXECUTABLE, format!("starts as {program}")));
        }
        let is = |magic: &[u8]| bytes.starts_with(magic);
        if is(b"\xff\xd8\xff") {
            Ok(Self::Image(ImageFormat::Jpeg))
        } else if is(b"\x89PNG\r\n\x1a\n") {
            Ok(Self::Image(ImageFormat::Png))
        } else if is(b"GIF87a") || is(b"GIF89a") {
            Ok(Self::Image(ImageFormat::Gif))
        } else if is(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
            Ok(Self::Image(ImageFormat::WebP))
        } else if is(b"%PDF-") {
            Ok(Self::Pdf)
        } else if is(b"PK\x03\x04") || is(b"PK\x05\x06") {
            Ok(Self::Zip)
        } else if content::starts_as_markup(bytes) {
            Err(Rejected::new(
                reason::ACTIVE_CONTENT,
                "starts as HTML, SVG or XML",
            ))
        } else if content::is_text(bytes) {
            Ok(Self::Text)
        } else {
            Err(Rejected::new(
                reason::UNKNOWN_TYPE,
                "no accepted type starts like this",
            ))
        }
    }

    /// Whether a file of this family can be of that kind.
    pub fn includes(self, kind: Kind) -> bool {
        match self {
            Self::Image(format) => kind == Kind::Image(format),
            Self::Pdf => kind == Kind::Pdf,
            Self::Zip => matches!(kind, Kind::Zip | Kind::Xlsx | Kind::Docx),
            Self::Text => matches!(kind, Kind::Csv | Kind::Text),
        }
    }
}

/// What sort of program the bytes start as.
pub(crate) fn executable(bytes: &[u8]) -> Option<&'static str> {
    const MAGIC: &[(&[u8], &str)] = &[
        (b"\x7fELF", "an ELF program"),
        (b"\xfe\xed\xfa\xce", "a Mach-O program"),
        (b"\xfe\xed\xfa\xcf", "a Mach-O program"),
        (b"\xce\xfa\xed\xfe", "a Mach-O program"),
        (b"\xcf\xfa\xed\xfe", "a Mach-O program"),
        (b"\xca\xfe\xba\xbe", "a Java class or universal Mach-O program"),
        (b"dex\n", "an Android program"),
        (b"\0asm", "a WebAssembly program"),
        (b"L\0\0\0\x01\x14\x02\0", "a Windows shortcut"),
        (b"#!", "a script"),
    ];
    // A product code may start a text file with MZ as well, but text has no zero bytes.
    if bytes.starts_with(b"MZ") && bytes.iter().take(1024).any(|byte| *byte == 0) {
        return Some("a Windows program");
    }
    MAGIC
        .iter()
        .find(|(magic, _)| bytes.starts_with(magic))
        .map(|(_, name)| *name)
}

/// Whether the bytes start as an archive or compressed stream of any sort.
pub(crate) fn is_archive(bytes: &[u8]) -> bool {
    const MAGIC: &[&[u8]] = &[
        b"PK\x03\x04",
        b"PK\x05\x06",
        b"Rar!\x1a\x07",
        b"7z\xbc\xaf\x27\x1c",
        b"\x1f\x8b",
        b"BZh",
        b"\xfd7zXZ\0",
        b"\x28\xb5\x2f\xfd",
        b"MSCF",
    ];
    MAGIC.iter().any(|magic| bytes.starts_with(magic))
        || bytes.get(257..262) == Some(b"ustar")
        || bytes.get(32769..32774) == Some(b"CD001")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_types_are_canonical() {
        for (declared, kind) in [
            ("image/jpeg", JPEG),
            ("IMAGE/JPG", JPEG),
            ("text/csv; charset=utf-8", Kind::Csv),
            ("application/x-zip-compressed", Kind::Zip),
        ] {
            assert_eq!(Kind::declared(declared), Ok(kind), "{declared}");
        }
        for declared in ["", "text/html", "image/svg+xml", "application/octet-stream"] {
            assert_eq!(
                Kind::declared(declared).expect_err(declared).reason,
                reason::UNKNOWN_TYPE
            );
        }
    }

    #[test]
    fn extensions_agree_with_the_kind() {
        JPEG.check_extension("a.b.JPeG").expect("jpeg");
        for name in ["a.png", "jpg", "a.", "", "a.jpg.exe", "a.jpg "] {
            assert_eq!(
                JPEG.check_extension(name).expect_err(name).reason,
                reason::EXTENSION_MISMATCH
            );
        }
    }

    #[test]
    fn a_product_code_is_no_program() {
        assert_eq!(Family::sniff(b"MZ-100;Mesa\n"), Ok(Family::Text));
        assert!(Family::sniff(b"MZ\x90\0\x03\0").is_err());
    }
}
