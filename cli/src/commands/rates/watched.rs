//! What changes in a process while it is watched.

use std::time::Duration;

use rtops_protocol::Runtime;

use super::{graph::History, picture};
use crate::watch::{
    look::Looks,
    sample::{Change, Sample, alive_tasks, longest_poll_ns},
};

/// Samples of one process.
#[derive(Debug)]
pub struct Watched {
    /// The sampling interval.
    pub interval: Duration,
    /// The last sample.
    pub last: Sample,
    /// What its memory shows, if it is looked at.
    pub looks: Option<Looks>,
    pub reading: Reading,
    pub history: History,
    /// Why there is no current sample.
    pub missing: Option<String>,
    /// The number of lines of text that were printed.
    pub printed: usize,
    /// The faults that were already reported.
    pub told: Vec<(&'static str, String)>,
}

/// The figures that one sample and the one before it give.
#[derive(Debug)]
pub struct Reading {
    pub seconds: f64,
    pub polls: Option<f64>,
    pub spawned: Option<f64>,
    pub finished: Option<f64>,
    pub running: Option<u64>,
    pub longest_poll_ns: Option<u64>,
    pub tracked: Option<u64>,
    pub alive: Option<u64>,
    pub cpu_share: f64,
    pub runtimes: Vec<RuntimeReading>,
}

#[derive(Debug)]
pub struct RuntimeReading {
    pub name: String,
    pub alive_tasks: u64,
    pub queue: u64,
    /// The share of the time that each worker was busy; empty for a new runtime.
    pub workers: Vec<f64>,
}

impl Watched {
    /// Begins with a first sample, which has no rates yet.
    pub fn new(interval: Duration, first: Sample) -> Self {
        let reading = Reading::of(Change {
            earlier: &first,
            now: &first,
        });
        Self {
            interval,
            last: first,
            looks: None,
            reading,
            history: History::default(),
            missing: None,
            printed: 0,
            told: Vec::new(),
        }
    }

    /// Adds a sample. If some before it are missing, the rates are those since the last one.
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

    /// Records why there is no sample.
    pub fn miss(&mut self, reason: String) {
        self.missing = Some(reason);
        self.history.skip();
    }
}

impl Reading {
    fn of(change: Change<'_>) -> Self {
        let runtimes = change.now.runtimes().iter().enumerate();
        let stats = change.now.stats();
        Self {
            seconds: Duration::from_nanos(change.elapsed_ns()).as_secs_f64(),
            polls: change.rate(|stats| stats.polls),
            spawned: change.rate(|stats| stats.spawned),
            finished: change.rate(|stats| stats.finished),
            running: stats.map(|stats| stats.running),
            longest_poll_ns: stats.and_then(longest_poll_ns),
            tracked: stats.map(|stats| stats.tracked_tasks),
            alive: alive_tasks(change.now.runtimes()),
            cpu_share: change.cpu_share(),
            runtimes: runtimes
                .map(|(index, runtime)| RuntimeReading::of(change, index, runtime))
                .collect(),
        }
    }

    /// Returns the number of tasks in the global queues; `None` if no runtime is known.
    pub fn queue(&self) -> Option<u64> {
        let queues = self.runtimes.iter().map(|runtime| runtime.queue);
        queues.reduce(u64::saturating_add)
    }

    /// Returns the mean of all workers of all runtimes.
    pub fn busy(&self) -> Option<f64> {
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

    /// Returns the mean of its workers.
    pub fn busy(&self) -> Option<f64> {
        mean(self.workers.iter())
    }
}

fn mean<'a>(values: impl Iterator<Item = &'a f64>) -> Option<f64> {
    let (count, sum) = values.fold((0_u32, 0.0), |(count, sum), value| (count + 1, sum + value));
    (count > 0).then(|| sum / f64::from(count))
}

#[cfg(test)]
mod tests {
    use rtops_render::style::Style;

    use super::{
        super::{json, line},
        *,
    };
    use crate::watch::sample::tests::{sample, worker};

    /// Four seconds of a process whose second answer is missing.
    fn watched(workers: usize) -> Watched {
        let second = 1_000_000_000;
        let at = |seconds: u64, polls, busy: u64| {
            let parks = seconds * 2 + 1;
            let workers = vec![worker(busy * second / 100, parks); workers];
            sample(seconds * second, polls, workers)
        };
        let mut watched = Watched::new(Duration::from_secs(1), at(0, 0, 0));
        watched.push(at(1, 2000, 10));
        watched.miss("it did not answer\u{7}".to_owned());
        watched.push(at(3, 4000, 30));
        watched.push(at(4, 4000, 130));
        watched
    }

    fn shown(watched: &Watched, width: usize, rows: usize) -> String {
        let mut written = Vec::new();
        let style = Style::new(false, Some(width));
        assert!(picture::picture(&mut written, style, rows, watched).is_ok());
        String::from_utf8_lossy(&written).into_owned()
    }

