//! Which threads of a process come and go while it is watched: related threads are recognized by
//! their names alone, and a short-lived one is in no dump.

use std::{
    collections::{HashMap, HashSet},
    thread,
    time::{Duration, Instant},
};

use procfs::process::Process;
use rtops_report::leaks::sample::kin;
use rtops_types::Pid;

use crate::proc::proc_files;

/// How often to look.
const PACE: Duration = Duration::from_millis(100);

/// The threads seen so far.
#[derive(Debug)]
pub struct ThreadChurn {
    /// `None` if the process can't be seen, which the next question to its agent will show.
    process: Option<Process>,
    seen: HashMap<i32, String>,
    alive: HashSet<i32>,
}

impl ThreadChurn {
    /// Begins to watch a process.
    pub fn of(pid: Pid) -> Self {
        Self {
            process: proc_files::process(pid).ok(),
            seen: HashMap::new(),
            alive: HashSet::new(),
        }
    }

    /// Watches for the given time.
    pub fn watch(&mut self, time: Duration) {
        let end = Instant::now() + time;
        loop {
            self.look();
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            thread::sleep(PACE.min(left));
        }
    }

    fn look(&mut self) {
        let Some(Ok(tasks)) = self.process.as_ref().map(proc_files::threads) else {
            return;
        };
        self.alive.clear();
        for task in tasks {
            self.alive.insert(task.tid);
            if !self.seen.contains_key(&task.tid)
                && let Ok(stat) = task.stat()
            {
                self.seen.insert(task.tid, kin(&stat.comm));
            }
        }
    }

    /// Returns the names, without digits, of threads that have ended.
    pub fn ended(&self) -> HashSet<String> {
        let ended = self
            .seen
            .iter()
            .filter(|(tid, _)| !self.alive.contains(tid));
        ended.map(|(_, name)| name.clone()).collect()
    }
}
