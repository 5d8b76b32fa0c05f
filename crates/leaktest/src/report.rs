//! The report of a failed check: the await trees of what leaked, in the format of `rtops stack`.

use std::{
    collections::HashSet,
    fmt::{self, Display},
    sync::Arc,
    time::{Duration, Instant},
};

use rtops_capture::{Evidence, Host, Only, OwnThread, Wanted};
use rtops_protocol::{Ask, Reply, StackParts, ThreadCapture};
use rtops_render::{style::Style, text::stack::groups};
use rtops_report::{
    dump::Dump,
    format::{self, count},
    frame::Link,
    frames::{Frames, Shown},
    group::{TaskGroup, group_tasks},
    selection::{Grouping, Selection},
    symbolize::symbolize_all,
    task::{State, Task, TaskKey},
    threads::{ThreadGroup, group_threads},
    view::View,
};
use rtops_tasks::RuntimeTag;
use rtops_threads::{Capturer, Signal};

use crate::{
    symbols::SharedSymbols,
    watch::{Found, Watch},
};

/// The most time that the dump may take.
const DUMP_TIME: Duration = Duration::from_secs(10);

/// The function in which the test harness runs a test.
const HARNESS: &str = "test::run_test";
/// The functions that a thread of tokio's blocking pool is in: from its
/// start on, and while it has something to do.
const POOL: &str = "tokio::runtime::blocking::pool::Inner::run";
const POOL_TASK: &str = "tokio::runtime::blocking::pool::Task::run";

const ADVICE: &str = "Have each of them end before the test does: close what it waits for, or abort \
    it and await its handle. What may live on is told by ignore_name, ignore_function or \
    ignore_site.";
const STANDS_STILL: &str = "Some are to run and no thread polls them: a guard that is dropped \
    inside a current-thread runtime stops it. End such a test with `leaks.verify().await`, or use \
    #[rtops_leaktest::test] or rtops_leaktest::scope.";
const UNTRACKED: &str = "Of an untracked task only the number is known: spawn it with \
    rtops_agent::spawn, or `.tracked(\"name\")`, to see where it waits.";
const THREADS: &str = "Threads belong to the process: where tests run in parallel, one of these may \
    be another test's. Run the test alone to know.";

/// Why a test fails.
#[derive(Debug)]
pub(crate) struct Report(String);

impl Report {
    /// Reports what was found, is still there and is not ignored; `None` if that is nothing. The
    /// symbols are left with the caller for the next time.
    pub(crate) fn of(
        watch: &Watch,
        found: &Found,
        symbols: &mut Option<Arc<SharedSymbols>>,
    ) -> Option<Self> {
        let dump = match dump(found) {
            Ok(dump) => dump,
            Err(why) => return Some(Self(format!("tasks leaked, but can't be shown: {why}"))),
        };
        let shared = symbols.insert(SharedSymbols::of(dump.modules.clone()));
        let mut symbols = shared.lock();
        let frames = symbolize_all(&dump, &mut symbols, Shown::Folded);
        let lacks = symbols.lacks().iter().map(ToString::to_string).collect();
        drop(symbols);
        let leaked = Leaked {
            watch,
            found,
            dump: &dump,
            frames: &frames,
        };
        let selection = Selection {
            tasks: Some(leaked.tasks()),
            threads: Some(leaked.threads()),
            ..Selection::default()
        };
        let tasks = group_tasks(&dump, &frames, &selection, Grouping::Equal);
        let threads = group_threads(&dump, &frames, &selection, Grouping::Equal);
        leaked.report(tasks, threads, lacks)
    }

    /// Makes the report of a check that can't wait.
    pub(crate) fn of_failure(error: &std::io::Error) -> Self {
        Self(format!(
            "tasks are left, and no thread can be started to wait for them: {error}"
        ))
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is to be judged, with its stacks.
struct Leaked<'a> {
    watch: &'a Watch,
    found: &'a Found,
    dump: &'a Dump,
    frames: &'a Frames,
}

impl<'a> Leaked<'a> {
    /// Returns the tasks, and spans inside them, whose await trees contain no ignored function.
    fn tasks(&self) -> HashSet<TaskKey> {
        let roots = &self.found.roots;
        let mut tasks: HashSet<TaskKey> = roots.keys().copied().map(TaskKey::Tracked).collect();
        if self.watch.check.ignored.functions.is_empty() {
            return tasks;
        }
        let selection = Selection {
            tasks: Some(tasks.clone()),
            ..Selection::default()
        };
        let groups = group_tasks(self.dump, self.frames, &selection, Grouping::Equal);
        let ignored: HashSet<u64> = groups
            .iter()
            .filter(|group| {
                group
                    .chains
                    .iter()
                    .any(|chain| self.is_ignored(&chain.links))
            })
            .flat_map(|group| &group.tasks)
            .filter_map(|task| self.root(task.key))
            .collect();
        tasks.retain(|task| {
            self.root(*task)
                .is_some_and(|root| !ignored.contains(&root))
        });
        tasks
    }

    /// Returns the task that is judged together with this one.
    fn root(&self, task: TaskKey) -> Option<u64> {
        match task {
            TaskKey::Tracked(id) => self.found.roots.get(&id).copied(),
            TaskKey::Untracked(_) => None,
        }
    }

