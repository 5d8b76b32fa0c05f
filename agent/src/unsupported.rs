//! A platform without an agent: tasks and locks are still tracked, but nobody can ask for them.

use crate::config::{Options, StartError, is_disabled};

/// Reports that there is no agent for this platform.
///
/// # Errors
/// Always, unless `RTOPS_DISABLE=1` is set. The service can go on without it.
pub fn start() -> Result<(), StartError> {
    Options::new().start()
}

/// Does nothing, as there is no agent.
pub fn stop() {}

/// Returns the number of tracked tasks that are alive.
#[must_use]
pub fn task_count() -> u64 {
    rtops_tasks::task_count()
}

impl Options {
    /// Reports that there is no agent for this platform.
    ///
    /// # Errors
    /// Always, unless `RTOPS_DISABLE=1` is set. The service can go on without it.
    pub fn start(self) -> Result<(), StartError> {
        if is_disabled() {
            return Ok(());
        }
        Err(StartError::Unsupported)
    }
}
