//! Hostile uploads of every kind, made from the small valid files of the inspection's own tests.

use std::io::Write;

use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};
use rand::Rng;
use rand::rngs::StdRng;

use super::support::Sample;
use crate::corpus;
use crate::zip::Zip;

/// Names that try to leave, to hide or to overwrite; the extension is added.
const NAMES: &[&str] = &[
    "../../../../etc/passwd",
    "..\\..\\windows\\system32\\a",
    "%2e%2e%2f%2e%2e%2fa",
    "....//....//a",
    "/etc/cron.d/a",
    "C:\\a",
    "CON",
    "a;b",
    "a\"b; filename=\"c",
    "a\u{200b}b",
    ".htaccess",
    "-rf",
    "a@thumb_160",
    "<img src=x onerror=alert(1)>",
    "ñandú 🦤",
];

/// A hostile file, and whether it must be refused; otherwise it may be harmless by chance.
pub fn hostile(random: &mut StdRng, index: usize) -> (Sample, bool) {
    let (seed, content_type, seed_name) = pick(random, &corpus::all());
    let extension = seed_name.rsplit('.').next().expect("an extension");
    let (bytes, content_type, extension, refused): (Vec<u8>, &'static str, &'static str, bool) =
        match index % 12 {
            0 => {
                let mut bytes = vec![b' '; random.random_range(0..70_000)];
                bytes.extend(corpus::eicar());
                (bytes, "text/plain", "txt", true)
            }
            1 => {
                let mut bytes = seed;
                mutate(random, &mut bytes);
                let at = random.random_range(0..=bytes.len());
                bytes.splice(at..at, corpus::eicar());
                (bytes, content_type, extension, true)
            }
            2 => (active(random), "image/jpeg", "jpg", true),
            3 => {
                let image = pick(
                    random,
                    &[corpus::jpeg(), corpus::png(), corpus::gif(2), corpus::webp()],
                );
                let active = active(random);
                let tail = pick(random, &[corpus::zip(), corpus::pdf(b""), active]);
                let (content_type, extension) = image_type(&image);
                ([image, tail].concat(), content_type, extension, true)
            }
            4 => {
                let image = pick(
                    random,
                    &[corpus::jpeg(), corpus::png(), corpus::gif(2), corpus::webp()],
                );
                let (content_type, extension) = image_type(&image);
                let length = random.random_range(1..image.len() - 4);
                (image[..length].to_vec(), content_type, extension, true)
            }
            5 => (archive(random), "application/zip", "zip", true),
            6 => {
                let side = pick(random, &[12_001, 20_000, 50_000, u32::MAX >> 1]);
                (flood(side, side, b""), "image/png", "png", true)
            }
            7 => (Vec::new(), content_type, extension, true),
            8 => {
                let claimed = pick(
                    random,
                    &[
                        ("image/png", "png"),
                        ("application/pdf", "pdf"),
                        ("image/gif", "gif"),
                    ],
                );
                (corpus::xlsx(), claimed.0, claimed.1, true)
            }
            9 => {
                let action = pick(
                    random,
                    &[
                        &b"4 0 obj\n<< /S /JavaScript /JS (app.alert(1)) >>\nendobj\n"[..],
                        b"4 0 obj\n<< /S /Launch /F (cmd.exe) >>\nendobj\n",
                    ],
                );
                (corpus::pdf(action), "application/pdf", "pdf", true)
            }
            _ => {
                let mut bytes = seed;
                mutate(random, &mut bytes);
                (bytes, content_type, extension, false)
            }
        };
    let name = format!("{}.{extension}", NAMES[index % NAMES.len()]);
    (
        Sample {
            name,
            content_type,
            bytes,
        },
        refused,
    )
}

/// A picture of 20,000 x 20,000 pixels in some 50 kB.
pub fn pixel_flood() -> Vec<u8> {
    flood(20_000, 20_000, &deflated(2_501 * 20_000))
}

