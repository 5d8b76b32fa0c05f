//! What looks like a leak and is none: nothing here is to be reported.

pub(crate) mod joins;
pub(crate) mod load;
pub(crate) mod pools;
pub(crate) mod servers;
pub(crate) mod threads;
pub(crate) mod timers;
