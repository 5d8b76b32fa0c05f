//! The number of tasks alive on a tokio runtime, tracked or not.

#[cfg(feature = "tokio")]
pub(crate) use with::Alive;
#[cfg(not(feature = "tokio"))]
pub(crate) use without::Alive;

#[cfg(feature = "tokio")]
mod with {
    use tokio::runtime::Handle;

    /// A runtime, and how many tasks it had when a check began.
    #[derive(Debug)]
    pub(crate) struct Alive {
        runtime: Handle,
        before: usize,
    }

    impl Alive {
        /// Counts the tasks of the runtime that this thread is in.
        #[track_caller]
        pub(crate) fn now() -> Self {
            let Ok(runtime) = Handle::try_current() else {
                panic!(
                    "Check::tokio_alive has no tokio runtime to count on here: begin the check \
                     inside of one"
                );
            };
            Self {
                before: runtime.metrics().num_alive_tasks(),
                runtime,
            }
        }

        /// Returns how many more tasks there are now.
        pub(crate) fn more(&self) -> usize {
            let alive = self.runtime.metrics().num_alive_tasks();
            alive.saturating_sub(self.before)
        }
    }
}

/// Nothing can ask for the count if tokio is compiled out.
#[cfg(not(feature = "tokio"))]
mod without {
    #[derive(Debug)]
    pub(crate) enum Alive {}

    impl Alive {
        pub(crate) fn more(&self) -> usize {
            match *self {}
        }
    }
}
