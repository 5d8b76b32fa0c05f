//! From what the user typed to a process, and to a conversation with its agent.

pub mod client;
pub mod discover;
pub mod every_agent;
pub mod named;
pub mod only;
pub mod parallel;
pub mod programs;
pub mod target;
