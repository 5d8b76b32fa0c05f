//! What several parts of rtops speak of: a loaded module, a copied stack, and numbers that are
//! easily taken for each other.
//!
//! With the feature `serde`, what is sent between processes can be serialized.

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