    /// Returns the threads that still do what somebody started them for.
    fn threads(&self) -> HashSet<i32> {
        let is_leaked = |links: &[Link]| {
            !self.is_ignored(links) && !self.is_in(links, HARNESS) && !self.is_idle(links)
        };
        let threads = self.dump.threads.iter().filter(|thread| {
            self.found.threads.contains(&thread.tid)
                && match thread.capture {
                    ThreadCapture::Stack(leaf) => is_leaked(self.frames.stack(leaf.stack)),
                    _ => true,
                }
        });
        threads.map(|thread| thread.tid).collect()
    }

    /// Whether it is an idle thread of tokio's blocking pool.
    fn is_idle(&self, links: &[Link]) -> bool {
        self.is_in(links, POOL) && !self.is_in(links, POOL_TASK)
    }

    fn is_in(&self, links: &[Link], function: &str) -> bool {
        let mut frames = self.frames.of_links(links);
        frames.any(|frame| frame.name.starts_with(function))
    }

    fn is_ignored(&self, links: &[Link]) -> bool {
        let ignored = &self.watch.check.ignored;
        let mut frames = self.frames.of_links(links);
        frames.any(|frame| ignored.has_function(&frame.name))
    }

    fn report(
        &self,
        tasks: Vec<TaskGroup<'a>>,
        threads: Vec<ThreadGroup<'a>>,
        lacks: Vec<String>,
    ) -> Option<Report> {
        let untracked = self.found.untracked;
        let is_root = |task: &Task| self.root(task.key).map(TaskKey::Tracked) == Some(task.key);
        let shown = || tasks.iter().flat_map(|group| &group.tasks);
        let counts = [
            (shown().filter(|task| is_root(task)).count(), "task"),
            (untracked, "untracked task"),
            (
                threads.iter().map(|group| group.threads.len()).sum(),
                "thread",
            ),
        ];
        let counts: Vec<String> = counts
            .into_iter()
            .filter(|(number, _)| *number > 0)
            .map(|(number, noun)| count(number, noun))
            .collect();
        if counts.is_empty() {
            return None;
        }
        let stands_still = shown().any(|task| matches!(task.state, State::Starved | State::New));
        let mut remarks = Vec::new();
        if stands_still {
            remarks.push(STANDS_STILL);
        }
        if untracked > 0 {
            remarks.push(UNTRACKED);
        }
        if !threads.is_empty() {
            remarks.push(THREADS);
        }
        remarks.push(ADVICE);
        let head = format!(
            "{} leaked: still alive {} after the end of the check at {}\n",
            counts.join(" and "),
            format::duration(self.watch.check.timeout),
            self.watch.site
        );
        let view = View {
            tasks: Some(tasks),
            threads: Some(threads),
            lacks,
            ..View::of(self.dump, self.frames)
        };
        let mut text = head.into_bytes();
        // Writing to a vector does not fail.
        drop(groups(&mut text, Style::PLAIN, &view));
        let text = String::from_utf8_lossy(&text);
        Some(Report(format!("{text}\n{}", remarks.join("\n"))))
    }
}

/// Takes a dump of what was found.
///
/// # Errors
/// If it can't be read: the reason.
fn dump(found: &Found) -> Result<Dump, String> {
    let is_running = found
        .entries
        .iter()
        .any(|entry| entry.polled_by().is_some());
    let wants_threads = is_running || !found.threads.is_empty();
    let host = Process {
        capturer: wants_threads.then(capturer).flatten(),
    };
    let wanted = Wanted {
        parts: StackParts::All,
        evidence: Evidence::No,
        ask: Ask::TasksAndThreads,
        only: Some(Only {
            tasks: found.entries.clone(),
            threads: found.threads.iter().copied().collect(),
        }),
    };
    let dump = rtops_capture::take(&host, wanted, Instant::now() + DUMP_TIME);
    let mut bytes = Vec::new();
    dump.map_err(|disabled| format!("{disabled:?}"))?
        .send(&mut bytes)
        .map_err(|error| error.to_string())?;
    let mut bytes = bytes.as_slice();
    Dump::receive(|| Reply::receive(&mut bytes)).map_err(|failure| format!("{failure:?}"))
}

/// An agent in this process may have chosen another signal, and then only that one is available. If
/// there is none, threads are shown without their stacks.
fn capturer() -> Option<Capturer> {
    [Signal::URGENT, Signal::USER_1, Signal::USER_2]
        .into_iter()
        .find_map(|signal| rtops_threads::install(signal).ok())
}

/// This process, as the dump sees it.
struct Process {
    capturer: Option<Capturer>,
}

impl Host for Process {
    fn name(&self) -> &str {
        ""
    }

    fn has_tasks(&self) -> bool {
        true
    }

    fn capturer(&self) -> Option<&Capturer> {
        self.capturer.as_ref()
    }

    fn own_thread(&self, _: i32) -> Option<OwnThread> {
        None
    }

    fn runtime_name(&self, _: RuntimeTag) -> Option<String> {
        None
    }

    fn alive_tasks(&self) -> Option<u64> {
        None
    }
}
