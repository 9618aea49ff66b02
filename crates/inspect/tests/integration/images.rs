//! Images: limits, structure, full decode.

use image::ImageFormat;
use inspect::{ImageInfo, Verdict, reason};

use crate::jpeg::{Jpeg, segment, with_orientation, with_segment};
use crate::{assert_clean, assert_rejected, corpus, inspect};

async fn verdict(bytes: &[u8]) -> Verdict {
    let (declared, name) = match bytes {
        [0xff, ..] => ("image/jpeg", "a.jpg"),
        [0x89, ..] => ("image/png", "a.png"),
        [b'G', ..] => ("image/gif", "a.gif"),
        _ => ("image/webp", "a.webp"),
    };
    inspect(bytes, declared, name).await
}

fn crc(bytes: &[u8]) -> [u8; 4] {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum().to_be_bytes()
}

fn chunk(kind: &[u8], content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).expect("small").to_be_bytes();
    let body = [kind, content].concat();
    [&length[..], &body, &crc(&body)].concat()
}

/// A PNG header of that size, with image data for a part of it.
fn png_header(width: u32, height: u32, data: &[u8]) -> Vec<u8> {
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[1, 0, 0, 0, 0]].concat();
    [
        b"\x89PNG\r\n\x1a\n",
        &chunk(b"IHDR", &header)[..],
        &chunk(b"IDAT", data),
        &chunk(b"IEND", b""),
    ]
    .concat()
}

fn images() -> [Vec<u8>; 4] {
    [corpus::jpeg(), corpus::png(), corpus::gif(2), corpus::webp()]
}

#[tokio::test]
async fn the_size_is_that_of_the_upright_image() {
    for (orientation, width, height) in [(1, 64, 48), (3, 64, 48), (6, 48, 64), (8, 48, 64)] {
        let bytes = with_orientation(&corpus::jpeg(), orientation);
        let clean = assert_clean(verdict(&bytes).await, "photo");
        assert_eq!(
            clean.image,
            Some(ImageInfo { width, height }),
            "orientation {orientation}"
        );
    }
}

#[tokio::test]
async fn pixel_floods_are_refused_by_their_header() {
    // 20,000 x 20,000 black pixels are 50 MB of nothing.
    let flood = {
        use std::io::Write;
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        for _ in 0..20_000 {
            encoder.write_all(&[0; 2_501]).expect("in memory");
        }
        png_header(20_000, 20_000, &encoder.finish().expect("in memory"))
    };
    assert!(flood.len() < 60_000, "{}", flood.len());
    for (case, bytes) in [
        ("20,000 x 20,000", flood),
        ("50,000 x 50,000", png_header(50_000, 50_000, b"")),
        ("a line", png_header(12_001, 1, b"")),
        ("4 billion", png_header(u32::MAX >> 1, u32::MAX >> 1, b"")),
        ("41 MP", Jpeg::baseline(6_400, 6_400).build()),
        ("65,535 x 65,535", {
            let mut jpeg = corpus::jpeg();
            enlarge(&mut jpeg);
            jpeg
        }),
    ] {
        let verdict = verdict(&bytes).await;
        let Verdict::Rejected(rejected) = &verdict else {
            panic!("{case}: {verdict:?}")
        };
        let too_large = rejected.reason == reason::IMAGE_TOO_LARGE;
        assert!(
            too_large || (case == "4 billion" && rejected.reason == reason::MALFORMED),
            "{case}: {rejected}"
        );
    }
    assert_clean(
        verdict(&Jpeg::baseline(12_000, 3_333).build()).await,
        "12,000 x 3,333",
    );
}

fn enlarge(jpeg: &mut [u8]) {
    let frame = jpeg
        .windows(2)
        .position(|pair| pair == [0xff, 0xc0])
        .expect("a frame header");
    jpeg[frame + 5..frame + 9].fill(0xff);
}

#[tokio::test]
async fn progressive_images_are_bounded_by_what_decoding_keeps() {
    let progressive = Jpeg {
        progressive: true,
        ..Jpeg::baseline(6_000, 4_000)
    };
    assert_clean(verdict(&progressive.build()).await, "24 MP, 4:2:0");
    let full = Jpeg {
        full_colour: true,
        width: 6_300,
        height: 6_300,
        ..progressive
    };
    assert_rejected(
        &verdict(&full.build()).await,
        reason::IMAGE_TOO_LARGE,
        "40 MP, 4:4:4",
    );
    let scans = Jpeg {
        scans: 33,
        width: 64,
        height: 64,
        ..progressive
    };
    assert_rejected(&verdict(&scans.build()).await, reason::MALFORMED, "33 scans");
}

