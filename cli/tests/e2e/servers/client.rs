//! Clients that do only part of what they should.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use nix::sys::socket::{setsockopt, sockopt::RcvBuf};

use crate::support::DEADLINE;

/// A way to use a server.
#[derive(Clone, Copy, Eq, PartialEq)]
pub enum Visit {
    /// The client sends nothing, or nothing more after a request was answered.
    Idle,
    /// The client sends half of a request's head.
    Head,
    /// The request body does not come.
    Upload,
    /// The handler waits.
    Order,
    /// The server produces no more of the response.
    Events,
    /// The client does not read the response.
    Download,
    /// The handler wants a connection of a pool that has two.
    Report,
    /// A websocket on which no message comes.
    Chat,
    /// A websocket that the client does not read.
    Flood,
}

impl Visit {
    /// The visits that every HTTP/1 server supports.
    pub const ALL: [Self; 6] = [
        Self::Idle,
        Self::Head,
        Self::Upload,
        Self::Order,
        Self::Events,
        Self::Download,
    ];
    /// The index of the upload's connection among those of [`ALL`](Self::ALL).
    pub const UPLOAD: usize = 4;

    /// Returns what is sent on each connection.
    fn requests(self) -> Vec<String> {
        let get =
            |path: &str, more: &str| format!("GET {path} HTTP/1.1\r\nHost: shop\r\n{more}\r\n");
        let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        let upload = "POST /upload HTTP/1.1\r\nHost: shop\r\nContent-Length: 9\r\n\r\nfirst";
        match self {
            Self::Idle => vec![String::new(), String::new(), get("/health", "")],
            Self::Head => vec!["GET /health HTTP/1.1\r\nHost: shop\r\n".to_owned()],
            Self::Upload => vec![upload.to_owned()],
            Self::Order => vec![get("/orders/7", ""); 3],
            Self::Events => vec![get("/events", "")],
            Self::Download => vec![get("/download", "")],
            Self::Report => vec![get("/report", ""); 5],
            Self::Chat => vec![get("/chat", upgrade)],
            Self::Flood => vec![get("/flood", upgrade)],
        }
    }
}

/// Opens the connections of one kind of visit.
pub fn visit(port: u16, way: Visit) -> Vec<TcpStream> {
    let connections = way.requests().into_iter().map(|request| {
        let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        client.set_read_timeout(Some(DEADLINE)).unwrap();
        if matches!(way, Visit::Download | Visit::Flood) {
            setsockopt(&client, RcvBuf, &4096).unwrap();
        }
        client.write_all(request.as_bytes()).unwrap();
        if way == Visit::Idle && !request.is_empty() {
            let mut got = [0; 15];
            client.read_exact(&mut got).unwrap();
            assert_eq!(&got, b"HTTP/1.1 200 OK");
        }
        client
    });
    connections.collect()
}
