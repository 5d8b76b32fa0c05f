//! Requests to the echo server of the scenario `untouched`.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
};

use crate::support::{DEADLINE, Target, eventually};

/// How many connections send requests all the time.
pub const CLIENTS: usize = 4;

/// Clients that send and receive all the time, each over its own connection.
pub struct Load {
    stopped: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    clients: Vec<JoinHandle<io::Result<()>>>,
}

impl Load {
    pub fn start(target: &Target) -> Self {
        let stopped = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicU64::new(0));
        let clients = (0..CLIENTS).map(|_| {
            let (stopped, answered) = (Arc::clone(&stopped), Arc::clone(&answered));
            let mut stream = connect(target);
            thread::spawn(move || {
                while !stopped.load(SeqCst) {
                    ask(&mut stream, answered.fetch_add(1, SeqCst))?;
                }
                Ok(())
            })
        });
        Self {
            clients: clients.collect(),
            stopped,
            answered,
        }
    }

    /// Waits until each client may have got an answer.
    pub fn expect_progress(&self) {
        let before = self.answered.load(SeqCst);
        eventually("requests are answered", || {
            self.answered.load(SeqCst) > before + 2 * CLIENTS as u64
        });
    }

    /// Panics if a request was lost or its answer was wrong; returns the number of requests.
    pub fn stop(self) -> u64 {
        self.stopped.store(true, SeqCst);
        for client in self.clients {
            client.join().unwrap().unwrap();
        }
        self.answered.load(SeqCst)
    }
}

/// Opens a connection whose reads time out.
pub fn connect(target: &Target) -> TcpStream {
    let port: u16 = target.command("port").parse().unwrap();
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// Sends one request of 64 bytes, and expects the same bytes back.
pub fn ask(stream: &mut TcpStream, number: u64) -> io::Result<()> {
    let request: Vec<u8> = (number..number + 8).flat_map(u64::to_be_bytes).collect();
    stream.write_all(&request)?;
    let mut answer = [0; 64];
    stream.read_exact(&mut answer)?;
    assert_eq!(answer[..], request[..]);
    Ok(())
}
