//! Grey JPEG files of any size in a few kilobytes, baseline and progressive, and segments to put into one.

/// How a file is put together.
#[derive(Clone, Copy)]
pub struct Jpeg {
    pub width: u16,
    pub height: u16,
    pub progressive: bool,
    /// Whether the colours have the full resolution (4:4:4) instead of a quarter of it (4:2:0).
    pub full_colour: bool,
    pub scans: usize,
}

impl Jpeg {
    pub fn baseline(width: u16, height: u16) -> Self {
        Self {
            width,
            height,
            progressive: false,
            full_colour: false,
            scans: 1,
        }
    }

    pub fn build(self) -> Vec<u8> {
        let sampling: u8 = if self.full_colour { 0x11 } else { 0x22 };
        let blocks_per_unit = if self.full_colour { 3 } else { 6 };
        let side = if self.full_colour { 8 } else { 16 };
        let units = u64::from(self.width).div_ceil(side) * u64::from(self.height).div_ceil(side);
        // One bit per block says that its mean is the one before; baseline has another one for nothing else.
        let bits = units * blocks_per_unit * if self.progressive { 1 } else { 2 };
        let [w1, w2] = self.width.to_be_bytes();
        let [h1, h2] = self.height.to_be_bytes();
        let mut bytes = vec![0xff, 0xd8];
        bytes.extend(segment(0xdb, &[&[0][..], &[1; 64]].concat()));
        let frame = [8, h1, h2, w1, w2, 3, 1, sampling, 0, 2, 0x11, 0, 3, 0x11, 0];
        bytes.extend(segment(if self.progressive { 0xc2 } else { 0xc0 }, &frame));
        for table in [0x00, 0x10] {
            let mut lengths = [0; 16];
            lengths[0] = 1;
            bytes.extend(segment(0xc4, &[&[table][..], &lengths, &[0]].concat()));
        }
        let last = if self.progressive { 0 } else { 63 };
        for _ in 0..self.scans {
            bytes.extend(segment(0xda, &[3, 1, 0, 2, 0, 3, 0, 0, last, 0]));
            bytes.extend(vec![0; usize::try_from(bits.div_ceil(8)).expect("a small file")]);
        }
        bytes.extend([0xff, 0xd9]);
        bytes
    }
}

pub fn segment(marker: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len() + 2)
        .expect("a short segment")
        .to_be_bytes();
    [&[0xff, marker][..], &length, content].concat()
}

/// Puts a segment right behind the start marker.
pub fn with_segment(jpeg: &[u8], marker: u8, content: &[u8]) -> Vec<u8> {
    [&jpeg[..2], &segment(marker, content), &jpeg[2..]].concat()
}

/// Metadata that holds an orientation, as cameras write it, and nothing else.
pub fn with_orientation(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let exif = [
        b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0",
        &[orientation][..],
        &[0; 6],
    ]
    .concat();
    with_segment(jpeg, 0xe1, &exif)
}
