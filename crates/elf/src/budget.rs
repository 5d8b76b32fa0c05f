//! What reading may cost.

use std::{
    cell::Cell,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use nix::time::ClockId;

use crate::ReadError;

/// A cost of reading a file that is counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[non_exhaustive]
pub enum Resource {
    /// Bytes that are read or inflated.
    Bytes,
    /// Symbols of functions.
    Symbols,
    /// Compilation units.
    Units,
    /// Entries of debug info and instructions of line tables, each time one is looked at.
    Steps,
    /// Ranges of addresses.
    Ranges,
    /// Rows of line tables that are kept.
    Rows,
    /// Source files and directories that line tables list.
    Files,
    /// Bytes of names.
    Names,
    /// Functions that are inlined into one another.
    Depth,
    /// Time.
    Time,
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bytes => "bytes",
            Self::Symbols => "symbols",
            Self::Units => "compilation units",
            Self::Steps => "parts of debug info",
            Self::Ranges => "ranges of addresses",
            Self::Rows => "line table rows",
            Self::Files => "source files",
            Self::Names => "bytes of names",
            Self::Depth => "nested inlined functions",
            Self::Time => "seconds of work",
        })
    }
}

/// How much of each resource may be read. There are no exceptions.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes that are read or inflated.
    pub bytes: u64,
    /// Symbols of functions.
    pub symbols: u64,
    /// Compilation units.
    pub units: u64,
    /// Entries of debug info and instructions of line tables, each time one is looked at.
    pub steps: u64,
    /// Ranges of addresses, each time one is looked at.
    pub ranges: u64,
    /// Rows of line tables that are kept.
    pub rows: u64,
    /// Source files and directories that line tables list.
    pub files: u64,
    /// Bytes of the names that are handed out.
    pub names: u64,
    /// Functions that are inlined into one another at one address.
    pub depth: usize,
    /// The time that all work takes together.
    pub time: Duration,
}

impl Default for Limits {
    /// Returns the limits of one process: several times what the largest
    /// programs in the field have.
    fn default() -> Self {
        Self {
            bytes: 2 << 30,
            symbols: 8 << 20,
            units: 1 << 18,
            steps: 400_000_000,
            ranges: 8 << 20,
            rows: 16 << 20,
            files: 1 << 19,
            names: 256 << 20,
            depth: 128,
            time: Duration::from_secs(20),
        }
    }
}

impl Limits {
    /// Returns the limits of one file among others, so that a hostile one
    /// leaves something for the rest.
    #[must_use]
    pub const fn halved(self) -> Self {
        Self {
            bytes: self.bytes / 2,
            symbols: self.symbols / 2,
            units: self.units / 2,
            steps: self.steps / 2,
            ranges: self.ranges / 2,
            rows: self.rows / 2,
            files: self.files / 2,
            names: self.names / 2,
            depth: self.depth,
            time: Duration::from_millis(self.time.as_millis() as u64 / 2),
        }
    }
}

/// The clock is read once per this many counted things.
const CLOCK: u64 = 1 << 14;

