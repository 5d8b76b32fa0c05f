//! Groups of tasks and threads as text.

pub mod diff;
mod drawing;
pub mod forest;
mod heading;
mod holders;
mod labels;
pub mod leaks;
pub mod stack;
#[cfg(test)]
mod tests;
