//! The memory that the worst allowed images take, and the time of an ordinary one.

use std::time::Instant;

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{DynamicImage, ImageEncoder, ImageFormat};
use inspect::Verdict;

use crate::jpeg::Jpeg;
use crate::{assert_clean, builtin, corpus, on_disk};

const MAX_PROCESS: u64 = 300_000_000;

/// The most memory that this process had resident since the last reset, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a Linux process");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .expect("the peak");
    let kilobytes: u64 = line
        .split_whitespace()
        .nth(1)
        .expect("a number")
        .parse()
        .expect("a number");
    kilobytes * 1024
}

fn reset_peak() {
    std::fs::write("/proc/self/clear_refs", "5").expect("own process");
}

fn png(image: &DynamicImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    PngEncoder::new_with_quality(&mut bytes, CompressionType::Fast, FilterType::NoFilter)
        .write_image(
            image.as_bytes(),
            image.width(),
            image.height(),
            image.color().into(),
        )
        .expect("encoded");
    bytes
}

/// Stored blocks: a file as large as its pixels.
fn noise(width: u32, height: u32) -> DynamicImage {
    let mut state = 1_u32;
    let bytes = (0..width * height * 3).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    });
    image::RgbImage::from_raw(width, height, bytes.collect())
        .expect("the size")
        .into()
}

/// Measured by resetting the peak of the process, hence all in one test, which the runner gives a process.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_worst_images_stay_below_300_mb() {
    let progressive = Jpeg {
        progressive: true,
        ..Jpeg::baseline(6_640, 5_000)
    };
    let full_colour = Jpeg {
        full_colour: true,
        width: 5_500,
        height: 4_000,
        ..progressive
    };
    type Make = Box<dyn Fn() -> Vec<u8>>;
    let cases: Vec<(&str, &str, &str, Make)> = vec![
        (
            "JPEG 40 MP",
            "image/jpeg",
            "a.jpg",
            Box::new(|| Jpeg::baseline(12_000, 3_333).build()),
        ),
        (
            "JPEG 40 MP 4:4:4",
            "image/jpeg",
            "a.jpg",
            Box::new(|| {
                Jpeg {
                    full_colour: true,
                    ..Jpeg::baseline(12_000, 3_333)
                }
                .build()
            }),
        ),
        (
            "progressive 33 MP",
            "image/jpeg",
            "a.jpg",
            Box::new(move || progressive.build()),
        ),
        (
            "progressive 22 MP 4:4:4",
            "image/jpeg",
            "a.jpg",
            Box::new(move || full_colour.build()),
        ),
        (
            "PNG 40 MP RGBA",
            "image/png",
            "a.png",
            Box::new(|| png(&DynamicImage::new_rgba8(3_333, 12_000))),
        ),
        (
            "PNG 24 MP RGBA 16",
            "image/png",
            "a.png",
            Box::new(|| png(&DynamicImage::new_rgba16(6_000, 4_000))),
        ),
        (
            "PNG 21 MP noise",
            "image/png",
            "a.png",
            Box::new(|| png(&noise(5_250, 4_000))),
        ),
        (
            "WebP 25 MP RGBA",
            "image/webp",
            "a.webp",
            Box::new(|| corpus::encode(DynamicImage::new_rgba8(5_000, 5_000), ImageFormat::WebP)),
        ),
        (
            "WebP 28 MP RGB",
            "image/webp",
            "a.webp",
            Box::new(|| corpus::encode(DynamicImage::new_rgb8(5_600, 5_000), ImageFormat::WebP)),
        ),
        (
            "GIF 22 MP",
            "image/gif",
            "a.gif",
            Box::new(|| corpus::encode(DynamicImage::new_rgba8(5_500, 4_000), ImageFormat::Gif)),
        ),
        (
            "GIF 9 MP, 3 frames",
            "image/gif",
            "a.gif",
            Box::new(|| {
                let mut bytes = Vec::new();
                let mut encoder = image::codecs::gif::GifEncoder::new_with_speed(&mut bytes, 30);
                for _ in 0..3 {
                    encoder
                        .encode_frame(image::Frame::new(image::RgbaImage::new(3_000, 3_000)))
                        .expect("encoded");
                }
                drop(encoder);
                bytes
            }),
        ),
    ];
    let inspector = builtin();
    for (case, declared, name, make) in cases {
        let file = on_disk(&make());
        reset_peak();
        let before = peak();
        let started = Instant::now();
        let verdict = inspector
            .inspect(file.path(), declared, name)
            .await
            .expect("a verdict");
        let (inspected, inspecting) = (peak(), started.elapsed());
        assert!(matches!(verdict, Verdict::Clean(_)), "{case}: {verdict:?}");
        reset_peak();
        let started = Instant::now();
        inspector.thumbnails(file.path()).await.expect("thumbnails");
        let (shrunk, shrinking) = (peak(), started.elapsed());
        let mb = |bytes: u64| bytes / 1_000_000;
        eprintln!(
            "{case}: {} MB before, {} MB in {inspecting:.1?} to inspect, {} MB in {shrinking:.1?} for thumbnails",
            mb(before),
            mb(inspected),
            mb(shrunk)
        );
        assert!(
            inspected.max(shrunk) < MAX_PROCESS,
            "{case}: {} MB, {} MB",
            mb(inspected),
            mb(shrunk)
        );
    }
}

#[tokio::test]
async fn a_photo_of_12_megapixels_takes_seconds_at_most() {
    let file = on_disk(&corpus::encode(corpus::photo(4_000, 3_000), ImageFormat::Jpeg));
    let inspector = builtin();
    let started = Instant::now();
    assert_clean(
        inspector
            .inspect(file.path(), "image/jpeg", "a.jpg")
            .await
            .expect("a verdict"),
        "photo",
    );
    let inspected = started.elapsed();
    inspector.thumbnails(file.path()).await.expect("thumbnails");
    eprintln!(
        "12 MP: {inspected:.1?} to inspect, {:.1?} with thumbnails",
        started.elapsed()
    );
    assert!(started.elapsed().as_secs() < 15);
}
