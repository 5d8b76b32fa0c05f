//! The counters of one process at one moment, and what changed between two.

use rtops_protocol::{Capabilities, Hello, Reply, Request, Runtime, Stats, Worker};
use serde::Serialize;

use crate::{
    error::Error,
    find::target::Target,
    proc::{Figures, Reader},
};

/// What the agent and the kernel report at one moment.
#[derive(Clone, Debug)]
pub struct Sample {
    /// `None` if there is no agent.
    pub agent: Option<Told>,
    pub figures: Figures,
}

/// What an agent reports.
#[derive(Clone, Debug)]
pub struct Told {
    pub hello: Hello,
    pub stats: Stats,
}

impl Sample {
    /// Takes a sample; the agent is asked in a separate conversation.
    ///
    /// # Errors
    /// If the process or its agent can't be asked or does not answer with counters.
    pub fn take(target: &Target, has_agent: bool) -> Result<Self, Error> {
        let agent = has_agent.then(|| Told::ask(target)).transpose()?;
        let figures = Reader::new()?
            .figures(target.pid)
            .ok_or(Error::NoSuchProcess(target.pid))?;
        Ok(Self { agent, figures })
    }

    /// Returns the agent's counters.
    pub fn stats(&self) -> Option<&Stats> {
        Some(&self.agent.as_ref()?.stats)
    }

    /// Returns the name that the agent states, else that of the executable.
    pub fn name(&self) -> &str {
        self.stats().map_or(&self.figures.name, |stats| &stats.name)
    }

    /// Returns the runtimes that the agent knows.
    pub fn runtimes(&self) -> &[Runtime] {
        self.stats().map_or(&[], |stats| &stats.runtimes)
    }
}

impl Told {
    fn ask(target: &Target) -> Result<Self, Error> {
        let mut session = target.open()?;
        if !session.hello.capabilities.has(Capabilities::STATS) {
            return Err(Error::Incapable {
                pid: target.pid,
                version: session.hello.agent_version,
                what: "count",
            });
        }
        let counters = |reply| match reply {
            Reply::Stats(stats) => Some(stats),
            _ => None,
        };
        let without = "an answer without counters";
        let stats = target.ask(&mut session, &Request::Stats, counters, without)?;
        Ok(Self {
            hello: session.hello,
            stats,
        })
    }
}

/// Two samples of one process.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    pub earlier: &'a Sample,
    pub now: &'a Sample,
}

/// What a worker did between the samples.
#[derive(Debug, Serialize)]
pub struct WorkerRates {
    /// The share of the time between the samples in which it was busy.
    pub busy_share: f64,
    pub parks_per_second: f64,
}

