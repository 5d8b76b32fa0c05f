//! A running check: what it looks at, and the wait until nothing is left.

use std::{
    collections::{HashMap, HashSet},
    panic::Location,
    sync::Arc,
    thread::sleep,
    time::{Duration, Instant},
};

use nix::unistd::gettid;
use rtops_tasks::{Entry, Kind, ScopeId, TaskId, entries, entries_of};

use crate::{Check, alive::Alive, report::Report};

/// The pause between the first two looks; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// The part of the process that a check covers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Extent {
    Scope(ScopeId),
    Process,
}

/// A check that has begun.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) check: Check,
    pub(crate) extent: Extent,
    /// Where it was begun.
    pub(crate) site: &'static Location<'static>,
    alive: Option<Alive>,
    /// The threads that do not concern it, if it looks at threads.
    old_threads: Option<HashSet<i32>>,
}

/// What exists but should not.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Tasks, and the spans inside them.
    pub(crate) entries: Vec<Arc<Entry>>,
    /// Maps the number of each entry to that of the task that it is, or is inside of.
    pub(crate) roots: HashMap<u64, u64>,
    /// How many tasks are untracked.
    pub(crate) untracked: usize,
    pub(crate) threads: HashSet<i32>,
}

impl Found {
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.untracked == 0 && self.threads.is_empty()
    }
}

impl Watch {
    #[track_caller]
    pub(crate) fn begin(check: Check, extent: Extent, site: &'static Location<'static>) -> Self {
        let old_threads = check.threads.then(|| match extent {
            Extent::Scope(_) => {
                let old: HashSet<i32> = threads().map(|(tid, _)| tid).collect();
                // At least this thread exists.
                assert!(
                    !old.is_empty(),
                    "Check::threads can't list the threads of this process: is /proc mounted?"
                );
                old
            }
            Extent::Process => HashSet::from([gettid().as_raw()]),
        });
        #[cfg(feature = "tokio")]
        let alive = if check.tokio_alive {
            Some(Alive::now())
        } else {
            None
        };
        #[cfg(not(feature = "tokio"))]
        let alive = None;
        Self {
            alive,
            check,
            extent,
            site,
            old_threads,
        }
    }

    /// Blocks until nothing is left or the time is up.
    ///
    /// # Errors
    /// If something is left: what it is.
    pub(crate) fn wait(&self) -> Result<(), Report> {
        self.wait_while(|| true)
    }

    /// The same, but ends when the result is no longer wanted.
    ///
    /// # Errors
    /// If something is left: what it is.
    pub(crate) fn wait_while(&self, is_wanted: impl Fn() -> bool) -> Result<(), Report> {
        let deadline = Instant::now() + self.check.timeout;
        let mut pause = FIRST_PAUSE;
        let mut symbols = None;
        while is_wanted() {
            let left = deadline.saturating_duration_since(Instant::now());
            let found = self.look();
            if found.is_empty() {
                return Ok(());
            }
            // If only stacks show what is ignored, there may be nothing to wait for. Taking them is
            // slow, so the first looks do without.
            let may_be_ignored = self.is_about_stacks() && pause == LONGEST_PAUSE;
            if left.is_zero() || may_be_ignored {
                match Report::of(self, &found, &mut symbols) {
                    None => return Ok(()),
                    Some(report) if left.is_zero() => return Err(report),
                    Some(_) => {}
                }
            }
            sleep(pause.min(left));
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        Ok(())
    }

    /// Whether nothing is left now.
    pub(crate) fn is_clean(&self) -> bool {
        self.look().is_empty()
    }

    fn is_about_stacks(&self) -> bool {
        self.check.threads || !self.check.ignored.functions.is_empty()
    }

    /// Returns what is left, except what is ignored by name or site.
    fn look(&self) -> Found {
        let all = match self.extent {
            Extent::Scope(scope) => entries_of(scope),
            Extent::Process => entries(),
        };
        let on_executors =
            |entry: &&Arc<Entry>| matches!(entry.kind(), Kind::Task | Kind::Undecided);
        let tracked = all.iter().filter(on_executors).count();
        let more = self.alive.as_ref().map_or(0, Alive::more);
        let (entries, roots) = self.not_ignored(all);
        Found {
            entries,
            roots,
            untracked: more.saturating_sub(tracked),
            threads: self.new_threads(),
        }
    }

    fn not_ignored(&self, all: Vec<Arc<Entry>>) -> (Vec<Arc<Entry>>, HashMap<u64, u64>) {
        let ignored = &self.check.ignored;
        let by_id: HashMap<TaskId, &Entry> =
            all.iter().map(|entry| (entry.id(), &**entry)).collect();
        let mut roots = HashMap::new();
        for entry in &all {
            let root = root(entry, &by_id);
            let named = root.name().is_some_and(|name| ignored.has_name(name));
            if !named && !ignored.has_site(root.site()) {
                roots.insert(entry.id().get(), root.id().get());
            }
        }
        let mut left = all;
        left.retain(|entry| roots.contains_key(&entry.id().get()));
        (left, roots)
    }

    fn new_threads(&self) -> HashSet<i32> {
        let Some(old) = &self.old_threads else {
            return HashSet::new();
        };
        let new = threads().filter(|(tid, name)| {
            // The threads of an agent, and those that wait like this one.
            let is_own = name.starts_with("rtops-");
            !is_own && !old.contains(tid) && !self.check.ignored.has_name(name)
        });
        new.map(|(tid, _)| tid).collect()
    }
}

/// Returns the task that a span is inside of, if it is among these; else the entry itself.
fn root<'a>(entry: &'a Entry, all: &HashMap<TaskId, &'a Entry>) -> &'a Entry {
    let mut root = entry;
    while root.kind() == Kind::Span
        && let Some(around) = all.get(&root.parent())
    {
        root = around;
    }
    root
}

/// Returns the threads of the process that have not ended, with their names.
fn threads() -> impl Iterator<Item = (i32, String)> {
    let all = rtops_threads::list().unwrap_or_default().into_iter();
    all.filter(|thread| !matches!(thread.state, 'Z' | 'X'))
        .map(|thread| (thread.tid.as_raw(), thread.name))
}
