//! What differs between processors: the registers that unwinding starts from.
//!
//! framehop's x86_64 rules compile everywhere. On another processor `sys` reports no modules, so that
//! every stack ends as `Lost` after its first address until that processor has a module here.

mod x86_64;

pub(crate) use x86_64::{Cache, Rules, from_rules, interrupted, to_rules};