/// How much may still be read.
#[derive(Debug)]
pub struct Budget {
    limits: Limits,
    used: [AtomicU64; 8],
    since_clock: AtomicU64,
    /// When the budget was made, and the time spent by finished work, in nanoseconds of a thread's
    /// processor time: on a busy machine a file has as many names as on an idle one.
    made: u64,
    spent: AtomicU64,
    /// The budget of all files together; everything is paid for there as well.
    whole: Option<Arc<Self>>,
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl Budget {
    /// Creates an unused budget.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            used: Default::default(),
            since_clock: AtomicU64::new(0),
            made: now(),
            spent: AtomicU64::new(0),
            whole: None,
        }
    }

    /// Creates the budget of one file as a part of `whole`: at most half of its limits.
    #[must_use]
    pub fn part(whole: &Arc<Self>) -> Self {
        Self {
            whole: Some(Arc::clone(whole)),
            ..Self::new(whole.limits.halved())
        }
    }

    pub(crate) const fn depth(&self) -> usize {
        self.limits.depth
    }

    /// Pays for something that is about to be read.
    ///
    /// # Errors
    /// If there is not enough left.
    pub fn pay(&self, resource: Resource, amount: u64) -> Result<(), ReadError> {
        let Some((used, limit)) = self.account(resource) else {
            return Ok(());
        };
        let over = ReadError::Over(resource);
        let before = used.fetch_add(amount, Ordering::Relaxed);
        if before.checked_add(amount).is_none_or(|after| after > limit) {
            // Keeps it from wrapping, however often it is tried.
            used.store(limit.saturating_add(1), Ordering::Relaxed);
            return Err(over);
        }
        let steps = match resource {
            // A byte is little work.
            Resource::Bytes | Resource::Names => amount / 64 + 1,
            _ => amount,
        };
        if self.since_clock.fetch_add(steps, Ordering::Relaxed) >= CLOCK {
            self.since_clock.store(0, Ordering::Relaxed);
            self.check_time()?;
        }
        match &self.whole {
            Some(whole) => whole.pay(resource, amount),
            None => Ok(()),
        }
    }

    fn give_back(&self, resource: Resource, amount: u64) {
        if let Some((used, _)) = self.account(resource) {
            used.fetch_sub(amount, Ordering::Relaxed);
        }
        if let Some(whole) = &self.whole {
            whole.give_back(resource, amount);
        }
    }

    /// Does work, and counts its time. Several threads may do so at once.
    pub fn spend<T>(&self, work: impl FnOnce() -> T) -> T {
        // This is a part of work that is already counted.
        if BEGAN.get().is_some() {
            return work();
        }
        BEGAN.set(Some(now()));
        let _counted = Work(self);
        work()
    }

    /// Returns how long this thread has been at work, in processor time.
    fn going_on(&self) -> u64 {
        now().saturating_sub(BEGAN.get().unwrap_or(self.made))
    }

    /// Returns steps that are paid for in batches, because each is little work.
    pub(crate) const fn steps(&self) -> Steps<'_> {
        Steps {
            budget: self,
            paid: 0,
        }
    }

    fn check_time(&self) -> Result<(), ReadError> {
        let spent = self.spent.load(Ordering::Relaxed);
        let spent = Duration::from_nanos(spent.saturating_add(self.going_on()));
        match spent < self.limits.time {
            true => Ok(()),
            false => Err(ReadError::Over(Resource::Time)),
        }
    }

    fn account(&self, resource: Resource) -> Option<(&AtomicU64, u64)> {
        let Limits {
            bytes,
            symbols,
            units,
            steps,
            ranges,
            rows,
            files,
            names,
            ..
        } = self.limits;
        let (index, limit) = match resource {
            Resource::Bytes => (0, bytes),
            Resource::Symbols => (1, symbols),
            Resource::Units => (2, units),
            Resource::Steps => (3, steps),
            Resource::Ranges => (4, ranges),
            Resource::Rows => (5, rows),
            Resource::Files => (6, files),
            Resource::Names => (7, names),
            Resource::Depth | Resource::Time => return None,
        };
        Some((self.used.get(index)?, limit))
    }
}

/// The number of steps that are paid for at once.
const STEPS: u64 = 256;

/// Steps that are taken one by one.
#[derive(Debug)]
pub(crate) struct Steps<'a> {
    budget: &'a Budget,
    paid: u64,
}

impl Steps<'_> {
    /// Takes one step.
    pub(crate) fn take(&mut self) -> Result<(), ReadError> {
        if self.paid == 0 {
            self.budget.pay(Resource::Steps, STEPS)?;
            self.paid = STEPS;
        }
        self.paid -= 1;
        Ok(())
    }
}

impl Drop for Steps<'_> {
    /// Gives back the steps that were not taken.
    fn drop(&mut self) {
        self.budget.give_back(Resource::Steps, self.paid);
    }
}

/// Work that is counted until this is dropped, even by a panic.
struct Work<'a>(&'a Budget);

impl Drop for Work<'_> {
    fn drop(&mut self) {
        let time = self.0.going_on();
        BEGAN.set(None);
        let mut budget = Some(self.0);
        while let Some(one) = budget {
            one.spent.fetch_add(time, Ordering::Relaxed);
            budget = one.whole.as_deref();
        }
    }
}

thread_local! {
    /// When the current work of this thread began.
    static BEGAN: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Returns the thread's processor time, in nanoseconds.
fn now() -> u64 {
    let spent = ClockId::CLOCK_THREAD_CPUTIME_ID.now();
    let spent = spent.map(Duration::from).unwrap_or_default();
    u64::try_from(spent.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits {
            bytes: 100,
            ..Limits::default()
        }
    }

    #[test]
    fn what_is_used_up_stays_so() {
        let budget = Budget::new(limits());
        budget.pay(Resource::Bytes, 100).unwrap();
        for amount in [1, u64::MAX, u64::MAX, 1] {
            let over = budget.pay(Resource::Bytes, amount).unwrap_err();
            assert!(matches!(over, ReadError::Over(Resource::Bytes)), "{over}");
        }
        budget.pay(Resource::Rows, 1).unwrap();
    }

    #[test]
    fn a_file_leaves_half_for_the_others() {
        let whole = Arc::new(Budget::new(limits()));
        let greedy = Budget::part(&whole);
        greedy.pay(Resource::Bytes, 50).unwrap();
        assert!(greedy.pay(Resource::Bytes, 1).is_err());
        Budget::part(&whole).pay(Resource::Bytes, 50).unwrap();
        assert!(Budget::part(&whole).pay(Resource::Bytes, 1).is_err());
    }

    #[test]
    fn time_ends_work_that_goes_on() {
        let budget = Budget::new(Limits {
            time: Duration::ZERO,
            ..Limits::default()
        });
        let mut steps = 0..10 * CLOCK;
        assert!(steps.any(|_| budget.pay(Resource::Steps, 1).is_err()));
    }
}
