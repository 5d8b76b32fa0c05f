//! Threads with names.

use std::thread::{Builder, JoinHandle};

/// Spawns a thread like [`std::thread::spawn`], but with a name.
pub(crate) fn thread<T: Send + 'static>(
    name: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    let thread = Builder::new().name(name.to_owned()).spawn(body);
    thread.expect("there is room for a thread")
}
