//! Image files walked to their end marker: what they are, and that nothing follows it.

use image::ImageFormat;

use crate::cursor::Cursor;
use crate::verdict::{Rejected, reason};

/// Zeroes at the end that some cameras and upload libraries pad with.
const MAX_PADDING: usize = 4096;
/// Scans of a progressive JPEG; encoders write about ten, and each one costs a pass over all pixels.
const MAX_SCANS: u32 = 32;

/// What the walk learnt about how the image is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Structure {
    /// Images of an animation, 1 without one.
    pub frames: u32,
    /// Bytes that the decoder keeps per million pixels besides the result.
    pub overhead: u64,
}

impl Structure {
    const STILL: Self = Self {
        frames: 1,
        overhead: 0,
    };
}

pub(super) fn walk(bytes: &[u8], format: ImageFormat) -> Result<Structure, Rejected> {
    match format {
        ImageFormat::Jpeg => jpeg(bytes),
        ImageFormat::Png => png(bytes),
        ImageFormat::Gif => gif(bytes),
        _ => webp(bytes),
    }
}

fn jpeg(bytes: &[u8]) -> Result<Structure, Rejected> {
    let mut cursor = Cursor::new(bytes);
    let first = jpeg_image(&mut cursor)?;
    // Phones put the gain map of an HDR photo, a JPEG itself, behind the photo.
    while let Some(padding) = next_image(cursor.rest()).filter(|_| first.several) {
        cursor.take(padding)?;
        jpeg_image(&mut cursor)?;
    }
    if !is_samsung_trailer(cursor.rest()) {
        check_nothing(cursor.rest())?;
    }
    Ok(first.structure)
}

/// The padding before another JPEG image, if there is one.
fn next_image(rest: &[u8]) -> Option<usize> {
    let padding = rest.iter().take_while(|byte| **byte == 0).count();
    let next = rest.get(padding..).filter(|_| padding <= MAX_PADDING)?;
    next.starts_with(b"\xff\xd8\xff").then_some(padding)
}

struct Jpeg {
    structure: Structure,
    /// Whether it announces further images (the multi-picture format).
    several: bool,
}

/// From the start marker to behind the end marker.
fn jpeg_image(cursor: &mut Cursor<'_>) -> Result<Jpeg, Rejected> {
    let mut several = false;
    let mut scans = 0;
    let mut progressive = false;
    let mut coefficients = 0;
    if cursor.array()? != *b"\xff\xd8" {
        return Err(malformed("no start of a JPEG image"));
    }
    loop {
        if cursor.u8()? != 0xff {
            return Err(malformed("no JPEG marker where one should be"));
        }
        let mut marker = cursor.u8()?;
        while marker == 0xff {
            marker = cursor.u8()?;
        }
        if marker == 0xd9 {
            break;
        }
        let length = cursor.u16_be()?;
        let segment = cursor.take(
            usize::from(length)
                .checked_sub(2)
                .ok_or_else(|| malformed("empty JPEG segment"))?,
        )?;
        match marker {
            0xe2 => several |= segment.starts_with(b"MPF\0"),
            0xc0..=0xc2 => {
                progressive = marker == 0xc2;
                coefficients = coefficients_per_pixel(segment)?;
            }
            0xda => {
                scans += 1;
                skip_entropy_coded(cursor)?;
            }
            _ => (),
        }
    }
    if scans == 0 || scans > MAX_SCANS {
        return Err(malformed(format!("{scans} JPEG scans")));
    }
    // With several scans the decoder keeps every coefficient, of two bytes, until the last one.
    let overhead = if progressive || scans > 1 { coefficients } else { 0 };
    Ok(Jpeg {
        structure: Structure {
            overhead,
            ..Structure::STILL
        },
        several,
    })
}

/// Bytes of coefficients per million pixels, by the sampling factors of the frame header.
fn coefficients_per_pixel(segment: &[u8]) -> Result<u64, Rejected> {
    let mut cursor = Cursor::at(segment, 5);
    let (mut sum, mut horizontal, mut vertical) = (0, 1, 1);
    for _ in 0..cursor.u8()? {
        let [_, factors, _] = cursor.array()?;
        let (h, v) = (u64::from(factors >> 4), u64::from(factors & 15));
        sum += h * v;
        (horizontal, vertical) = (h.max(horizontal), v.max(vertical));
    }
    Ok(2_000_000 * sum / (horizontal * vertical))
}

