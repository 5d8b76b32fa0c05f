//! A set of tasks that can be waited for.

use std::{fmt, future::Future, mem, panic::Location, sync::Arc};

use rtops_tasks::Entry;

use crate::{
    claim::{Kind, Wish},
    ledger::Ledger,
    waiting::Waiting,
};

/// The ledger of a set of tasks. Tasks that have not ended count as its holders: whoever waits for
/// the set continues when one of them ends.
pub struct Members {
    ledger: Ledger<0>,
}

impl Members {
    /// Tasks that have ended are removed once there are at least this many.
    const MANY: usize = 32;

    /// Makes an empty set of tasks that end with a value of type `T`.
    #[track_caller]
    #[must_use]
    pub fn new<T>() -> Self {
        let site = Location::caller();
        Self {
            ledger: Ledger::new(Kind::JoinSet, std::any::type_name::<T>, site),
        }
    }

    /// Adds a task to the set.
    pub fn add(&self, entry: &Arc<Entry>) {
        let mut state = self.ledger.resource().state();
        let members = &mut state.members;
        let mut ended: Vec<Arc<Entry>> = Vec::new();
        // Only when as many have come as were there before, so that each addition takes
        // constant time.
        if members.len() >= Self::MANY && members.len() == members.capacity() {
            let all = mem::take(members);
            (ended, *members) = all.into_iter().partition(|entry| entry.is_finished());
            let room = members.len();
            members.reserve(room);
        }
        members.push(Arc::clone(entry));
        drop(state);
        // An entry may hold its task's last waker, and dropping that runs foreign code.
        drop(ended);
    }

    /// Empties the set. The tasks go on, but are no longer waited for.
    pub fn clear(&self) {
        let members = mem::take(&mut self.ledger.resource().state().members);
        drop(members);
    }

    /// Wraps a future, which from its first `Pending` on is recorded as waiting for one
    /// of the tasks.
    pub fn waiting<F: Future>(
        &self,
        future: F,
        site: &'static Location<'static>,
    ) -> impl Future<Output = F::Output> {
        let wait = move || self.ledger.wait(Wish::shared(site, 1));
        Waiting::new(future, wait, |output| output)
    }
}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Members").finish_non_exhaustive()
    }
}
