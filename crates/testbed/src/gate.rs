//! Tasks that come, wait at a gate, pass it, and leave when the test tells them to:
//!
//! | command | answer |
//! |---|---|
//! | `come N` | how many tasks there are |
//! | `admit N` | how many have passed the gate |
//! | `leave N` | how many there are without the last N |

use std::{
    cell::RefCell,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use tokio::{runtime::Runtime, sync::Semaphore, task::JoinHandle, time::sleep};

use crate::{FOREVER, Never, control::Control, runtime::workers};

struct Gate {
    runtime: Runtime,
    permits: Arc<Semaphore>,
    inside: Arc<AtomicUsize>,
    guests: Vec<JoinHandle<()>>,
}

pub(crate) fn run(control: Control, _: Option<&str>) -> Result<Never, String> {
    let gate = RefCell::new(Gate {
        runtime: workers(1)?,
        permits: Arc::new(Semaphore::new(0)),
        inside: Arc::default(),
        guests: Vec::new(),
    });
    control.serve_with(
        || 0,
        |command| {
            let (verb, count) = command.split_once(' ')?;
            let answer = gate.borrow_mut().obey(verb, count.parse().ok()?);
            answer.map(|count| count.to_string())
        },
    )
}

impl Gate {
    /// Returns `None` if the word is not a command.
    fn obey(&mut self, verb: &str, count: usize) -> Option<usize> {
        match verb {
            "come" => {
                for _ in 0..count {
                    let guest = guest(Arc::clone(&self.permits), Arc::clone(&self.inside));
                    self.guests.push(self.runtime.spawn(guest));
                }
                Some(self.guests.len())
            }
            "admit" => {
                let wanted = self.inside.load(Relaxed) + count;
                self.permits.add_permits(count);
                while self.inside.load(Relaxed) < wanted {
                    thread::sleep(Duration::from_millis(1));
                }
                Some(wanted)
            }
            "leave" => {
                let left = self.guests.len().saturating_sub(count);
                for guest in self.guests.drain(left..) {
                    guest.abort();
                    // The task was cancelled, so this returns an error.
                    self.runtime.block_on(guest).ok();
                }
                Some(left)
            }
            _ => None,
        }
    }
}

async fn guest(gate: Arc<Semaphore>, inside: Arc<AtomicUsize>) {
    if let Ok(permit) = gate.acquire().await {
        // AWAIT gate-outside
        permit.forget();
    }
    inside.fetch_add(1, Relaxed);
    sleep(FOREVER).await; // AWAIT gate-inside
}
