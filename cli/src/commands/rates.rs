//! `rtops stats --watch`: the rates of one process, again and again.

use std::{
    io::{self, Write},
    thread,
    time::Duration,
};

use rtops_render::style::Style;

use super::watch::{Subject, watch};
use crate::{
    args::{OutputArgs, Pace, TargetArgs},
    error::Error,
    find::target::Target,
    out::progress::Progress,
    proc::Life,
    render::rates::{self, Watched},
    watch::sample::Sample,
};

/// The time to the second sample, so that the first rates need not be waited for.
const FIRST: Duration = Duration::from_millis(250);
/// Every sample may take so long, however short the interval is.
const PATIENCE: Duration = Duration::from_secs(1);

struct Rates {
    target: Target,
    life: Life,
    watched: Watched,
    looks: usize,
    missed: usize,
}

/// Watches until the count or the process ends.
///
/// # Errors
/// When the process can't be asked at first, some samples were not answered, it has ended, or the
/// output can't be written.
pub fn run(mut args: TargetArgs, pace: Pace, output: &OutputArgs) -> Result<(), Error> {
    args.timeout = args.timeout.min(pace.interval.max(PATIENCE));
    let target = Target::find(&args)?;
    let life = Life::of(target.pid).ok_or(Error::NoSuchProcess(target.pid))?;
    let progress = Progress::start(format!("asking process {}", target.pid));
    let first = Sample::take(&target)?;
    drop(progress);
    thread::sleep(pace.interval.min(FIRST));
    let mut rates = Rates {
        target,
        life,
        watched: Watched::new(pace.interval, first),
        looks: 0,
        missed: 0,
    };
    watch(&mut rates, pace, output)
}

impl Subject for Rates {
    fn look(&mut self) -> Result<(), Error> {
        self.looks += 1;
        match Sample::take(&self.target) {
            Ok(sample) => self.watched.push(sample),
            Err(_) if self.life.ends() => {
                return Err(Error::Ended {
                    pid: self.target.pid,
                    name: self.watched.last.stats.name.clone(),
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
        rates::picture(writer, style, rows, &self.watched)
    }

    fn text(&mut self, writer: &mut dyn Write, time: &str) -> io::Result<()> {
        rates::text(writer, &mut self.watched, time)
    }

    fn json(&self, writer: &mut dyn Write, time: &str) -> io::Result<()> {
        rates::json(writer, &self.watched, time)
    }

    fn end(&self) -> Result<(), Error> {
        match self.missed {
            0 => Ok(()),
            missed => Err(Error::Partial(vec![format!(
                "{missed} of {} samples are missing",
                self.looks
            )])),
        }
    }
}
