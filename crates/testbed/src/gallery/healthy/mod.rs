//! Cases that look like leaks but are not: nothing here may be reported.

pub(crate) mod joins;
pub(crate) mod load;
pub(crate) mod pools;
pub(crate) mod servers;
pub(crate) mod threads;
pub(crate) mod timers;
