//! PDF documents: nothing that acts when the document is opened, nothing carried along.
//!
//! Names are searched in every byte of the file, as a reader that repairs damaged documents would find them,
//! and in the compressed streams, where modern writers keep their objects.

use std::collections::HashMap;
use std::io::Read;

use flate2::read::ZlibDecoder;
use memchr::memmem;

use crate::content;
use crate::verdict::{Refusal, Rejected, reason};

/// Bytes that all streams together may take in and inflate to.
const MAX_WORK: u64 = 200 * 1_000 * 1_000;
/// Bytes that one stream may inflate to.
const MAX_STREAM: u64 = 50 * 1_000 * 1_000;
/// Streams of a document; one of a thousand pages has about ten thousand.
const MAX_STREAMS: usize = 50_000;
/// Actions and carried content that readers have been attacked with. `JS` is missing because three letters
/// occur by chance; it acts only beside `JavaScript`.
const ACTIVE: &[&[u8]] = &[
    b"JavaScript",
    b"Launch",
    b"EmbeddedFile",
    b"EmbeddedFiles",
    b"RichMedia",
    b"ImportData",
    b"GoToE",
    b"XFA",
];

/// # Errors
/// `active-content`, `trailing-data`, `unscannable` for encrypted documents, `archive-bomb`, `malformed`.
pub(crate) fn check(bytes: &[u8]) -> Result<(), Refusal> {
    content::check_passive(bytes)?;
    check_end(bytes)?;
    let mut document = Document::default();
    document.read(bytes)?;
    let mut work = 0;
    for (index, stream) in streams(bytes).enumerate() {
        let has = |wanted: &[u8]| names(stream.dictionary).any(|(name, _)| name == wanted);
        // Only object streams say where their first object is, whatever else a dictionary claims to be.
        let objects = has(b"First") || has(b"ObjStm");
        if stream.is_whole && has(b"Image") && !objects {
            continue;
        }
        let mut inflated = Vec::new();
        let mut decoder = ZlibDecoder::new(stream.data);
        let result = decoder.by_ref().take(MAX_STREAM + 1).read_to_end(&mut inflated);
        work += decoder.total_in() + decoder.total_out();
        if work > MAX_WORK || inflated.len() as u64 > MAX_STREAM || index >= MAX_STREAMS {
            return Err(Rejected::new(reason::ARCHIVE_BOMB, "too much to inflate").into());
        }
        if objects && has(b"Filter") && (result.is_err() || has(b"DecodeParms")) {
            return Err(unscannable("objects in an unusual compression").into());
        }
        content::check_malware(&*inflated)?;
        document.read(&inflated)?;
        if objects {
            document.read_object_stream(stream.dictionary, &inflated);
        }
    }
    document.check_open_actions().map_err(Refusal::from)
}

/// After the last end marker only white space, or a little padding with zeroes.
fn check_end(bytes: &[u8]) -> Result<(), Rejected> {
    const MAX_PADDING: usize = 1024;
    let marker =
        memmem::rfind(bytes, b"%%EOF").ok_or_else(|| Rejected::new(reason::MALFORMED, "no end marker"))?;
    let tail = bytes.get(marker + 5..).unwrap_or_default();
    if tail.len() > MAX_PADDING || !tail.iter().all(|byte| is_space(*byte)) {
        return Err(Rejected::new(
            reason::TRAILING_DATA,
            format!("{} bytes after the end marker", tail.len()),
        ));
    }
    Ok(())
}

/// What was learnt from the plain and the inflated parts.
#[derive(Default)]
struct Document {
    /// What follows each `/OpenAction`.
    open_actions: Vec<Vec<u8>>,
    /// The beginning of each object, the last one of a number.
    objects: HashMap<u32, Vec<u8>>,
}

/// As much of an action as is looked at.
const ACTION: usize = 256;

impl Document {
    fn read(&mut self, bytes: &[u8]) -> Result<(), Rejected> {
        for (name, after) in names(bytes) {
            if ACTIVE.contains(&&*name) {
                let detail = format!("/{}", String::from_utf8_lossy(&name));
                return Err(Rejected::new(reason::ACTIVE_CONTENT, detail));
            }
            match &*name {
                b"Encrypt" => return Err(unscannable("encrypted")),
                b"OpenAction" => self.open_actions.push(excerpt(bytes, after)),
                _ => (),
            }
        }
        for at in memmem::find_iter(bytes, b" obj") {
            if let Some(number) = object_number(bytes.get(..at).unwrap_or_default()) {
                self.objects.insert(number, excerpt(bytes, at + 4));
            }
        }
        Ok(())
    }

    /// The objects of a stream: pairs of number and offset, then the objects from `/First` on.
    fn read_object_stream(&mut self, dictionary: &[u8], inflated: &[u8]) {
        let Some((_, after)) = names(dictionary).find(|(name, _)| name == b"First") else {
            return;
        };
        let Some(first) = numbers(dictionary.get(after..).unwrap_or_default()).next() else {
            return;
        };
        let header: Vec<u32> = numbers(inflated.get(..first as usize).unwrap_or_default()).collect();
        for pair in header.chunks_exact(2) {
            if let [number, offset] = pair {
                let at = (first as usize).saturating_add(*offset as usize);
                self.objects.insert(*number, excerpt(inflated, at));
            }
        }
    }

