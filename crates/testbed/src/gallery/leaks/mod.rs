//! All forms that a leak can take.

pub(crate) mod blocked;
pub(crate) mod channels;
pub(crate) mod counts;
pub(crate) mod cycles;
pub(crate) mod detached;
pub(crate) mod held;
pub(crate) mod io;
pub(crate) mod joins;
pub(crate) mod loops;
pub(crate) mod never;
pub(crate) mod threads;
pub(crate) mod wakers;
