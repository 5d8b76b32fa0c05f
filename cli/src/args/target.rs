//! Which process a command is about.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueHint};
use clap_complete::ArgValueCandidates;
use rtops_report::{format::parse_duration, frames::Shown};

use super::CoreArgs;
use crate::{complete, dump::reader::SymbolReader, error::Error};

/// Which process, and how long to wait for it.
#[derive(Args, Debug)]
pub struct TargetArgs {
    /// A PID, or the name of a process or the start of it
    #[arg(add = ArgValueCandidates::new(complete::targets))]
    pub target: String,
    /// How long to wait for an answer
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_timeout)]
    pub timeout: Duration,
}

impl TargetArgs {
    /// The process that was named.
    ///
    /// # Errors
    /// When none was, which clap does not let through.
    pub(super) fn named(named: Option<&String>, timeout: Duration) -> Result<Self, Error> {
        let target = named.ok_or_else(|| Error::Usage("which process?".to_owned()))?;
        Ok(Self {
            target: target.clone(),
            timeout,
        })
    }
}

/// How to ask for a dump, or a file that holds one.
#[derive(Args, Debug)]
pub struct SourceArgs {
    /// How long to wait for an answer
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_timeout, hide_short_help = true)]
    pub timeout: Duration,
    /// Read a dump that `rtops stack --save` wrote
    ///
    /// It may come from another host. `-` is standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "core")]
    pub from: Option<PathBuf>,
    #[command(flatten)]
    pub core: CoreArgs,
    #[command(flatten)]
    pub symbols: SymbolArgs,
}

impl SourceArgs {
    /// Starts the process that reads symbols.
    pub fn start_reader(&self, shown: Shown) -> SymbolReader<'_> {
        SymbolReader::start(&self.symbols, self.timeout, shown)
    }
}

/// Where names of functions come from.
#[derive(Args, Debug)]
pub struct SymbolArgs {
    /// Also look for debug files in DIR (can be repeated)
    #[arg(long = "symbols", value_name = "DIR", value_hint = ValueHint::DirPath, hide_short_help = true, value_parser = parse_directory)]
    pub directories: Vec<PathBuf>,
    /// Look all functions and lines up anew, and keep none on disk
    #[arg(long, hide_short_help = true)]
    pub no_cache: bool,
}

/// A directory that is there: that nothing is found in another one would be put down to the build-id.
fn parse_directory(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    match path.is_dir() {
        true => Ok(path),
        false => Err("there is no such directory".to_owned()),
    }
}

/// A duration that a conversation can keep: neither none nor for ever.
pub(super) fn parse_timeout(text: &str) -> Result<Duration, String> {
    let timeout = parse_duration(text)?;
    let longest = Duration::from_secs(3600);
    if timeout.is_zero() || timeout > longest {
        return Err("it must be more than 0 and at most 1h".to_owned());
    }
    Ok(timeout)
}
