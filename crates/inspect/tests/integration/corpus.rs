//! Small valid files of every accepted type, made in code.

use std::io::{Cursor, Write};

use flate2::Compression;
use flate2::write::ZlibEncoder;
use image::codecs::gif::GifEncoder;
use image::{DynamicImage, Frame, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};

use crate::zip::Zip;

pub const XLSX: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";
pub const DOCX: &str = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";

/// In two halves, so that no antivirus reports this source.
pub fn eicar() -> Vec<u8> {
    [
        r"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-",
        "ANTIVIRUS-TEST-FILE!$H+H*",
    ]
    .concat()
    .into_bytes()
}

/// Something like a photo: gradients and a texture.
pub fn photo(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let noise = (x.wrapping_mul(2_654_435_761) ^ y.wrapping_mul(40_503)).rotate_left(7) & 15;
        let channel = |value: u32| u8::try_from(value & 255).expect("masked");
        Rgb([
            channel(x * 200 / width + noise),
            channel(y * 200 / height + noise),
            channel((x + y) / 16 + noise),
        ])
    })
}

/// A red disc on nothing.
pub fn logo(side: u32) -> RgbaImage {
    let middle = i64::from(side / 2);
    RgbaImage::from_fn(side, side, |x, y| {
        let (dx, dy) = (i64::from(x) - middle, i64::from(y) - middle);
        if dx * dx + dy * dy < middle * middle {
            Rgba([200, 0, 0, 255])
        } else {
            Rgba([0, 0, 0, 0])
        }
    })
}

pub fn encode(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).expect("encoded");
    bytes.into_inner()
}

pub fn jpeg() -> Vec<u8> {
    encode(photo(64, 48), ImageFormat::Jpeg)
}

pub fn png() -> Vec<u8> {
    encode(logo(32), ImageFormat::Png)
}

pub fn webp() -> Vec<u8> {
    encode(logo(32), ImageFormat::WebP)
}

pub fn gif(frames: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = GifEncoder::new(&mut bytes);
    for _ in 0..frames {
        encoder.encode_frame(Frame::new(logo(16))).expect("encoded");
    }
    drop(encoder);
    bytes
}

/// A PDF of one page, with more objects before the end. Its cross-reference table is missing, as readers repair it.
pub fn pdf(extra: &[u8]) -> Vec<u8> {
    let head = b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n2 0 obj\n\
        << /Type /Pages /Kids [3 0 R] /Count 1 >>\nendobj\n3 0 obj\n<< /Type /Page /Parent 2 0 R >>\nendobj\n";
    [
        &head[..],
        extra,
        b"\ntrailer\n<< /Root 1 0 R >>\nstartxref\n0\n%%EOF\n",
    ]
    .concat()
}

/// An object with a compressed stream.
pub fn pdf_stream(dictionary: &str, content: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content).expect("in memory");
    let data = encoder.finish().expect("in memory");
    let head = format!(
        "9 0 obj\n<< {dictionary} /Filter /FlateDecode /Length {} >>\nstream\n",
        data.len()
    );
    [head.as_bytes(), &data, b"\nendstream\nendobj\n"].concat()
}

pub fn zip() -> Vec<u8> {
    Zip::default()
        .deflated("lista.txt", b"uno\ndos\n")
        .stored("fotos/a.jpg", &jpeg())
        .build()
}

pub fn xlsx() -> Vec<u8> {
    office("xl/workbook.xml", "spreadsheetml.sheet.main+xml").build()
}

pub fn docx() -> Vec<u8> {
    office("word/document.xml", "wordprocessingml.document.main+xml").build()
}

pub fn office(main: &str, content_type: &str) -> Zip {
    let types = format!(
        r#"<?xml version="1.0"?><Types><Override ContentType="application/x.{content_type}"/></Types>"#
    );
    Zip::default()
        .deflated("[Content_Types].xml", types.as_bytes())
        .deflated("_rels/.rels", br#"<?xml version="1.0"?><Relationships/>"#)
        .deflated(main, br#"<?xml version="1.0"?><main/>"#)
}

/// A file of every type: content, media type, name.
pub fn all() -> Vec<(Vec<u8>, &'static str, &'static str)> {
    vec![
        (jpeg(), "image/jpeg", "foto.JPG"),
        (png(), "image/png", "logo.png"),
        (webp(), "image/webp", "logo.webp"),
        (gif(3), "image/gif", "animado.gif"),
        (pdf(b""), "application/pdf", "factura.pdf"),
        (zip(), "application/zip", "fotos.zip"),
        (xlsx(), XLSX, "precios.xlsx"),
        (docx(), DOCX, "contrato.docx"),
        (
            "código;precio\n1;5 €\n".as_bytes().to_vec(),
            "text/csv",
            "precios.csv",
        ),
        (b"Ma\xf1ana a las 5\r\n".to_vec(), "text/plain", "nota.txt"),
    ]
}
