//! Thumbnails: smaller, upright, without metadata.

use std::path::Path;

use fast_image_resize::{FilterType, MulDiv, ResizeAlg, ResizeOptions, Resizer};
use image::codecs::jpeg::JpegEncoder;
use image::codecs::webp::WebPEncoder;
use image::{DynamicImage, Rgb, RgbImage, RgbaImage};

use super::Checked;
use crate::verdict::{Rejected, reason};

/// Name and longest side in pixels; each is made from the one before.
const SIZES: &[(&str, u32)] = &[("thumb_1280", 1280), ("thumb_480", 480), ("thumb_160", 160)];
const JPEG_QUALITY: u8 = 82;

/// A smaller rendering of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thumbnail {
    /// `thumb_160`, `thumb_480` or `thumb_1280`, after the longest side in pixels; a smaller image keeps its size.
    pub name: &'static str,
    /// `image/jpeg` or `image/webp`, whichever is smaller.
    pub content_type: &'static str,
    pub width: u32,
    pub height: u32,
    pub bytes: Vec<u8>,
}

/// Every size, the smallest first.
pub(crate) fn thumbnails(image: Checked, path: &Path) -> Result<Vec<Thumbnail>, Rejected> {
    let (mut source, orientation) = image.open(path)?;
    let mut resizer = Resizer::new();
    let alpha = source.color().has_alpha();
    // In place: a second copy of the full image would double the memory that decoding needs.
    if alpha {
        MulDiv::new()
            .multiply_alpha_inplace(&mut source)
            .map_err(failed)?;
    }
    let mut made = Vec::new();
    for (index, (name, longest)) in SIZES.iter().enumerate() {
        source = shrink(&mut resizer, source, *longest)?;
        if index == 0 {
            source.apply_orientation(orientation);
        }
        let mut straight = source.clone();
        if alpha {
            MulDiv::new()
                .divide_alpha_inplace(&mut straight)
                .map_err(failed)?;
        }
        made.push(encode(name, straight)?);
    }
    made.reverse();
    Ok(made)
}

/// To that longest side; never larger than it is.
fn shrink(resizer: &mut Resizer, source: DynamicImage, longest: u32) -> Result<DynamicImage, Rejected> {
    let (width, height) = (source.width(), source.height());
    let side = width.max(height);
    if side <= longest {
        return Ok(source);
    }
    let scaled = |length: u32| ((length * longest + side / 2) / side).max(1);
    let mut target = DynamicImage::new(scaled(width), scaled(height), source.color());
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3))
        .use_alpha(false);
    resizer.resize(&source, &mut target, &options).map_err(failed)?;
    Ok(target)
}

/// JPEG on white, or WebP with its transparency where that is smaller: for drawings, logos and screenshots, not for
/// photos, as there is no lossy WebP encoder in Rust under a licence that fits.
fn encode(name: &'static str, image: DynamicImage) -> Result<Thumbnail, Rejected> {
    let (width, height) = (image.width(), image.height());
    let (rgb, rgba) = if image.color().has_alpha() {
        let rgba = image.into_rgba8();
        (
            flatten(&rgba),
            Some(rgba).filter(|rgba| rgba.pixels().any(|pixel| pixel[3] != u8::MAX)),
        )
    } else {
        (image.into_rgb8(), None)
    };
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, JPEG_QUALITY).encode_image(&rgb)?;
    let mut webp = Vec::new();
    let encoder = WebPEncoder::new_lossless(&mut webp);
    match &rgba {
        Some(rgba) => rgba.write_with_encoder(encoder),
        None => rgb.write_with_encoder(encoder),
    }?;
    let (content_type, bytes) = if webp.len() < jpeg.len() {
        ("image/webp", webp)
    } else {
        ("image/jpeg", jpeg)
    };
    Ok(Thumbnail {
        name,
        content_type,
        width,
        height,
        bytes,
    })
}

fn flatten(image: &RgbaImage) -> RgbImage {
    RgbImage::from_fn(image.width(), image.height(), |x, y| {
        let [red, green, blue, alpha] = image.get_pixel(x, y).0;
        let white = 255 - u32::from(alpha);
        let on_white = |colour: u8| {
            let mixed = (u32::from(colour) * u32::from(alpha) + 255 * white + 127) / 255;
            u8::try_from(mixed).unwrap_or(u8::MAX)
        };
        Rgb([on_white(red), on_white(green), on_white(blue)])
    })
}

fn failed(error: impl std::error::Error) -> Rejected {
    Rejected::new(reason::MALFORMED, error.to_string())
}