/// To the next marker that is neither a restart nor an escaped byte.
fn skip_entropy_coded(cursor: &mut Cursor<'_>) -> Result<(), Rejected> {
    let rest = cursor.rest();
    let end = memchr::memchr_iter(0xff, rest)
        .find(|at| {
            rest.get(at + 1)
                .is_some_and(|next| !matches!(next, 0x00 | 0xd0..=0xd7 | 0xff))
        })
        .ok_or_else(|| malformed("a JPEG scan without an end"))?;
    cursor.take(end).map(drop)
}

/// The few hundred bytes of capture settings that Samsung phones append to every photo.
fn is_samsung_trailer(bytes: &[u8]) -> bool {
    bytes.len() <= MAX_PADDING && bytes.ends_with(b"SEFT") && memchr::memmem::find(bytes, b"SEFH").is_some()
}

fn png(bytes: &[u8]) -> Result<Structure, Rejected> {
    let mut cursor = Cursor::at(bytes, 8);
    let mut frames = 0;
    loop {
        let length = cursor.u32_be()?;
        let kind: [u8; 4] = cursor.array()?;
        cursor.take(length as usize)?;
        cursor.take(4)?;
        match &kind {
            b"fcTL" => frames += 1,
            b"IEND" => break,
            _ => (),
        }
    }
    check_nothing(cursor.rest())?;
    Ok(Structure {
        frames: frames.max(1),
        ..Structure::STILL
    })
}

fn gif(bytes: &[u8]) -> Result<Structure, Rejected> {
    let mut cursor = Cursor::at(bytes, 10);
    let flags = cursor.u8()?;
    cursor.take(2)?;
    skip_colours(&mut cursor, flags)?;
    let mut frames = 0;
    loop {
        match cursor.u8()? {
            0x21 => {
                cursor.u8()?;
            }
            0x2c => {
                frames += 1;
                cursor.take(8)?;
                let flags = cursor.u8()?;
                skip_colours(&mut cursor, flags)?;
                cursor.u8()?;
            }
            0x3b => break,
            _ => return Err(malformed("no GIF block where one should be")),
        }
        while let length @ 1.. = cursor.u8()? {
            cursor.take(length.into())?;
        }
    }
    if frames == 0 {
        return Err(malformed("a GIF without an image"));
    }
    check_nothing(cursor.rest())?;
    // The colour numbers of the frame being read and its colours.
    Ok(Structure {
        frames,
        overhead: 5_000_000,
    })
}

fn skip_colours(cursor: &mut Cursor<'_>, flags: u8) -> Result<(), Rejected> {
    let colours = if flags & 0x80 == 0 { 0 } else { 2 << (flags & 7) };
    cursor.take(3 * colours).map(drop)
}

fn webp(bytes: &[u8]) -> Result<Structure, Rejected> {
    let mut cursor = Cursor::at(bytes, 4);
    let size = cursor.u32_le()? as usize;
    let body = cursor.take(size)?;
    let mut chunks = Cursor::at(body, 4);
    let (mut frames, mut overhead) = (0, 0);
    while !chunks.rest().is_empty() {
        let kind: [u8; 4] = chunks.array()?;
        let length = chunks.u32_le()? as usize;
        chunks.take(length)?;
        if length % 2 == 1 && !chunks.rest().is_empty() {
            chunks.take(1)?;
        }
        // Colour and transparency planes of the lossy format, the full copy of the lossless one.
        overhead += match &kind {
            b"VP8 " => 2_000_000,
            b"ALPH" => 2_000_000,
            b"VP8L" => 4_000_000,
            _ => 0,
        };
        frames += u32::from(kind == *b"ANMF");
    }
    check_nothing(cursor.rest())?;
    if frames > 0 {
        overhead = 4_000_000;
    }
    Ok(Structure {
        frames: frames.max(1),
        overhead,
    })
}

fn check_nothing(rest: &[u8]) -> Result<(), Rejected> {
    if rest.len() <= MAX_PADDING && rest.iter().all(|byte| *byte == 0) {
        return Ok(());
    }
    Err(Rejected::new(
        reason::TRAILING_DATA,
        format!("{} bytes after the image", rest.len()),
    ))
}

fn malformed(detail: impl Into<String>) -> Rejected {
    Rejected::new(reason::MALFORMED, detail)
}
