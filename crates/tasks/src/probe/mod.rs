//! Probes: one extra poll of each tracked future, to learn where it waits.
//!
//! - `driver` runs a dump: it hands out tickets, wakes, waits and collects;
//! - `session` is what the driver and the polling threads share during one dump;
//! - `frame` is a probed poll, on the polling thread, and `list` has those under way on
//!   each thread;
//! - `waker` is the waker handed to it, and `capture`, `stacks`, `slots` and `arch` copy the
//!   stack from inside it.

mod arch;
mod capture;
mod driver;
mod frame;
mod list;
mod session;
mod slots;
mod stacks;
mod ticket;
mod waker;

pub use driver::{Findings, Plan, Probed, ProbedState, Shortfall, Sink, Wakers, probe};
pub use session::Stale;
pub use slots::{Owner, StackCopy};

pub(crate) use frame::{is_wanted, poll_probed};
pub(crate) use list::Place;
pub(crate) use stacks::OwnStack;
pub(crate) use ticket::Ticket;
pub(crate) use waker::{can_be_woken, is_probing};
