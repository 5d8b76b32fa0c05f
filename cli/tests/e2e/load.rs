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

/// How many connections ask for echoes, all the time.
pub const CLIENTS: usize = 4;

/// Clients that send and get back all the time, each over a connection of its own.
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

    /// Waits until each client may have been answered.
    pub fn expect_progress(&self) {
        let before = self.answered.load(SeqCst);
        eventually("requests are answered", || {
            self.answered.load(SeqCst) > before + 2 * CLIENTS as u64
        });
    }

    /// Panics if a request was lost or its answer wrong; returns how many there were.
    pub fn stop(self) -> u64 {
        self.stopped.store(true, SeqCst);
        for client in self.clients {
            client.join().unwrap().unwrap();
        }
        self.answered.load(SeqCst)
    }
}

/// A connection on which no answer is waited for in vain.
pub fn connect(target: &Target) -> TcpStream {
    let port: u16 = target.command("port").parse().unwrap();
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// One request of 64 bytes, whose answer is the same.
pub fn ask(stream: &mut TcpStream, number: u64) -> io::Result<()> {
    let request: Vec<u8> = (number..number + 8).flat_map(u64::to_be_bytes).collect();
    stream.write_all(&request)?;
    let mut answer = [0; 64];
    stream.read_exact(&mut answer)?;
    assert_eq!(answer[..], request[..]);
    Ok(())
}
