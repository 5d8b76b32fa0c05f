//! A platform without an agent: tasks and locks are tracked as everywhere, and nobody can ask for them.

use crate::config::{Options, StartError, is_disabled};

/// Says that there is no agent for this platform.
///
/// # Errors
/// Always, but for `RTOPS_DISABLE=1`. The service can go on without.
pub fn start() -> Result<(), StartError> {
    Options::new().start()
}

/// Does nothing, as there is no agent.
pub fn stop() {}

/// How many tracked tasks are alive.
#[must_use]
pub fn task_count() -> u64 {
    rtops_tasks::task_count()
}

impl Options {
    /// Says that there is no agent for this platform.
    ///
    /// # Errors
    /// Always, but for `RTOPS_DISABLE=1`. The service can go on without.
    pub fn start(self) -> Result<(), StartError> {
        if is_disabled() {
            return Ok(());
        }
        Err(StartError::Unsupported)
    }
}
