//! Groups of tasks and threads as text.

mod drawing;
pub mod forest;
pub mod leaks;
pub mod stack;
