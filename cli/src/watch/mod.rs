//! Looking again: what changed between two looks, when the next one is, and a picture that is drawn anew.

pub mod churn;
pub mod look;
pub mod sample;
pub mod screen;
pub mod ticks;
