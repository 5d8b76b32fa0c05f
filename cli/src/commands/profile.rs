//! `rtops profile`: where the tasks of a process wait, in the formats of Go's goroutine profile.

use std::io::{IsTerminal, stdout};

use rtops_protocol::StackParts;
use rtops_render::pprof::{Profile, Text};
use rtops_report::frames::Shown;

use super::Output;
use crate::{
    args::{OutputArgs, ProfileArgs, Profiled, TaskProfileArgs},
    dump::{
        self, Taken,
        image::{
            Detail,
            outside::{self, Look},
        },
        reader::SymbolReader,
    },
    error::Error,
    find::target::Target,
    out::progress::Progress,
};

/// The format of a profile.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Format {
    Pprof,
    Text(Text),
}

/// Takes a profile and writes it. If something is missing, writes the rest before it fails.
///
/// # Errors
/// If the process or its agent can't be asked, the profile has gaps, or the output can't be
/// written.
pub fn run(args: &ProfileArgs, output: &OutputArgs) -> Result<(), Error> {
    let Profiled::Tasks(args) = &args.of;
    let format = format(args, output)?;
    let profile = take(args)?;
    let mut output = Output::open(output)?;
    match format {
        Format::Pprof => profile.write_pprof(&mut output.writer)?,
        Format::Text(text) => profile.write_text(text, &mut output.writer)?,
    }
    output.finish()?;
    if profile.gaps().is_empty() {
        Ok(())
    } else {
        Err(Error::Partial(profile.gaps().to_vec()))
    }
}

fn format(args: &TaskProfileArgs, output: &OutputArgs) -> Result<Format, Error> {
    if output.json {
        return Err(Error::Usage(
            "a profile is not written as JSON; `rtops stack --json` has what is in it".to_owned(),
        ));
    }
    let format = match args.debug {
        0 => Format::Pprof,
        1 => Format::Text(Text::Grouped),
        _ => Format::Text(Text::Each),
    };
    if format == Format::Pprof && output.output.is_none() && stdout().is_terminal() {
        return Err(Error::Usage(
            "a profile is binary, and standard output is a terminal; name a file with -o, or ask \
             for text with --debug 1"
                .to_owned(),
        ));
    }
    Ok(format)
}

fn take(args: &TaskProfileArgs) -> Result<Profile, Error> {
    let reader = args.source.start_reader(Shown::Folded);
    let taken = match dump::of_file(&args.source, Detail::Trees, None, Some(&reader))? {
        Some(taken) => taken,
        None => ask(args, &reader)?,
    };
    let _progress = Progress::start("looking up functions and lines".to_owned());
    let symbols = reader.symbols(&taken);
    Ok(Profile::resolve(taken.dump, symbols, taken.at))
}

fn ask(args: &TaskProfileArgs, reader: &SymbolReader<'_>) -> Result<Taken, Error> {
    let target = Target::named_or_only(args.target.as_ref(), args.source.timeout)?;
    let progress = Progress::start(format!("asking process {}", target.pid));
    let look = Look {
        parts: StackParts::Tasks,
        detail: Detail::Trees,
        attach: args.attach,
        save: None,
        timeout: args.source.timeout,
        reader: Some(reader),
    };
    let (taken, _) = outside::take(&target, look)?;
    drop(progress);
    Ok(taken)
}
