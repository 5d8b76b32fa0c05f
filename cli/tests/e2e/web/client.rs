//! A client of one connection, which checks every byte that it receives.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
};

use nix::sys::socket::{setsockopt, sockopt::RcvBuf};

use crate::support::DEADLINE;

/// An HTTP/1.1 connection that is kept alive.
pub struct Client(BufReader<TcpStream>);

impl Client {
    pub fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(BufReader::new(stream))
    }

    /// Connects with a small receive buffer that still holds some of the largest segments.
    pub fn connect_narrow(port: u16) -> Self {
        let client = Self::connect(port);
        setsockopt(client.0.get_ref(), RcvBuf, &(256 << 10)).unwrap();
        client
    }

    /// Sends a request whose body begins with these bytes.
    pub fn send(&mut self, method: &str, path: &str, length: usize, body: &str) {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
        );
        self.send_more(&(head + body));
    }

    /// Sends more of the body.
    pub fn send_more(&mut self, body: &str) {
        self.0.get_mut().write_all(body.as_bytes()).unwrap();
    }

    /// Reads an answer, which must be a success, and returns its body.
    pub fn answer(&mut self) -> Vec<u8> {
        let status = self.line();
        assert_eq!(status, "HTTP/1.1 200 OK");
        let mut length = None;
        let mut is_chunked = false;
        loop {
            let line = self.line().to_ascii_lowercase();
            match line.split_once(": ") {
                Some(("content-length", value)) => length = value.parse().ok(),
                Some(("transfer-encoding", value)) => is_chunked = value == "chunked",
                _ if line.is_empty() => break,
                _ => {}
            }
        }
        match length {
            Some(length) => self.bytes(length),
            None if is_chunked => self.chunks(),
            None => panic!("the answer has no length"),
        }
    }

    fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let length = usize::from_str_radix(&self.line(), 16).unwrap();
            body.extend(self.bytes(length));
            assert_eq!(self.line(), "", "a chunk ends with its length");
            if length == 0 {
                return body;
            }
        }
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes).unwrap();
        bytes
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        let line = line.strip_suffix("\r\n").expect("the connection is open");
        line.to_owned()
    }
}
