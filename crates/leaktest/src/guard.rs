//! A check that ends at the end of a block.

use std::{panic::Location, thread::panicking};

use rtops_tasks::{Entered, ScopeId};

use crate::{
    Check,
    waiting::Waiting,
    watch::{Extent, Watch},
};

/// A running check on this thread, which ends when this is dropped: see [`check`](crate::check()).
#[derive(Debug)]
#[must_use = "the check ends when the guard is dropped: bind it to a name, as in `let _leaks = …`"]
pub struct Guard {
    /// Taken when the check ends.
    watch: Option<Watch>,
    scope: ScopeId,
    /// Can't be sent to another thread, so neither can the guard.
    entered: Option<Entered>,
}

impl Guard {
    #[track_caller]
    pub(crate) fn new(check: Check) -> Self {
        let scope = ScopeId::fresh();
        let watch = Watch::begin(check, Extent::Scope(scope), Location::caller());
        Self {
            watch: Some(watch),
            scope,
            entered: Some(scope.enter()),
        }
    }

    /// Ends the check without blocking the thread: the runtime keeps running while tasks are waited
    /// for. Use this to end an async test on a current-thread runtime.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let leaks = rtops_leaktest::check();
    /// let task = rtops_agent::spawn(std::future::pending::<()>());
    /// task.abort();
    /// leaks.verify().await;
    /// # }
    /// ```
    ///
    /// # Panics
    /// If tracked futures are left.
    pub async fn verify(mut self) {
        if let Some(watch) = self.end() {
            drop(self);
            if let Err(report) = Waiting::begin(watch).await {
                panic!("{report}");
            }
        }
    }

    /// Ends the check without looking for leaks.
    pub(crate) fn disarm(mut self) {
        self.watch = None;
    }

    /// Leaves the scope when first called. Returns what is to be
    /// checked, unless the test has failed already.
    fn end(&mut self) -> Option<Watch> {
        let watch = self.watch.take()?;
        let is_in_force = ScopeId::current() == self.scope;
        self.entered = None;
        if panicking() {
            return None;
        }
        if !is_in_force {
            panic!(
                "the leak check begun at {} has lost its scope and can't tell what leaked: its \
                 guard was held across an await in a task, or outlived by one made later; use \
                 rtops_leaktest::scope(future).await there",
                watch.site
            );
        }
        Some(watch)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(watch) = self.end()
            && let Err(report) = watch.wait()
        {
            panic!("{report}");
        }
    }
}