    /// Opening a document may show a place in it, which most writers ask for, and nothing else.
    fn check_open_actions(&self) -> Result<(), Rejected> {
        for action in &self.open_actions {
            let action = action.trim_ascii_start();
            let action = match numbers(action)
                .next()
                .filter(|_| action.first().is_some_and(u8::is_ascii_digit))
            {
                Some(number) => self
                    .objects
                    .get(&number)
                    .map_or(&b""[..], |object| object.trim_ascii_start()),
                None => action,
            };
            let goes_to = || {
                let inner = action.split(|byte| *byte == b'>').next().unwrap_or_default();
                let kinds: Vec<_> = names(inner).map(|(name, _)| name).collect();
                kinds.windows(2).any(|pair| pair[0] == b"S" && pair[1] == b"GoTo")
                    && !kinds.iter().any(|kind| kind == b"Next")
            };
            if !(action.starts_with(b"[") || (action.starts_with(b"<<") && goes_to())) {
                return Err(Rejected::new(
                    reason::ACTIVE_CONTENT,
                    "/OpenAction does more than show a page",
                ));
            }
        }
        Ok(())
    }
}

fn excerpt(bytes: &[u8], at: usize) -> Vec<u8> {
    bytes
        .get(at..bytes.len().min(at.saturating_add(ACTION)))
        .unwrap_or_default()
        .to_vec()
}

/// Names with their `#xx` escapes resolved, and where each ends.
fn names(bytes: &[u8]) -> impl Iterator<Item = (Vec<u8>, usize)> + '_ {
    const LONGEST: usize = 64;
    memchr::memchr_iter(b'/', bytes).map(|slash| {
        let mut name = Vec::new();
        let mut at = slash + 1;
        while let Some(&byte) = bytes
            .get(at)
            .filter(|byte| is_regular(**byte) && name.len() < LONGEST)
        {
            let escaped = (byte == b'#').then(|| bytes.get(at + 1..at + 3)).flatten();
            let escaped = escaped.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
            name.push(escaped.unwrap_or(byte));
            at += if escaped.is_some() { 3 } else { 1 };
        }
        (name, at)
    })
}

struct Stream<'a> {
    dictionary: &'a [u8],
    /// Whether the dictionary is there from its beginning on.
    is_whole: bool,
    /// From the first byte of the data to the end of the file: the decoder knows where the data ends.
    data: &'a [u8],
}

fn streams(bytes: &[u8]) -> impl Iterator<Item = Stream<'_>> {
    const MAX_DICTIONARY: usize = 4096;
    memmem::find_iter(bytes, b"stream").filter_map(|at| {
        let before = bytes.get(at.saturating_sub(MAX_DICTIONARY)..at)?;
        let after = bytes.get(at + 6..)?;
        let data = [&b"\r\n"[..], b"\n", b"\r"]
            .iter()
            .find_map(|line_end| after.strip_prefix(*line_end))?;
        let start = memmem::rfind(before, b"obj");
        let dictionary = before.get(start.map_or(0, |obj| obj + 3)..)?;
        (!before.ends_with(b"end")).then_some(Stream {
            dictionary,
            is_whole: start.is_some(),
            data,
        })
    })
}

/// The object number in `12 0` at the end of the bytes.
fn object_number(before: &[u8]) -> Option<u32> {
    let tail = before.get(before.len().saturating_sub(20)..)?;
    let mut words = tail.rsplit(|byte| is_space(*byte));
    let (generation, number) = (words.next()?, words.next()?);
    std::str::from_utf8(generation).ok()?.parse::<u32>().ok()?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

fn numbers(bytes: &[u8]) -> impl Iterator<Item = u32> + '_ {
    bytes
        .split(|byte| !byte.is_ascii_digit())
        .filter_map(|digits| std::str::from_utf8(digits).ok()?.parse().ok())
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b'\0' | b'\t' | b'\n' | 0x0c | b'\r' | b' ')
}

fn is_regular(byte: u8) -> bool {
    !is_space(byte) && !b"()<>[]{}/%".contains(&byte)
}

fn unscannable(detail: &str) -> Rejected {
    Rejected::new(reason::UNSCANNABLE, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_in_names_do_not_hide_them() {
        let found: Vec<_> = names(b"<</S/J#61vaScript/#4cength 5>>")
            .map(|(name, _)| name)
            .collect();
        assert_eq!(found, [&b"S"[..], b"JavaScript", b"Length"]);
    }

    #[test]
    fn objects_are_known_by_number() {
        assert_eq!(object_number(b"\n12 0"), Some(12));
        assert_eq!(object_number(b"endobj 7 0"), Some(7));
        assert_eq!(object_number(b"x 0"), None);
    }
}
