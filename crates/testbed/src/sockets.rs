//! A process that opens what it is told to, and keeps it open:
//!
//! | command | answer |
//! |---|---|
//! | `tcp ADDRESS`, `udp ADDRESS` | the address that it is now bound to |
//! | `unix PATH` | `listening` |
//! | `accept` | the address of the peer whose connection the first listener accepted |
//! | `connect ADDRESS` | the local address of the connection |
//! | `files N` | how many files it opened |

use std::{
    any::Any,
    cell::RefCell,
    fs::File,
    io,
    net::{TcpListener, TcpStream, UdpSocket},
    os::unix::net::UnixListener,
};

use crate::{Never, control::Control};

#[derive(Default)]
struct Open {
    listeners: Vec<TcpListener>,
    others: Vec<Box<dyn Any>>,
}

pub(crate) fn run(control: Control, _: Option<&str>) -> Result<Never, String> {
    let open = RefCell::new(Open::default());
    control.serve_with(
        || 0,
        |command| {
            let (verb, operand) = command.split_once(' ').unwrap_or((command, ""));
            let answer = open.borrow_mut().obey(verb, operand);
            answer.map(|done| done.unwrap_or_else(|error| error.to_string()))
        },
    )
}

impl Open {
    /// Returns `None` if the word is not a command.
    fn obey(&mut self, verb: &str, operand: &str) -> Option<io::Result<String>> {
        Some(match verb {
            "tcp" => TcpListener::bind(operand).and_then(|listener| {
                let address = listener.local_addr()?.to_string();
                self.listeners.push(listener);
                Ok(address)
            }),
            "udp" => UdpSocket::bind(operand).and_then(|socket| {
                let address = socket.local_addr()?.to_string();
                self.keep(socket, address)
            }),
            "unix" => UnixListener::bind(operand)
                .and_then(|listener| self.keep(listener, "listening".to_owned())),
            "accept" => match self.listeners.first() {
                Some(listener) => listener
                    .accept()
                    .and_then(|(stream, peer)| self.keep(stream, peer.to_string())),
                None => Ok("nothing listens".to_owned()),
            },
            "connect" => TcpStream::connect(operand).and_then(|stream| {
                let address = stream.local_addr()?.to_string();
                self.keep(stream, address)
            }),
            "files" => self.open_files(operand.parse().unwrap_or(0)),
            _ => return None,
        })
    }

    fn keep(&mut self, open: impl Any, answer: String) -> io::Result<String> {
        self.others.push(Box::new(open));
        Ok(answer)
    }

    fn open_files(&mut self, count: usize) -> io::Result<String> {
        for _ in 0..count {
            let file = File::open("/dev/null")?;
            self.others.push(Box::new(file));
        }
        Ok(count.to_string())
    }
}
