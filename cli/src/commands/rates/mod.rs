//! `rtops stats --watch`: the rates of one process, repeatedly, and from time to time its tasks.
//!
//! The kernel and the agent are asked each time. To find the tasks, the process has to be frozen
//! for a moment: this is done at the start, and then as rarely as [`Looks`] says.

use std::{
    io::{self, Write},
    thread,
    time::Duration,
};

use rtops_render::style::Style;

mod graph;
mod json;
mod line;
mod picture;
mod watched;

use self::watched::Watched;
use super::{
    stats,
    watch::{Subject, watch},
};
use crate::{
    args::{AttachChoice, OutputArgs, Pace, StatsArgs, TargetArgs},
    error::Error,
    find::target::Target,
    out::progress::Progress,
    proc::Life,
    watch::{look::Looks, sample::Sample},
};

/// The delay before the second sample, kept short so that the first rates appear soon.
const FIRST: Duration = Duration::from_millis(250);
/// Every sample may take at least this long, however short the interval is.
const PATIENCE: Duration = Duration::from_secs(1);

struct Rates {
    target: Target,
    has_agent: bool,
    life: Life,
    watched: Watched,
    looks: usize,
    missed: usize,
}

/// Watches until the count is reached or the process ends.
///
/// # Errors
/// If the process can't be asked at the start, some samples were not answered, the process
/// has ended, or the output can't be written.
pub fn run(target: &str, args: StatsArgs, pace: Pace, output: &OutputArgs) -> Result<(), Error> {
    let find = |timeout| {
        Target::find_any(&TargetArgs {
            target: target.to_owned(),
            timeout,
        })
    };
    let target = find(args.timeout.min(pace.interval.max(PATIENCE)))?;
    let life = Life::of(target.pid).ok_or(Error::NoSuchProcess(target.pid))?;
    let has_agent = stats::has_agent(&target, &args)?;
    let progress = Progress::start(format!("asking process {}", target.pid));
    let first = Sample::take(&target, has_agent)?;
    drop(progress);
    thread::sleep(pace.interval.min(FIRST));
    let mut watched = Watched::new(pace.interval, first);
    if args.attach.attach != AttachChoice::Never {
        watched.looks = Some(Looks::begin(find(args.timeout)?, args));
    }
    let mut rates = Rates {
        target,
        has_agent,
        life,
        watched,
        looks: 0,
        missed: 0,
    };
    watch(&mut rates, pace, output)
}

impl Subject for Rates {
    fn look(&mut self) -> Result<(), Error> {
        self.looks += 1;
        match Sample::take(&self.target, self.has_agent) {
            Ok(sample) => {
                self.watched.push(sample);
                if let Some(looks) = &mut self.watched.looks {
                    looks.look_if_due();
                }
            }
            Err(_) if self.life.ends() => {
                return Err(Error::Ended {
                    pid: self.target.pid,
                    name: self.watched.last.name().to_owned(),
                });
            }
            Err(error) if error.may_pass() => {
                self.missed += 1;
                self.watched.miss(error.to_string());
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn picture(&self, writer: &mut Vec<u8>, style: Style, rows: usize) -> io::Result<()> {
        picture::picture(writer, style, rows, &self.watched)
    }

    fn text(&mut self, writer: &mut dyn Write, time: &str) -> io::Result<()> {
        line::text(writer, &mut self.watched, time)
    }

    fn json(&self, writer: &mut dyn Write, time: &str) -> io::Result<()> {
        json::json(writer, &self.watched, time)
    }

    fn end(&self) -> Result<(), Error> {
        let mut missing = Vec::new();
        if self.missed > 0 {
            let (missed, all) = (self.missed, self.looks);
            missing.push(format!("{missed} of {all} samples are missing"));
        }
        let looks = self.watched.looks.as_ref();
        missing.extend(looks.and_then(Looks::never_possible));
        match missing.is_empty() {
            true => Ok(()),
            false => Err(Error::Partial(missing)),
        }
    }
}
