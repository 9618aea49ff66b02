//! A ZIP writer that also writes what no ZIP writer should.

use std::io::Write;

use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};

/// An entry; every field can be made a lie before the archive is built.
#[derive(Clone)]
pub struct Item {
    pub name: Vec<u8>,
    pub method: u16,
    pub flags: u16,
    pub crc: u32,
    pub data: Vec<u8>,
    pub inflated: u32,
    /// Unix file mode.
    pub mode: u32,
    /// Where the directory says that it is, when not where it is.
    pub header: Option<u32>,
}

#[derive(Clone, Default)]
pub struct Zip {
    pub items: Vec<Item>,
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("a small file")
}

impl Zip {
    pub fn stored(self, name: &str, content: &[u8]) -> Self {
        self.item(name, 0, content, content.to_vec())
    }

    pub fn deflated(self, name: &str, content: &[u8]) -> Self {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(content).expect("in memory");
        self.item(name, 8, content, encoder.finish().expect("in memory"))
    }

    fn item(mut self, name: &str, method: u16, content: &[u8], data: Vec<u8>) -> Self {
        let mut crc = Crc::new();
        crc.update(content);
        self.items.push(Item {
            name: name.as_bytes().to_vec(),
            method,
            flags: 0,
            crc: crc.sum(),
            data,
            inflated: length(content),
            mode: 0o100_644,
            header: None,
        });
        self
    }

    /// Changes the last entry.
    pub fn with(mut self, change: impl FnOnce(&mut Item)) -> Self {
        change(self.items.last_mut().expect("an entry"));
        self
    }

    pub fn build(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut directory = Vec::new();
        for item in &self.items {
            let header = item.header.unwrap_or(length(&bytes));
            let common = [
                &item.flags.to_le_bytes()[..],
                &item.method.to_le_bytes(),
                &[0; 4],
                &item.crc.to_le_bytes(),
                &length(&item.data).to_le_bytes(),
                &item.inflated.to_le_bytes(),
                &u16::try_from(item.name.len())
                    .expect("a short name")
                    .to_le_bytes(),
                &[0; 2],
            ]
            .concat();
            if item.header.is_none() {
                bytes.extend([b"PK\x03\x04\x14\0", &common[..], &item.name, &item.data].concat());
            }
            directory.extend([b"PK\x01\x02\x14\x03\x14\0", &common[..], &[0; 6]].concat());
            directory.extend((item.mode << 16).to_le_bytes());
            directory.extend(header.to_le_bytes());
            directory.extend(&item.name);
        }
        let start = length(&bytes);
        let count = u16::try_from(self.items.len())
            .expect("few entries")
            .to_le_bytes();
        bytes.extend(&directory);
        bytes.extend([b"PK\x05\x06\0\0\0\0", &count[..], &count].concat());
        bytes.extend([length(&directory).to_le_bytes(), start.to_le_bytes()].concat());
        bytes.extend([0; 2]);
        bytes
    }
}
