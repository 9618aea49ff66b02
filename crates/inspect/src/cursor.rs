//! Reading binary headers without a way to read past the end.

use crate::verdict::{Rejected, reason};

/// A position in bytes; every read moves it on or fails as `malformed`.
#[derive(Clone)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// At an offset that the file itself names.
    pub fn at(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    pub fn position(&self) -> usize {
        self.at
    }

    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Rejected> {
        let taken = self.rest().get(..count).ok_or_else(|| self.truncated())?;
        self.at += count;
        Ok(taken)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Rejected> {
        let taken = self.rest().first_chunk::<N>().ok_or_else(|| self.truncated())?;
        self.at += N;
        Ok(*taken)
    }

    pub fn u8(&mut self) -> Result<u8, Rejected> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    pub fn u16_be(&mut self) -> Result<u16, Rejected> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub fn u16_le(&mut self) -> Result<u16, Rejected> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub fn u32_be(&mut self) -> Result<u32, Rejected> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub fn u32_le(&mut self) -> Result<u32, Rejected> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn truncated(&self) -> Rejected {
        Rejected::new(
            reason::MALFORMED,
            format!("ends early at byte {}", self.at.min(self.bytes.len())),
        )
    }
}
