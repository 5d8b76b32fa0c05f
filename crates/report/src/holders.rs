//! Finds out who holds what others wait for.

use std::{cmp::Reverse, collections::HashMap};

use rtops_protocol::{Claim, ClaimRole, Resource};

use crate::{
    dump::Dump,
    spans::Spans,
    task::{Task, TaskKey},
};

/// The locks of a dump that are waited for, by lock and by task.
///
/// A span's claims count for the task in whose tree the span shows.
#[derive(Debug)]
pub struct Holders<'a> {
    /// The dump.
    pub dump: &'a Dump,
    locks: HashMap<u64, Lock<'a>>,
    waits: HashMap<TaskKey, Vec<&'a Claim>>,
    holds: HashMap<TaskKey, Vec<&'a Claim>>,
    waits_of_threads: HashMap<i32, Vec<&'a Claim>>,
    tasks: HashMap<TaskKey, &'a Task>,
}

/// A lock that is waited for.
#[derive(Debug)]
pub struct Lock<'a> {
    /// The lock itself.
    pub resource: &'a Resource,
    /// Who holds it, longest first.
    pub holders: Vec<&'a Claim>,
    /// Who waits for it, longest first.
    pub waiters: Vec<&'a Claim>,
}

impl<'a> Holders<'a> {
    /// Indexes the claims of a dump. Claims on a resource that is not in the dump are left out.
    pub fn of(dump: &'a Dump) -> Self {
        let mut this = Self {
            dump,
            locks: HashMap::new(),
            waits: HashMap::new(),
            holds: HashMap::new(),
            waits_of_threads: HashMap::new(),
            tasks: HashMap::new(),
        };
        if dump.claims.is_empty() {
            return this;
        }
        this.tasks = dump.tasks_by_key();
        let locks = dump.resources.iter().map(|resource| {
            let lock = Lock {
                resource,
                holders: Vec::new(),
                waiters: Vec::new(),
            };
            (resource.id, lock)
        });
        this.locks = locks.collect();
        let mut claims: Vec<&Claim> = dump.claims.iter().collect();
        claims.sort_by_key(|claim| Reverse(claim.since_ns));
        let spans = Spans::of(dump);
        for claim in claims {
            let owner = TaskKey::tracked(claim.task).map(|task| spans.owner(task));
            this.add(claim, owner);
        }
        this
    }

    fn add(&mut self, claim: &'a Claim, owner: Option<TaskKey>) {
        let Some(lock) = self.locks.get_mut(&claim.resource) else {
            return;
        };
        match claim.role {
            ClaimRole::Holder => lock.holders.push(claim),
            ClaimRole::Waiter => lock.waiters.push(claim),
        }
        let claims = match (claim.role, owner) {
            (ClaimRole::Holder, Some(owner)) => self.holds.entry(owner).or_default(),
            (ClaimRole::Waiter, Some(owner)) => self.waits.entry(owner).or_default(),
            (ClaimRole::Waiter, None) => self.waits_of_threads.entry(claim.tid).or_default(),
            (ClaimRole::Holder, None) => return,
        };
        claims.push(claim);
    }

    /// Returns the lock that a claim is on.
    pub fn lock(&self, claim: &Claim) -> Option<&Lock<'a>> {
        self.locks.get(&claim.resource)
    }

    /// Returns what a task waits for, including the spans that show in its tree.
    pub fn waits(&self, task: TaskKey) -> &[&'a Claim] {
        self.waits.get(&task).map_or(&[], Vec::as_slice)
    }

    /// Returns what a task holds that others wait for, including the spans that show in its tree.
    pub fn holds(&self, task: TaskKey) -> &[&'a Claim] {
        self.holds.get(&task).map_or(&[], Vec::as_slice)
    }

    /// Returns what a thread waits for outside of all tracked tasks: either itself or an
    /// untracked task that it polled.
    pub fn waits_of_thread(&self, tid: i32) -> &[&'a Claim] {
        self.waits_of_threads.get(&tid).map_or(&[], Vec::as_slice)
    }

    /// Returns the task of a claim; `None` for a claim outside of all tasks or of an ended task.
    pub fn task(&self, claim: &Claim) -> Option<&'a Task> {
        self.tasks.get(&TaskKey::tracked(claim.task)?).copied()
    }
}
