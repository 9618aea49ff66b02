//! The directory of a ZIP archive, read strictly.

use std::collections::HashSet;

use crate::cursor::Cursor;
use crate::verdict::{Rejected, reason};

const END_RECORD: usize = 22;
/// Longest data descriptor behind an entry: signature, checksum, two sizes of eight bytes.
const MAX_DESCRIPTOR: usize = 24;

/// An entry whose name, size and place were checked.
pub(super) struct Entry<'a> {
    pub name: String,
    pub deflated: bool,
    pub crc: u32,
    /// Declared size of the content, in bytes.
    pub inflated: u32,
    /// As it stands in the archive.
    pub data: &'a [u8],
    header: usize,
    end: usize,
}

/// Every entry, in the order of their bytes.
///
/// # Errors
/// `archive-bomb` for too many or overlapping entries, `archive-names`, `unscannable` for encrypted ones and
/// unusual methods, `trailing-data`, `malformed`.
pub(super) fn read(bytes: &[u8], max_entries: usize) -> Result<Vec<Entry<'_>>, Rejected> {
    let end = end_record(bytes)?;
    let mut cursor = Cursor::at(bytes, end + 4);
    let disks = (cursor.u16_le()?, cursor.u16_le()?);
    let (here, count) = (cursor.u16_le()?, usize::from(cursor.u16_le()?));
    let (size, start) = (cursor.u32_le()? as usize, cursor.u32_le()? as usize);
    if disks != (0, 0) || usize::from(here) != count {
        return Err(malformed("several volumes"));
    }
    if count > max_entries {
        return Err(Rejected::new(reason::ARCHIVE_BOMB, format!("{count} entries")));
    }
    if start.checked_add(size) != Some(end) {
        return Err(malformed("the directory does not reach to the end record"));
    }
    let mut cursor = Cursor::at(bytes, start);
    let mut entries = (0..count)
        .map(|_| entry(bytes, &mut cursor))
        .collect::<Result<Vec<_>, _>>()?;
    if cursor.position() != end {
        return Err(malformed("the directory has another number of entries"));
    }
    entries.sort_by_key(|entry| entry.header);
    check_layout(&entries, start)?;
    Ok(entries)
}

/// The end record is the last thing in the file, with a comment at most.
fn end_record(bytes: &[u8]) -> Result<usize, Rejected> {
    let earliest = bytes.len().saturating_sub(END_RECORD + usize::from(u16::MAX));
    let tail = bytes.get(earliest..).unwrap_or_default();
    let at = tail
        .windows(4)
        .rposition(|window| window == b"PK\x05\x06")
        .ok_or_else(|| malformed("no end record"))?
        + earliest;
    let comment = usize::from(Cursor::at(bytes, at + END_RECORD - 2).u16_le()?);
    match (at + END_RECORD + comment).cmp(&bytes.len()) {
        std::cmp::Ordering::Equal => Ok(at),
        std::cmp::Ordering::Less => Err(Rejected::new(reason::TRAILING_DATA, "bytes after the archive")),
        std::cmp::Ordering::Greater => Err(malformed("the comment ends early")),
    }
}

fn entry<'a>(bytes: &'a [u8], cursor: &mut Cursor<'a>) -> Result<Entry<'a>, Rejected> {
    if cursor.take(4)? != b"PK\x01\x02" {
        return Err(malformed("no directory entry where one should be"));
    }
    let made_by = cursor.u16_le()?;
    cursor.take(2)?;
    let (flags, method) = (cursor.u16_le()?, cursor.u16_le()?);
    cursor.take(4)?;
    let crc = cursor.u32_le()?;
    let (compressed, inflated) = (cursor.u32_le()?, cursor.u32_le()?);
    let (name, extra, comment) = (cursor.u16_le()?, cursor.u16_le()?, cursor.u16_le()?);
    cursor.take(4)?;
    let attributes = cursor.u32_le()?;
    let header = cursor.u32_le()? as usize;
    let name = cursor.take(name.into())?;
    cursor.take(usize::from(extra) + usize::from(comment))?;
    let shown = String::from_utf8_lossy(name).into_owned();

    if flags & 0b10_0000_0100_0001 != 0 {
        return Err(Rejected::new(
            reason::UNSCANNABLE,
            format!("entry {shown:?} is encrypted"),
        ));
    }
    if !matches!(method, 0 | 8) || [compressed, inflated].contains(&u32::MAX) {
        return Err(Rejected::new(
            reason::UNSCANNABLE,
            format!("entry {shown:?} is stored in an unusual way"),
        ));
    }
    // Unix systems keep the file mode in the upper half; 12 is a symbolic link, 8 a file, 4 a directory.
    let is_unix = matches!(made_by >> 8, 3 | 19);
    if (is_unix && !matches!(attributes >> 28, 0 | 4 | 8)) || !is_safe_name(&shown) {
        return Err(Rejected::new(reason::ARCHIVE_NAMES, format!("entry {shown:?}")));
    }

    let mut local = Cursor::at(bytes, header);
    let local_header = local.take(26)?;
    let (local_name, local_extra) = (local.u16_le()?, local.u16_le()?);
    let fixed =
        Cursor::at(local_header, 6).u16_le()? == flags && Cursor::at(local_header, 8).u16_le()? == method;
    if !local_header.starts_with(b"PK\x03\x04") || !fixed || local.take(local_name.into())? != name {
        return Err(malformed(format!("entry {shown:?} differs from the directory")));
    }
    local.take(local_extra.into())?;
    let data = local.take(compressed as usize)?;
    if method == 0 && compressed != inflated {
        return Err(malformed(format!("entry {shown:?} is stored with two sizes")));
    }
    Ok(Entry {
        name: shown,
        deflated: method == 8,
        crc,
        inflated,
        data,
        header,
        end: local.position(),
    })
}

/// Relative, below the directory it is unpacked into on every system.
fn is_safe_name(name: &str) -> bool {
    let path = name.strip_suffix('/').unwrap_or(name);
    !name.contains(['\\', ':', '\u{fffd}'])
        && !name.chars().any(char::is_control)
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// One entry after the other from the first byte on, each name once.
fn check_layout(entries: &[Entry<'_>], directory: usize) -> Result<(), Rejected> {
    let mut names = HashSet::new();
    let mut end = 0;
    for entry in entries {
        check_gap(end, entry.header)?;
        end = entry.end;
        if !names.insert(entry.name.to_lowercase()) {
            return Err(Rejected::new(
                reason::ARCHIVE_NAMES,
                format!("two entries {:?}", entry.name),
            ));
        }
    }
    check_gap(end, directory)
}

fn check_gap(end: usize, next: usize) -> Result<(), Rejected> {
    match next.checked_sub(end) {
        None => Err(Rejected::new(reason::ARCHIVE_BOMB, "entries overlap")),
        Some(gap) if gap > if end == 0 { 0 } else { MAX_DESCRIPTOR } => {
            Err(malformed(format!("{gap} bytes at {end} belong to no entry")))
        }
        Some(_) => Ok(()),
    }
}

fn malformed(detail: impl Into<String>) -> Rejected {
    Rejected::new(reason::MALFORMED, detail)
}
