//! Probes: one extra poll of each tracked future, to learn where it waits.
//!
//! - `driver` runs a dump: hands out tickets, wakes, waits, collects;
//! - `session` is what the driver and the polling threads share during one dump;
//! - `frame` is a probed poll, on the polling thread;
//! - `step` runs the stepped polls of a dump;
//! - `waker` is the waker handed to it, and `slots` and `arch` copy the stack from inside it.

mod arch;
mod driver;
mod frame;
mod session;
mod slots;
mod step;
mod ticket;
mod waker;

pub use driver::{Findings, Plan, Probed, ProbedState, Shortfall, Sink, Wakers, probe};
pub use session::Stale;
pub use slots::{Owner, StackCopy};
pub use step::{NotStepped, Stepped, step};

pub(crate) use frame::{Frame, is_wanted, poll_probed};
pub(crate) use ticket::Ticket;
pub(crate) use waker::{can_be_woken, is_probing};
