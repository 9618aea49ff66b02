//! Thumbnails: smaller, upright, without metadata.

use std::path::Path;

use fast_image_resize::{FilterType, MulDiv, ResizeAlg, ResizeOptions, Resizer};
use image::codecs::jpeg::JpegEncoder;
use image::codecs::webp::WebPEncoder;
use image::{DynamicImage, ImageBuffer, Pixel, Rgb, RgbImage, RgbaImage};

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
    let (width, height) = (scaled(width), scaled(height));
    let source = halve_often(source, longest);
    let mut target = DynamicImage::new(width, height, source.color());
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3))
        .use_alpha(false);
    resizer.resize(&source, &mut target, &options).map_err(failed)?;
    Ok(target)
}

/// Halves what is at least four times as large: resampling keeps an image of the old height and the new width
/// besides, which next to all the pixels of a large picture is too much, and gets by with a quarter of the work.
fn halve_often(mut source: DynamicImage, longest: u32) -> DynamicImage {
    let mut side = source.width().max(source.height());
    while side >= 4 * longest && source.width().min(source.height()) > 1 {
        source = match source {
            DynamicImage::ImageLuma8(image) => halve(image).into(),
            DynamicImage::ImageLumaA8(image) => halve(image).into(),
            DynamicImage::ImageRgb8(image) => halve(image).into(),
            DynamicImage::ImageRgba8(image) => halve(image).into(),
            DynamicImage::ImageLuma16(image) => halve(image).into(),
            DynamicImage::ImageLumaA16(image) => halve(image).into(),
            DynamicImage::ImageRgb16(image) => halve(image).into(),
            DynamicImage::ImageRgba16(image) => halve(image).into(),
            // No format that is accepted has another.
            other => return other,
        };
        side /= 2;
    }
    source
}

/// The mean of every two by two pixels, computed in place. An odd last row or column is left out.
fn halve<P>(image: ImageBuffer<P, Vec<P::Subpixel>>) -> ImageBuffer<P, Vec<P::Subpixel>>
where
    P: Pixel,
    P::Subpixel: Into<u32> + TryFrom<u32>,
{
    let (width, height) = (image.width() / 2, image.height() / 2);
    let (pixel, row) = (
        usize::from(P::CHANNEL_COUNT),
        image.width() as usize * usize::from(P::CHANNEL_COUNT),
    );
    let mut samples = image.into_raw();
    let mut written = 0;
    for y in 0..height as usize {
        for x in 0..width as usize {
            for channel in 0..pixel {
                // Never before what is written.
                let at = 2 * y * row + 2 * x * pixel + channel;
                let four = [at, at + pixel, at + row, at + row + pixel];
                let sum: u32 = four.iter().map(|at| samples[*at].into()).sum();
                if let Ok(mean) = ((sum + 2) / 4).try_into() {
                    samples[written] = mean;
                }
                written += 1;
            }
        }
    }
    samples.truncate(written);
    samples.shrink_to_fit();
    ImageBuffer::from_raw(width, height, samples).unwrap_or_default()
}

/// JPEG on white, or WebP with its transparency where that is smaller: for drawings, logos and screenshots, not for
/// photos, as no release of `image` writes lossy WebP (docs/decisions/0013).
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

#[cfg(test)]
mod tests {
    use image::{GrayImage, ImageBuffer, Luma, Rgba};

    use super::*;

    #[test]
    fn halving_takes_the_mean_of_each_channel_and_leaves_odd_edges_out() {
        let grey = GrayImage::from_raw(5, 3, vec![0, 4, 255, 255, 9, 8, 13, 255, 255, 9, 7, 7, 7, 7, 7]);
        let half = halve(grey.expect("15 pixels"));
        assert_eq!((half.dimensions(), half.as_raw()), ((2, 1), &vec![6, 255]));

        let colour = |x: u32, y: u32| {
            Rgba([
                60_000,
                u16::try_from(x).expect("small"),
                0,
                u16::try_from(y).expect("small") * 4,
            ])
        };
        let half = halve(ImageBuffer::from_fn(8, 8, colour));
        assert_eq!(half.dimensions(), (4, 4));
        assert_eq!(half.get_pixel(3, 2), &Rgba([60_000, 7, 0, 18]));
    }

    #[test]
    fn only_large_images_are_halved_and_lines_never() {
        let sides = |width, height| {
            let image = ImageBuffer::<Luma<u8>, _>::new(width, height);
            let half = halve_often(image.into(), 100);
            (half.width(), half.height())
        };
        assert_eq!(sides(399, 399), (399, 399));
        assert_eq!(sides(400, 300), (200, 150));
        assert_eq!(sides(1_700, 40), (212, 5));
        assert_eq!(sides(5_000, 1), (5_000, 1));
    }
}
