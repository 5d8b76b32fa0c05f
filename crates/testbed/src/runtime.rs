//! The runtime of most scenarios.

use tokio::runtime::{Builder, Runtime};

/// Builds a multi-thread runtime with I/O and time drivers.
///
/// # Errors
/// If threads or drivers can't be created.
pub fn workers(count: usize) -> Result<Runtime, String> {
    Builder::new_multi_thread()
        .worker_threads(count)
        .enable_all()
        .build()
        .map_err(|error| error.to_string())
}
