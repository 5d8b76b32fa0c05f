//! The parts that differ between processors: the registers that unwinding starts from.
//!
//! framehop's x86_64 rules compile everywhere. On other processors `sys` reports no modules, so
//! every stack ends as `Lost` after its first address until the processor has a module here.

mod x86_64;

pub(crate) use x86_64::{Cache, Rules, from_rules, interrupted, to_rules};
