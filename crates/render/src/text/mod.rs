//! Groups of tasks and threads as text.

pub mod diff;
mod drawing;
mod fold;
pub mod forest;
mod heading;
mod holders;
mod idle;
mod labels;
pub mod leaks;
pub mod stack;
#[cfg(test)]
mod tests;
mod verdicts;
