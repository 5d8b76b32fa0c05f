//! What changes in a process while it is watched.

mod graph;
mod json;
mod line;
mod picture;

use std::time::Duration;

use rtops_protocol::Runtime;

use self::graph::History;
use crate::sample::{Change, Sample};

pub use json::json;
pub use line::text;
pub use picture::picture;

/// Samples of one process.
#[derive(Debug)]
pub struct Watched {
    /// The interval at which it is sampled.
    pub interval: Duration,
    /// The last sample.
    pub last: Sample,
    reading: Reading,
    history: History,
    /// Why there is no sample of now.
    missing: Option<String>,
    /// How many lines of text were printed.
    printed: usize,
}

/// What one sample and the one before it come to.
#[derive(Debug)]
struct Reading {
    seconds: f64,
    polls: f64,
    spawned: f64,
    finished: f64,
    cpu_share: f64,
    runtimes: Vec<RuntimeReading>,
}

#[derive(Debug)]
struct RuntimeReading {
    name: String,
    alive_tasks: u64,
    queue: u64,
    /// The share of the time in which each worker was busy; nothing for a runtime that is new.
    workers: Vec<f64>,
}

impl Watched {
    /// Begins with a sample whose rates are not known yet.
    pub fn new(interval: Duration, first: Sample) -> Self {
        let reading = Reading::of(Change {
            earlier: &first,
            now: &first,
        });
        Self {
            interval,
            last: first,
            reading,
            history: History::default(),
            missing: None,
            printed: 0,
        }
    }

    /// Takes a sample. Where some before it are missing, the rates are those since the last one.
    pub fn push(&mut self, now: Sample) {
        self.reading = Reading::of(Change {
            earlier: &self.last,
            now: &now,
        });
        self.last = now;
        self.missing = None;
        let sections = picture::sections(&self.last, &self.reading);
        self.history.push(&sections);
    }

    /// Takes the reason why there is no sample.
    pub fn miss(&mut self, reason: String) {
        self.missing = Some(reason);
        self.history.skip();
    }
}

impl Reading {
    fn of(change: Change<'_>) -> Self {
        let runtimes = change.now.stats.runtimes.iter().enumerate();
        Self {
            seconds: Duration::from_nanos(change.elapsed_ns()).as_secs_f64(),
            polls: change.rate(|stats| stats.polls),
            spawned: change.rate(|stats| stats.spawned),
            finished: change.rate(|stats| stats.finished),
            cpu_share: change.cpu_share(),
            runtimes: runtimes
                .map(|(index, runtime)| RuntimeReading::of(change, index, runtime))
                .collect(),
        }
    }

    /// Tasks that wait in the global queues; `None` where no runtime is known.
    fn queue(&self) -> Option<u64> {
        let queues = self.runtimes.iter().map(|runtime| runtime.queue);
        queues.reduce(u64::saturating_add)
    }

    /// The mean of all workers of all runtimes.
    fn busy(&self) -> Option<f64> {
        let workers = self.runtimes.iter().flat_map(|runtime| &runtime.workers);
        mean(workers)
    }
}

impl RuntimeReading {
    fn of(change: Change<'_>, index: usize, runtime: &Runtime) -> Self {
        let workers = change.workers(index).unwrap_or_default();
        Self {
            name: runtime.name.clone(),
            alive_tasks: runtime.alive_tasks,
            queue: runtime.global_queue_depth,
            workers: workers.iter().map(|worker| worker.busy_share).collect(),
        }
    }

    /// The mean of its workers.
    fn busy(&self) -> Option<f64> {
        mean(self.workers.iter())
    }
}

fn mean<'a>(values: impl Iterator<Item = &'a f64>) -> Option<f64> {
    let (count, sum) = values.fold((0_u32, 0.0), |(count, sum), value| (count + 1, sum + value));
    (count > 0).then(|| sum / f64::from(count))
}
