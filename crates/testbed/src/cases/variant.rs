//! What a case uses of rtops.

use std::future::Future;

use rtops_testbed::FOREVER;
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinHandle,
};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Variant {
    Bare,
    Plain,
    Wrapped,
}

impl Variant {
    pub(crate) fn parse(name: &str) -> Result<Self, String> {
        match name {
            "bare" => Ok(Self::Bare),
            "plain" => Ok(Self::Plain),
            "wrapped" => Ok(Self::Wrapped),
            _ => Err(format!(
                "no variant is called {name:?}: bare, plain, wrapped"
            )),
        }
    }

    #[track_caller]
    pub(crate) fn spawn<F>(self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        match self {
            Self::Bare | Self::Plain => tokio::spawn(future),
            Self::Wrapped => rtops_agent::spawn(future),
        }
    }
}

/// Builds the runtime that `#[tokio::main]` would, with this many workers.
pub(crate) fn runtime(workers: usize) -> Runtime {
    rtops_testbed::runtime::workers(workers).expect("a runtime is made")
}

/// Like `runtime`, with at most this many threads for blocking work.
pub(crate) fn runtime_with_pool(workers: usize, blocking: usize) -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder
        .worker_threads(workers)
        .max_blocking_threads(blocking);
    builder.enable_all().build().expect("a runtime is made")
}

/// What a service's main task does once everything is set up.
pub(crate) async fn keep() {
    tokio::time::sleep(FOREVER).await;
}
