//! The stacks of several processes: a section for each, in the order in which they were named.

use std::collections::HashSet;

use super::{
    Format, Output, print,
    sections::{self, Section},
    shown, take, with_view,
};
use crate::{
    args::{OutputArgs, StackArgs},
    error::{Error, Failure},
    find::{
        parallel::{self, Workers},
        target::Target,
    },
    out::progress::Progress,
};

/// How many processes are asked at once; each of their dumps is in memory meanwhile.
const WORKERS: Workers = Workers {
    most: 8,
    stack: 2 << 20,
};

/// A process to show.
struct Asked {
    /// The name that the user gave.
    name: String,
    found: Result<Target, Error>,
}

/// Asks all of them at once, and prints those that answered before it fails for the others.
///
/// # Errors
/// If one of them can't be found or asked or its dump has gaps, there
/// is none, or the output can't be written.
pub fn run(args: &StackArgs, output: &OutputArgs) -> Result<(), Error> {
    let targets = targets(args)?;
    let count = targets.len();
    let progress = Progress::start(format!("asking {count} processes"));
    let answers = parallel::map(targets, WORKERS, |asked| {
        let section = asked.found.and_then(|found| section(args, output, &found));
        (asked.name, section)
    });
    drop(progress);
    let mut failures = Vec::new();
    let mut sections = Vec::new();
    for (target, answer) in answers {
        let (section, error) = match answer {
            Ok((text, gaps)) if gaps.is_empty() => (Section::Dump(text), None),
            Ok((text, gaps)) => (Section::Dump(text), Some(Error::Partial(gaps))),
            Err(error) => (Section::failed(&target, &error), Some(error)),
        };
        sections.push(section);
        failures.extend(error.map(|error| Failure { target, error }));
    }
    let mut output = Output::open_paged(output, &mut None)?;
    match output.format {
        Format::Json => sections::json(&mut output.writer, &sections)?,
        Format::Text => sections::text(&mut output.writer, &sections)?,
    }
    output.finish()?;
    match (failures.len(), count) {
        (0, _) => Ok(()),
        (1, 1) => failures
            .into_iter()
            .try_for_each(|failure| Err(failure.error)),
        _ => Err(Error::Several { failures, count }),
    }
}

/// Finds the processes, each only once.
fn targets(args: &StackArgs) -> Result<Vec<Asked>, Error> {
    if args.save.is_some() {
        let error = "--save takes one process, as a file holds one dump";
        return Err(Error::Usage(error.to_owned()));
    }
    if args.all_agents {
        let all = Target::all(args.source.timeout)?;
        if all.is_empty() {
            return Err(Error::NoAgents);
        }
        let asked = all.into_iter().map(|found| Asked {
            name: found.pid.to_string(),
            found: Ok(found),
        });
        return Ok(asked.collect());
    }
    let mut seen = HashSet::new();
    let mut targets = Vec::new();
    for name in &args.targets {
        let found = Target::named_or_only(Some(name), args.source.timeout);
        if found.as_ref().is_ok_and(|found| !seen.insert(found.pid)) {
            continue;
        }
        targets.push(Asked {
            name: name.clone(),
            found,
        });
    }
    Ok(targets)
}

/// Returns what is printed of one process, and what is missing from it.
fn section(
    args: &StackArgs,
    output: &OutputArgs,
    target: &Target,
) -> Result<(Vec<u8>, Vec<String>), Error> {
    let reader = args.source.start_reader(shown(args));
    let (taken, parts) = take(args, target, &reader)?;
    let mut text = Vec::new();
    let format = Format::of(output);
    with_view(args, output, (&taken, parts), reader, |view, style| {
        print(&mut text, style, format, args, view)
    })?;
    Ok((text, taken.dump.gaps))
}
