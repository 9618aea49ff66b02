//! Requests byte by byte.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// A connection on which the test writes every byte itself.
pub struct Raw {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Raw {
    pub fn connect(address: SocketAddr) -> Raw {
        let stream = TcpStream::connect(address).expect("a connection");
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        Raw {
            stream,
            unread: Vec::new(),
        }
    }

    /// Sends; a peer that has closed already will show at the next read.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Raw {
        let _ = self.stream.write_all(bytes.as_ref());
        self
    }

    /// The next answer, header and body as text; `None` when the connection ended instead.
    pub fn answer(&mut self) -> Option<String> {
        let header = loop {
            if let Some(end) = self.unread.windows(4).position(|w| w == b"\r\n\r\n") {
                break self.unread.drain(..end + 4).collect::<Vec<u8>>();
            }
            if self.read() == 0 {
                return None;
            }
        };
        let header = String::from_utf8(header).expect("text");
        let length =
            header_value(&header, "content-length").map_or(0, |value| value.parse().expect("a length"));
        while self.unread.len() < length && self.read() > 0 {}
        let length = length.min(self.unread.len());
        let body: Vec<u8> = self.unread.drain(..length).collect();
        Some(header + &String::from_utf8_lossy(&body))
    }

    /// Everything to the end of the connection.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.read() > 0 {}
        std::mem::take(&mut self.unread)
    }

    /// Waits for the end of the connection; how long that took.
    pub fn closed(&mut self) -> Duration {
        let started = Instant::now();
        while self.read() > 0 {}
        started.elapsed()
    }

    fn read(&mut self) -> usize {
        let mut bytes = [0; 16 * 1024];
        match self.stream.read(&mut bytes) {
            Ok(read) => {
                self.unread.extend_from_slice(&bytes[..read]);
                read
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                panic!("neither an answer nor the end in 20 s")
            }
            // A reset is an end too.
            Err(_) => 0,
        }
    }
}

/// One request on a connection of its own: status (0 when it was closed without one) and whole answer.
pub fn exchange(address: SocketAddr, request: impl AsRef<[u8]>) -> (u16, String) {
    let answer = Raw::connect(address).send(request).answer().unwrap_or_default();
    let status = answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or(0);
    (status, answer)
}

fn header_value<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    let line = header.lines().find(|line| {
        line.get(..name.len())
            .is_some_and(|n| n.eq_ignore_ascii_case(name))
    })?;
    Some(line.split_once(':')?.1.trim())
}
