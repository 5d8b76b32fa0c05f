//! The runtime of most scenarios.

use tokio::runtime::{Builder, Runtime};

/// A multi-thread runtime with its I/O and time drivers.
///
/// # Errors
/// When threads or drivers can't be made.
pub fn workers(count: usize) -> Result<Runtime, String> {
    Builder::new_multi_thread()
        .worker_threads(count)
        .enable_all()
        .build()
        .map_err(|error| error.to_string())
}
