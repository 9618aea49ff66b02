//! Thumbnails.

use image::{GenericImageView, ImageFormat, Rgb, RgbImage};
use inspect::{Thumbnail, reason};

use crate::jpeg::{with_orientation, with_segment};
use crate::{builtin, corpus, on_disk};

async fn thumbnails(bytes: &[u8]) -> Vec<Thumbnail> {
    builtin()
        .thumbnails(on_disk(bytes).path())
        .await
        .expect("thumbnails")
}

fn sizes(thumbnails: &[Thumbnail]) -> Vec<(&str, u32, u32)> {
    thumbnails
        .iter()
        .map(|thumbnail| (thumbnail.name, thumbnail.width, thumbnail.height))
        .collect()
}

#[tokio::test]
async fn the_longest_side_is_160_480_and_1280() {
    let made = thumbnails(&corpus::encode(corpus::photo(2_000, 1_000), ImageFormat::Jpeg)).await;
    assert_eq!(
        sizes(&made),
        [
            ("thumb_160", 160, 80),
            ("thumb_480", 480, 240),
            ("thumb_1280", 1280, 640)
        ]
    );
    for thumbnail in &made {
        assert_eq!(thumbnail.content_type, "image/jpeg", "a photo");
        let decoded =
            image::load_from_memory_with_format(&thumbnail.bytes, ImageFormat::Jpeg).expect("decodes");
        assert_eq!(decoded.dimensions(), (thumbnail.width, thumbnail.height));
    }
}

#[tokio::test]
async fn small_images_are_not_enlarged() {
    let made = thumbnails(&corpus::encode(corpus::photo(300, 200), ImageFormat::Jpeg)).await;
    assert_eq!(
        sizes(&made),
        [
            ("thumb_160", 160, 107),
            ("thumb_480", 300, 200),
            ("thumb_1280", 300, 200)
        ]
    );
    let line = thumbnails(&corpus::encode(RgbImage::new(5_000, 1), ImageFormat::Png)).await;
    assert_eq!(
        sizes(&line),
        [
            ("thumb_160", 160, 1),
            ("thumb_480", 480, 1),
            ("thumb_1280", 1280, 1)
        ]
    );
}

#[tokio::test]
async fn they_stand_upright_without_metadata() {
    // Red above, blue below; orientation 6 says to turn it to the right: blue to the left.
    let image = RgbImage::from_fn(400, 400, |_, y| {
        if y < 200 {
            Rgb([255, 0, 0])
        } else {
            Rgb([0, 0, 255])
        }
    });
    let lying = with_orientation(&corpus::encode(image, ImageFormat::Jpeg), 6);
    let lying = with_segment(&lying, 0xfe, b"secret place");
    for thumbnail in thumbnails(&lying).await {
        let upright = image::load_from_memory(&thumbnail.bytes)
            .expect("decodes")
            .into_rgb8();
        let middle = thumbnail.height / 2;
        let [red, _, blue] = upright.get_pixel(5, middle).0;
        assert!(blue > 200 && red < 50, "{}: left is {red} {blue}", thumbnail.name);
        let has = |needle: &[u8]| {
            thumbnail
                .bytes
                .windows(needle.len())
                .any(|window| window == needle)
        };
        assert!(!has(b"Exif") && !has(b"secret place"));
    }
}

#[tokio::test]
async fn drawings_keep_their_transparency_as_webp() {
    for thumbnail in thumbnails(&corpus::encode(corpus::logo(600), ImageFormat::Png)).await {
        assert_eq!(thumbnail.content_type, "image/webp");
        let decoded = image::load_from_memory(&thumbnail.bytes)
            .expect("decodes")
            .into_rgba8();
        assert_eq!(decoded.get_pixel(0, 0)[3], 0);
        assert_eq!(
            decoded.get_pixel(thumbnail.width / 2, thumbnail.height / 2).0,
            [200, 0, 0, 255]
        );
    }
}

#[tokio::test]
async fn transparent_photos_stand_on_white() {
    let mut photo = image::DynamicImage::from(corpus::photo(1_000, 1_000)).into_rgba8();
    for (x, _, pixel) in photo.enumerate_pixels_mut() {
        pixel[3] = if x < 300 { 0 } else { 255 };
    }
    for thumbnail in thumbnails(&corpus::encode(photo, ImageFormat::Png)).await {
        assert_eq!(thumbnail.content_type, "image/jpeg");
        let decoded = image::load_from_memory(&thumbnail.bytes)
            .expect("decodes")
            .into_rgb8();
        assert!(
            decoded.get_pixel(2, 2).0.iter().all(|channel| *channel > 245),
            "{}",
            thumbnail.name
        );
    }
}

#[tokio::test]
async fn sixteen_bits_and_greys_shrink_too() {
    let photo = image::DynamicImage::from(corpus::photo(700, 500));
    let grey = photo.to_luma_alpha8();
    for image in [
        photo.to_rgba16().into(),
        image::DynamicImage::from(photo.to_luma16()),
        grey.into(),
    ] {
        let made = thumbnails(&corpus::encode(image, ImageFormat::Png)).await;
        assert_eq!(sizes(&made)[0], ("thumb_160", 160, 114));
    }
}

#[tokio::test]
async fn only_images_have_thumbnails() {
    let file = on_disk(&corpus::pdf(b""));
    let rejected = builtin().thumbnails(file.path()).await.expect_err("a document");
    assert_eq!(rejected.reason, reason::TYPE_MISMATCH);
}
