//! What no accepted file may contain, whatever its type.

use std::io::Read;
use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

use crate::verdict::{Refusal, Rejected, reason};

/// The test file that every antivirus reports. In two halves, so that none reports this source.
const EICAR: &str = concat!(
    r"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-",
    "ANTIVIRUS-TEST-FILE!$H+H*"
);

fn searcher(patterns: &[&str]) -> AhoCorasick {
    AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .build(patterns)
        .expect("few short patterns")
}

static MALWARE: LazyLock<AhoCorasick> = LazyLock::new(|| searcher(&[EICAR]));

/// Long enough that compressed data has them by chance less than once in a million files.
static MARKUP: LazyLock<AhoCorasick> = LazyLock::new(|| {
    searcher(&[
        "<script",
        "<html>",
        "<html ",
        "<!doctype ",
        "<iframe",
        "<svg xmlns",
        "<?php ",
        "<object ",
    ])
});

/// Looks for the EICAR string, also across the borders of what one read returns.
///
/// # Errors
/// `Infected`; `malformed` when the bytes cannot be read, which for inflated ones means damaged.
pub(crate) fn check_malware(bytes: impl Read) -> Result<(), Refusal> {
    match MALWARE.stream_find_iter(bytes).next() {
        None => Ok(()),
        Some(Ok(_)) => Err(Refusal::Infected {
            name: "EICAR-Test-File".to_owned(),
        }),
        Some(Err(error)) => Err(Rejected::new(reason::MALFORMED, error.to_string()).into()),
    }
}

/// Looks for what a browser might run, and for an archive that shares the file with another type.
///
/// # Errors
/// `active-content`.
pub(crate) fn check_passive(bytes: &[u8]) -> Result<(), Rejected> {
    if let Some(found) = MARKUP.find(bytes) {
        let detail = format!("markup at byte {}", found.start());
        return Err(Rejected::new(reason::ACTIVE_CONTENT, detail));
    }
    check_no_archive(bytes)
}

/// Archives are read from their end: the record that closes one makes the file an archive as well.
pub(crate) fn check_no_archive(bytes: &[u8]) -> Result<(), Rejected> {
    static END_RECORD: LazyLock<AhoCorasick> = LazyLock::new(|| searcher(&["PK\x05\x06\0\0\0\0"]));
    match END_RECORD.find(bytes) {
        None => Ok(()),
        Some(found) => {
            let detail = format!("an archive ends at byte {}", found.start());
            Err(Rejected::new(reason::ACTIVE_CONTENT, detail))
        }
    }
}

/// Whether the first characters are markup, as browsers sniff it.
pub(crate) fn starts_as_markup(bytes: &[u8]) -> bool {
    let text = bytes
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(bytes)
        .trim_ascii_start();
    matches!(text, [b'<', next, ..] if next.is_ascii_alphabetic() || matches!(next, b'!' | b'?' | b'/'))
}

/// UTF-8 or Windows-1252 (the Latin-1 that spreadsheets write), without control characters.
pub(crate) fn is_text(bytes: &[u8]) -> bool {
    let control =
        |byte: &u8| (*byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c)) || *byte == 0x7f;
    let undefined = |byte: &u8| matches!(byte, 0x81 | 0x8d | 0x8f | 0x90 | 0x9d);
    !bytes.iter().any(control) && (std::str::from_utf8(bytes).is_ok() || !bytes.iter().any(undefined))
}

/// The checks of CSV and plain text.
///
/// # Errors
/// `active-content` for markup anywhere and for web archives (MHTML), which are plain text by their bytes.
pub(crate) fn check_text(bytes: &[u8]) -> Result<(), Rejected> {
    let head = bytes.get(..4096).unwrap_or(bytes).to_ascii_lowercase();
    let header = |name: &[u8]| {
        head.starts_with(name)
            || head
                .windows(name.len() + 1)
                .any(|w| w[0] == b'\n' && &w[1..] == name)
    };
    if header(b"mime-version:") || header(b"content-type:") {
        return Err(Rejected::new(
            reason::ACTIVE_CONTENT,
            "a MIME message or web archive",
        ));
    }
    check_passive(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns its bytes `step` at a time.
    struct Dribble<'a>(&'a [u8], usize);

    impl Read for Dribble<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let count = self.1.min(buffer.len()).min(self.0.len());
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    #[test]
    fn eicar_is_found_across_any_border() {
        let bytes = [&[b'x'; 70_000], EICAR.as_bytes(), b"tail"].concat();
        for step in [1, 7, 67, 68, 65_536, 70_001] {
            assert!(check_malware(Dribble(&bytes, step)).is_err(), "{step}");
        }
        check_malware(&bytes[..70_067]).expect("one byte short");
    }

    #[test]
    fn text_is_utf8_or_windows_1252() {
        assert!(is_text("código;ñandú;€ 5\r\n".as_bytes()));
        assert!(is_text(b"c\xf3digo;\x80 5\r\n"));
        assert!(!is_text(b"a\0b") && !is_text(b"a\x1bb") && !is_text(b"\x81\xff"));
    }

    #[test]
    fn markup_is_seen_through_spaces_and_marks() {
        for text in ["<html>", "\u{feff} \n<!-- x", "<?xml", "</b>", "<b>"] {
            assert!(starts_as_markup(text.as_bytes()), "{text}");
        }
        assert!(!starts_as_markup(b"<5 unidades") && !starts_as_markup(b"a <b>"));
        check_text(b"sku;name\n1;<b>Mesa</b>\n").expect("a description");
        assert!(check_text(b"sku;name\n1;<sCript>\n").is_err());
        assert!(check_text(b"From: x\r\nMIME-Version: 1.0\r\n").is_err());
    }
}
