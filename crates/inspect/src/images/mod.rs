//! Images: limits by the header, then a full decode.

mod structure;
mod thumbnails;

use std::fs::File;
use std::io::{BufReader, Cursor};
use std::path::Path;
use std::time::Instant;

use image::codecs::{gif::GifDecoder, png::PngDecoder, webp::WebPDecoder};
use image::metadata::Orientation;
use image::{AnimationDecoder, DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use crate::verdict::{ImageInfo, Rejected, reason};
use structure::Structure;
pub use thumbnails::Thumbnail;
pub(crate) use thumbnails::thumbnails;

const MAX_SIDE: u32 = 12_000;
const MAX_PIXELS: u64 = 40_000_000;
const MAX_FRAMES: u32 = 100;
/// Of all frames of an animation together.
const MAX_ANIMATION_PIXELS: u64 = 200_000_000;
/// What decoding one image may allocate, in bytes; 12,000 x 3,333 pixels in colour take 120 million. One image
/// is decoded at a time, so this is what a process needs on top.
const MAX_MEMORY: u64 = 200_000_000;

/// An image whose header and structure are within the limits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Checked {
    format: ImageFormat,
    structure: Structure,
}

/// Walks the file to its end and holds its header against the limits; decodes nothing.
///
/// # Errors
/// `malformed`, `trailing-data`, `image-too-large`.
pub(crate) fn check_header(bytes: &[u8], format: ImageFormat) -> Result<Checked, Rejected> {
    let structure = structure::walk(bytes, format)?;
    let decoder = ImageReader::with_format(Cursor::new(bytes), format).into_decoder()?;
    let (width, height) = decoder.dimensions();
    let (frames, pixels) = (structure.frames, u64::from(width) * u64::from(height));
    let too_large = || {
        let detail = format!("{width} x {height} pixels, {frames} frames");
        Rejected::new(reason::IMAGE_TOO_LARGE, detail)
    };
    if width == 0 || height == 0 {
        return Err(Rejected::new(reason::MALFORMED, "no pixels"));
    }
    if width.max(height) > MAX_SIDE || pixels > MAX_PIXELS || frames > MAX_FRAMES {
        return Err(too_large());
    }
    let mut memory = decoder.total_bytes() + pixels * structure.overhead / 1_000_000;
    if format == ImageFormat::Jpeg {
        // The decoder reads the whole file first.
        memory += bytes.len() as u64;
    }
    if frames > 1 {
        if pixels * u64::from(frames) > MAX_ANIMATION_PIXELS {
            return Err(too_large());
        }
        // The canvas, the frame before and the frame itself, each in four bytes per pixel.
        memory += 2 * 4 * pixels;
    }
    if memory > MAX_MEMORY {
        return Err(too_large());
    }
    Ok(Checked { format, structure })
}

impl Checked {
    /// Decodes everything; the bytes of the header check should be gone by now.
    ///
    /// # Errors
    /// `malformed`; `too-slow` for an animation that goes on after the deadline.
    pub fn decode(self, path: &Path, deadline: Instant) -> Result<ImageInfo, Rejected> {
        let (image, orientation) = self.open(path)?;
        let info = info(&image, orientation);
        drop(image);
        if self.structure.frames > 1 {
            self.decode_frames(path, deadline)?;
        }
        Ok(info)
    }

    /// The first frame, not yet turned, and how to turn it.
    fn open(self, path: &Path) -> Result<(DynamicImage, Orientation), Rejected> {
        let mut reader = ImageReader::with_format(read(path)?, self.format);
        let mut limits = Limits::default();
        limits.max_image_width = Some(MAX_SIDE);
        limits.max_image_height = Some(MAX_SIDE);
        limits.max_alloc = Some(MAX_MEMORY);
        reader.limits(limits);
        let mut decoder = reader.into_decoder()?;
        // Damaged metadata does not make the image unusable.
        let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
        let image = DynamicImage::from_decoder(decoder)?;
        Ok((image, orientation))
    }

    fn decode_frames(self, path: &Path, deadline: Instant) -> Result<(), Rejected> {
        let reader = read(path)?;
        let frames = match self.format {
            ImageFormat::Gif => GifDecoder::new(reader).map(AnimationDecoder::into_frames),
            ImageFormat::WebP => WebPDecoder::new(reader).map(AnimationDecoder::into_frames),
            _ => PngDecoder::new(reader)
                .and_then(PngDecoder::apng)
                .map(AnimationDecoder::into_frames),
        };
        for frame in frames? {
            drop(frame?);
            if Instant::now() > deadline {
                return Err(Rejected::new(reason::TOO_SLOW, "an animation"));
            }
        }
        Ok(())
    }
}

fn info(image: &DynamicImage, orientation: Orientation) -> ImageInfo {
    let (width, height) = (image.width(), image.height());
    match orientation {
        Orientation::Rotate90
        | Orientation::Rotate270
        | Orientation::Rotate90FlipH
        | Orientation::Rotate270FlipH => ImageInfo {
            width: height,
            height: width,
        },
        _ => ImageInfo { width, height },
    }
}

fn read(path: &Path) -> Result<BufReader<File>, Rejected> {
    let file = File::open(path).map_err(|error| Rejected::new(reason::MALFORMED, error.to_string()))?;
    Ok(BufReader::new(file))
}

impl From<ImageError> for Rejected {
    fn from(error: ImageError) -> Self {
        let reason = match error {
            ImageError::Limits(_) => reason::IMAGE_TOO_LARGE,
            _ => reason::MALFORMED,
        };
        Self::new(reason, error.to_string())
    }
}
