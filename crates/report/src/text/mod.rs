//! Groups of tasks and threads as text.

mod drawing;
pub mod forest;
mod heading;
mod holders;
pub mod leaks;
pub mod stack;
