//! Where results go, and how they may look there.

pub mod file;
pub mod links;
pub mod paged;
mod pager;
pub mod progress;
pub mod terminal;