#[tokio::test]
async fn animations_have_at_most_a_hundred_frames() {
    assert_clean(verdict(&corpus::gif(100)).await, "100 frames");
    assert_rejected(
        &verdict(&corpus::gif(101)).await,
        reason::IMAGE_TOO_LARGE,
        "101 frames",
    );
}

#[tokio::test]
async fn every_frame_of_an_animation_decodes() {
    let mut gif = corpus::gif(3);
    // The code size of the last frame's data, which no decoder takes.
    let last = gif
        .windows(9)
        .rposition(|w| w == [0x2c, 0, 0, 0, 0, 16, 0, 16, 0])
        .expect("a frame");
    let colours = gif[last + 9] & 7;
    gif[last + 10 + (6 << colours)] = 0xff;
    assert_rejected(&verdict(&gif).await, reason::MALFORMED, "third frame");
}

#[tokio::test]
async fn nothing_follows_the_end_marker() {
    for image in images() {
        for tail in [&corpus::zip()[..], b"<script>alert(1)</script>", b"x", &[0; 5000]] {
            let bytes = [&image[..], tail].concat();
            assert_rejected(
                &verdict(&bytes).await,
                reason::TRAILING_DATA,
                &format!("{:?} + {}", &image[..4], tail.len()),
            );
        }
        assert_clean(verdict(&[&image[..], &[0; 16]].concat()).await, "padding");
    }
}

#[tokio::test]
async fn nothing_active_hides_in_metadata() {
    let jpeg = corpus::jpeg();
    for content in [
        &b"<script>alert(1)</script>"[..],
        b"<?php system($_GET[0]); ?>",
        b"<!DOCTYPE html>",
        &corpus::zip(),
    ] {
        let bytes = with_segment(&jpeg, 0xfe, content);
        assert_rejected(&verdict(&bytes).await, reason::ACTIVE_CONTENT, "comment");
    }
    let metadata =
        br#"http://ns.adobe.com/xap/1.0/\0<?xpacket begin=''?><x:xmpmeta xmlns:x='adobe:ns:meta/'/>"#;
    assert_clean(verdict(&with_segment(&jpeg, 0xe1, metadata)).await, "XMP");
}

#[tokio::test]
async fn what_phones_append_is_clean() {
    let photo = corpus::jpeg();
    let several = with_segment(&photo, 0xe2, b"MPF\0II*\0");
    assert_clean(verdict(&[&several[..], &photo].concat()).await, "gain map");
    assert_rejected(
        &verdict(&[&photo[..], &photo].concat()).await,
        reason::TRAILING_DATA,
        "two photos",
    );
    let tail = [&several[..], &photo, b"x"].concat();
    assert_rejected(&verdict(&tail).await, reason::TRAILING_DATA, "gain map and tail");
    let settings = [
        &photo[..],
        b"\0\0\x01\x0aImage_UTC_Data1700000000000SEFH\x6b\0\0\0\0\0\0\0\x18\0\0\0SEFT",
    ]
    .concat();
    assert_clean(verdict(&settings).await, "Samsung");
}

#[tokio::test]
async fn truncated_images_are_malformed() {
    for image in images() {
        for length in [12, image.len() / 2, image.len() - 3] {
            let verdict = verdict(&image[..length]).await;
            assert!(
                !matches!(verdict, Verdict::Clean(_)),
                "{length} of {:?}: {verdict:?}",
                &image[..4]
            );
        }
    }
}

#[tokio::test]
async fn damaged_data_does_not_pass() {
    let mut png = corpus::encode(corpus::photo(64, 64), ImageFormat::Png);
    let middle = png.len() / 2;
    png[middle] ^= 0xff;
    assert_rejected(&verdict(&png).await, reason::MALFORMED, "PNG");
    let empty = [&[0xff, 0xd8][..], &segment(0xfe, b"x"), &[0xff, 0xd9]].concat();
    assert_rejected(&verdict(&empty).await, reason::MALFORMED, "JPEG without an image");
}
