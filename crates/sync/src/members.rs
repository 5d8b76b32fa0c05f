//! A set of tasks that somebody may wait for.

use std::{fmt, future::Future, mem, panic::Location, sync::Arc};

use rtops_tasks::Entry;

use crate::{
    claim::{Kind, Wish},
    ledger::Ledger,
    waiting::Waiting,
};

/// The book of a set of tasks. Those of its tasks that have not ended count as its holders: who
/// waits for the set goes on when one of them ends.
pub struct Members {
    ledger: Ledger<0>,
}

impl Members {
    /// Those who have ended are forgotten when there are at least so many.
    const MANY: usize = 32;

    /// No tasks yet, in a set of tasks that end with a value of type `T`.
    #[track_caller]
    #[must_use]
    pub fn new<T>() -> Self {
        let site = Location::caller();
        Self {
            ledger: Ledger::new(Kind::JoinSet, std::any::type_name::<T>, site),
        }
    }

    /// Takes a task into the set.
    pub fn add(&self, entry: &Arc<Entry>) {
        let mut state = self.ledger.resource().state();
        let members = &mut state.members;
        let mut ended: Vec<Arc<Entry>> = Vec::new();
        // Each time that as many came as there were: a constant time each.
        if members.len() >= Self::MANY && members.len() == members.capacity() {
            let all = mem::take(members);
            (ended, *members) = all.into_iter().partition(|entry| entry.is_finished());
            let room = members.len();
            members.reserve(room);
        }
        members.push(Arc::clone(entry));
        drop(state);
        // An entry may have the last waker of its task, and code of others runs when that goes.
        drop(ended);
    }

    /// The tasks go on, but are no longer waited for.
    pub fn clear(&self) {
        let members = mem::take(&mut self.ledger.resource().state().members);
        drop(members);
    }

    /// The future, known to wait for one of the tasks from its first `Pending` on.
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
