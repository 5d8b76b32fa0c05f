//! Groups of tasks and threads as text.

mod drawing;
mod holders;
pub mod stack;