impl Change<'_> {
    /// Returns the nanoseconds between the samples by the agent's own clock: when its answers
    /// arrive depends on how busy both sides are. Without an agent, uses the kernel's clock.
    pub fn elapsed_ns(&self) -> u64 {
        match (self.earlier.stats(), self.now.stats()) {
            (Some(earlier), Some(now)) => now.clock_ns.saturating_sub(earlier.clock_ns),
            _ => {
                let (earlier, now) = (&self.earlier.figures, &self.now.figures);
                let elapsed = now.uptime.saturating_sub(earlier.uptime);
                u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
            }
        }
    }

    /// Returns how fast a counter grew, per second; `None` without an agent.
    pub fn rate(&self, counter: fn(&Stats) -> u64) -> Option<f64> {
        let (earlier, now) = (self.earlier.stats()?, self.now.stats()?);
        Some(self.per_second(counter(earlier), counter(now)))
    }

    /// Returns the share of one processor that was used, by the kernel's clock alone.
    pub fn cpu_share(&self) -> f64 {
        self.now.figures.cpu_share_since(&self.earlier.figures)
    }

    /// Returns what each worker of a runtime did; `None` if the
    /// earlier sample does not have that runtime.
    pub fn workers(&self, runtime: usize) -> Option<Vec<WorkerRates>> {
        let now = self.now.runtimes().get(runtime)?;
        let earlier = self.earlier_runtime(runtime, now)?;
        let pairs = earlier.workers.iter().zip(&now.workers);
        Some(
            pairs
                .map(|(earlier, now)| self.worker(earlier, now))
                .collect(),
        )
    }

    /// Returns the same runtime in the earlier sample.
    fn earlier_runtime(&self, index: usize, now: &Runtime) -> Option<&Runtime> {
        let earlier = self.earlier.runtimes().get(index)?;
        (earlier.name == now.name && earlier.workers.len() == now.workers.len()).then_some(earlier)
    }

    fn worker(&self, earlier: &Worker, now: &Worker) -> WorkerRates {
        // A worker's busy time grows only when it goes to sleep, so one that is stuck in a poll
        // would look idle. An even number of sleeps and wake-ups means that it is awake.
        let never_slept =
            earlier.park_unparks == now.park_unparks && now.park_unparks.is_multiple_of(2);
        let busy_ns = now.busy_ns.saturating_sub(earlier.busy_ns);
        let busy_share = if never_slept {
            1.0
        } else {
            ratio(busy_ns, self.elapsed_ns()).min(1.0)
        };
        WorkerRates {
            busy_share,
            parks_per_second: self.per_second(earlier.parks, now.parks),
        }
    }

    fn per_second(&self, earlier: u64, now: u64) -> f64 {
        ratio(now.saturating_sub(earlier), self.elapsed_ns()) * 1e9
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

/// Returns the number of tasks alive on all runtimes; `None` if no runtime is known.
pub fn alive_tasks(runtimes: &[Runtime]) -> Option<u64> {
    let alive = runtimes.iter().map(|runtime| runtime.alive_tasks);
    alive.reduce(u64::saturating_add)
}

/// Returns how long the longest current poll has lasted; `None` if none is under way.
pub fn longest_poll_ns(stats: &Stats) -> Option<u64> {
    (stats.running > 0).then_some(stats.longest_poll_ns)
}

#[cfg(test)]
pub mod tests {
    use std::time::Duration;

    use rtops_protocol::{RuntimeFlavor, VERSION};
    use rtops_types::Pid;

    use super::*;

    /// A worker that was busy for this long, and fell asleep or woke up this often.
    pub fn worker(busy_ns: u64, park_unparks: u64) -> Worker {
        Worker {
            busy_ns,
            parks: park_unparks / 2,
            park_unparks,
            queue_depth: None,
            polls: None,
            steals: None,
        }
    }

    /// A sample of a process with one runtime.
    pub fn sample(clock_ns: u64, polls: u64, workers: Vec<Worker>) -> Sample {
        let told = Told {
            hello: Hello {
                oldest_version: VERSION,
                newest_version: VERSION,
                pid: 1,
                start_time: 1,
                capabilities: Capabilities::STATS,
                agent_version: String::new(),
                name: String::new(),
            },
            stats: Stats {
                name: "evil\u{1b}[2J".to_owned(),
                clock_ns,
                polls,
                runtimes: vec![Runtime {
                    name: "tokio".to_owned(),
                    flavor: RuntimeFlavor::MultiThread,
                    alive_tasks: 3,
                    global_queue_depth: 0,
                    workers,
                    spawned_tasks: None,
                    blocking_threads: None,
                    idle_blocking_threads: None,
                    blocking_queue_depth: None,
                    budget_forced_yields: None,
                }],
                ..Stats::default()
            },
        };
        Sample {
            agent: Some(told),
            figures: Figures {
                pid: Pid::new(1),
                ppid: Pid::new(0),
                user: String::new(),
                threads: 1,
                cpu_time: Duration::from_nanos(clock_ns / 4),
                rss_bytes: 84_000_000,
                uptime: Duration::from_nanos(clock_ns),
                command: String::new(),
                name: String::new(),
            },
        }
    }

    #[test]
    fn rates_are_taken_over_the_agents_clock() {
        let earlier = sample(0, 10, vec![worker(0, 7), worker(0, 8), worker(0, 9)]);
        // Two seconds later: one that slept at times, one in a poll, one that never woke up.
        let workers = vec![worker(500_000_000, 11), worker(0, 8), worker(0, 9)];
        let now = sample(2_000_000_000, 110, workers);
        let (earlier, now) = (&earlier, &now);
        let change = Change { earlier, now };
        assert_eq!(change.rate(|stats| stats.polls), Some(50.0));
        assert_eq!(change.cpu_share(), 0.25);
        let workers = change.workers(0).unwrap_or_default();
        let busy: Vec<f64> = workers.iter().map(|worker| worker.busy_share).collect();
        assert_eq!(busy, [0.25, 1.0, 0.0]);
        assert!(change.workers(1).is_none());
    }

    #[test]
    fn counters_that_go_back_or_stand_still_have_no_rate() {
        let (earlier, now) = (sample(5, 10, Vec::new()), sample(5, 3, Vec::new()));
        let (earlier, now) = (&earlier, &now);
        let change = Change { earlier, now };
        assert_eq!(change.rate(|stats| stats.polls), Some(0.0));
        assert_eq!(change.cpu_share(), 0.0);
    }
}