    #[test]
    fn a_terminal_gets_graphs() {
        insta::assert_snapshot!(shown(&watched(2), 80, 24), @r#"
        evil\u{1b}[2J (pid 1), up 4.0 s, every 1.0 s, until Ctrl-C

                          NOW     PEAK
        polls/s           0.0     2000  █ ▅▁
        spawned/s         0.0      0.0  ▁ ▁▁
        finished/s        0.0      0.0  ▁ ▁▁
        running             0        0  ▁ ▁▁
        longest poll        -        -
        tracked             0        0  ▁ ▁▁
        alive               3        3  ─ ──
        CPU             25.0%    25.0%  ▃ ▃▃
        RSS             84 MB    84 MB  ─ ──
        threads             1        1  ─ ──

        runtime "tokio"
        alive               3        3  ─ ──
        queue               0        0  ▁ ▁▁
        busy             100%     100%  ▂ ▂█
        worker 0         100%     100%  ▂ ▂█
        worker 1         100%     100%  ▂ ▂█
        "#);
    }

    #[test]
    fn forty_columns_are_enough() {
        let mut watched = watched(2);
        watched.miss("it did not answer\u{7}".to_owned());
        let shown = shown(&watched, 40, 24);
        insta::assert_snapshot!(shown, @r#"
        evil\u{1b}[2J (pid 1), up 4.0 s
        it did not answer\u{7}
                          NOW
        polls/s           0.0  █ ▅▁
        spawned/s         0.0  ▁ ▁▁
        finished/s        0.0  ▁ ▁▁
        running             0  ▁ ▁▁
        longest poll        -
        tracked             0  ▁ ▁▁
        alive               3  ─ ──
        CPU             25.0%  ▃ ▃▃
        RSS             84 MB  ─ ──
        threads             1  ─ ──

        runtime "tokio"
        alive               3  ─ ──
        queue               0  ▁ ▁▁
        busy             100%  ▂ ▂█
        worker 0         100%  ▂ ▂█
        worker 1         100%  ▂ ▂█
        "#);
        assert!(
            shown.lines().all(|line| line.chars().count() <= 40),
            "{shown}"
        );
    }

    #[test]
    fn many_workers_share_rows() {
        let shown = shown(&watched(64), 80, 24);
        let workers: Vec<&str> = shown
            .lines()
            .skip_while(|line| !line.starts_with("worker"))
            .collect();
        insta::assert_snapshot!(workers.join("\n"), @r#"
        worker 0     100% 100% 100% 100% 100% 100% 100% 100% 100% 100%
        worker 10    100% 100% 100% 100% 100% 100% 100% 100% 100% 100%
        worker 20    100% 100% 100% 100% 100% 100% 100% 100% 100% 100%
        worker 30    100% 100% 100% 100% 100% 100% 100% 100% 100% 100%
        worker 40    100% 100% 100% 100% 100% 100% 100% 100% 100% 100%
        worker 50    100% 100% 100% 100% 100% 100% 100% 100% 100% 100%
        worker 60    100% 100% 100% 100%
        "#);
    }

    #[test]
    fn a_pipe_gets_lines_without_gaps() {
        let mut watched = watched(2);
        let mut written = Vec::new();
        for time in ["2026-01-31T12:00:04Z", "2026-01-31T12:00:05Z"] {
            assert!(line::text(&mut written, &mut watched, time).is_ok());
            watched.miss("it did not answer\u{7}".to_owned());
        }
        insta::assert_snapshot!(String::from_utf8_lossy(&written), @r#"
        TIME                     POLLS/S   SPAWNED/S  FINISHED/S     RUNNING     LONGEST     TRACKED       ALIVE       QUEUE         CPU         RSS     THREADS        BUSY  WORKERS
        2026-01-31T12:00:04Z         0.0         0.0         0.0           0           -           0           3           0       25.0%        84MB           1        100%  100,100
        2026-01-31T12:00:05Z  it did not answer\u{7}
        "#);
    }

    #[test]
    fn json_says_what_is_missing() {
        let mut watched = watched(2);
        let mut lines = Vec::new();
        for _ in 0..2 {
            let mut written = Vec::new();
            assert!(json::json(&mut written, &watched, "now").is_ok());
            lines.push(serde_json::from_slice(&written).unwrap_or(serde_json::Value::Null));
            watched.miss("it did not answer".to_owned());
        }
        assert_eq!(lines[0]["interval_seconds"], 1.0);
        assert_eq!(lines[0]["runtimes"][0]["busy_share"], 1.0);
        assert_eq!(lines[0]["name"], "evil\u{1b}[2J");
        assert_eq!(lines[1]["missing"], "it did not answer");
        assert!(lines[1]["tasks"].is_null());
    }
}