/// A picture of 24 megapixels, 16 bits per channel with transparency: 192 MB when decoded.
pub fn deep_picture() -> Vec<u8> {
    picture(6_000, 4_000, 16, 6, &deflated((1 + 6_000 * 8) * 4_000))
}

/// 20 MB of nothing in an archive of some 20 kB.
pub fn archive_bomb() -> Vec<u8> {
    Zip::default().deflated("a.txt", &vec![0; 20_000_000]).build()
}

fn pick<T: Clone>(random: &mut StdRng, of: &[T]) -> T {
    of[random.random_range(0..of.len())].clone()
}

fn mutate(random: &mut StdRng, bytes: &mut Vec<u8>) {
    for _ in 0..random.random_range(1..=8) {
        let at = random.random_range(0..bytes.len());
        match random.random_range(0..4) {
            0 => bytes[at] ^= 1 << random.random_range(0..8),
            1 => bytes[at] = random.random(),
            2 => bytes.insert(at, random.random()),
            _ => bytes.truncate(at.max(1)),
        }
    }
}

/// Markup, a script or a program.
fn active(random: &mut StdRng) -> Vec<u8> {
    let text: &[u8] = pick(
        random,
        &[
            &b"<!DOCTYPE html><script>alert(1)</script>"[..],
            b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
            b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff\0\0This program cannot be run in DOS mode",
            b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0",
            b"#!/bin/sh\nrm -rf /\n",
            b"<?php system($_GET['c']); ?>",
        ],
    );
    text.to_vec()
}

/// An archive that leaves its directory, lies, nests or holds malware.
fn archive(random: &mut StdRng) -> Vec<u8> {
    let text = b"uno\n";
    match random.random_range(0..6) {
        0 => Zip::default().deflated("../../a.txt", text),
        1 => Zip::default().deflated("a.txt", &corpus::eicar()),
        2 => Zip::default().stored("a.zip", &corpus::zip()),
        3 => Zip::default()
            .deflated("a.txt", text)
            .with(|item| item.inflated = 4_000_000_000),
        4 => Zip::default()
            .deflated("a.txt", text)
            .with(|item| item.mode = 0o120_777),
        _ => Zip::default().deflated("a.txt", text).with(|item| item.flags = 1),
    }
    .build()
}

fn image_type(bytes: &[u8]) -> (&'static str, &'static str) {
    match bytes {
        [0xff, ..] => ("image/jpeg", "jpg"),
        [0x89, ..] => ("image/png", "png"),
        [b'G', ..] => ("image/gif", "gif"),
        _ => ("image/webp", "webp"),
    }
}

/// A PNG of one bit per pixel.
fn flood(width: u32, height: u32, data: &[u8]) -> Vec<u8> {
    picture(width, height, 1, 0, data)
}

fn picture(width: u32, height: u32, depth: u8, colour: u8, data: &[u8]) -> Vec<u8> {
    let header = [
        &width.to_be_bytes()[..],
        &height.to_be_bytes(),
        &[depth, colour, 0, 0, 0],
    ]
    .concat();
    [
        b"\x89PNG\r\n\x1a\n",
        &chunk(b"IHDR", &header)[..],
        &chunk(b"IDAT", data),
        &chunk(b"IEND", b""),
    ]
    .concat()
}

fn chunk(kind: &[u8], content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).expect("small").to_be_bytes();
    let body = [kind, content].concat();
    let mut crc = Crc::new();
    crc.update(&body);
    [&length[..], &body, &crc.sum().to_be_bytes()].concat()
}

/// So many zeroes.
fn deflated(count: usize) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    let zeroes = vec![0; 1 << 20];
    let mut left = count;
    while left > 0 {
        let piece = left.min(zeroes.len());
        encoder.write_all(&zeroes[..piece]).expect("in memory");
        left -= piece;
    }
    encoder.finish().expect("in memory")
}
