//! Looking repeatedly: what changed between two looks, when the next is due, and how it is redrawn.

pub mod churn;
pub mod look;
pub mod sample;
pub mod screen;
pub mod ticks;
