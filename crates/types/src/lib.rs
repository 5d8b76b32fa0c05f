//! Types that several crates share: a loaded module, a copied stack, and
//! newtypes for numbers that are easy to mix up.
//!
//! With the feature `serde`, the types that are sent between processes can be serialized.

mod memory;
mod module;
mod notes;
mod numbers;
mod stack;

pub use memory::{Access, MapsLine, PAGE, page_of};
pub use module::{Module, ModuleKind};
pub use notes::build_id;
pub use numbers::{FileOffset, Pid, Svma, Tid};
pub use stack::{StackRegisters, StackSlice};
