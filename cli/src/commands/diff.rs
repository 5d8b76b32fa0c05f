//! `rtops diff`: what changed between two dumps of a service.

use std::path::{Path, PathBuf};

use rtops_protocol::StackParts;
use rtops_render::{json, style::Links, text};
use rtops_report::{
    diff::{Diff, DiffView, Processes, Side, Subject},
    frames::{Frames, Shown},
    group::{group_tasks, stacks_of_tasks},
    selection::{Grouping, Selection},
    symbolize::symbolize,
};
use rtops_symbols::Symbols;

use super::{Format, Output, links};
use crate::{
    args::{DiffArgs, OutputArgs},
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
    out::{file::is_dash, progress::Progress},
};

/// Compares two dumps and prints the difference. If a dump has gaps, prints first and then fails.
///
/// # Errors
/// If a file or the process can't be read, a dump has gaps, or the output can't be written.
pub fn run(args: &DiffArgs, output: &OutputArgs) -> Result<(), Error> {
    let before = dump::load(&args.before)?;
    let mut after = after(args)?;
    let mut yielding = after.yielding.take();
    let progress = Progress::start("looking up functions and lines".to_owned());
    let (_, old_frames) = named(&before, args);
    let (symbols, frames) = named(&after, args);
    let selection = Selection::default();
    let old_groups = group_tasks(&before.dump, &old_frames, &selection, Grouping::Equal);
    let groups = group_tasks(&after.dump, &frames, &selection, Grouping::Equal);
    let processes = if is_same_process(&before, &after) {
        Processes::Same
    } else {
        Processes::Different
    };
    let old = Side {
        groups: &old_groups,
        frames: &old_frames,
    };
    let new = Side {
        groups: &groups,
        frames: &frames,
    };
    let view = DiffView {
        before: subject(&before),
        after: subject(&after),
        time: after.at.duration_since(before.at).ok(),
        processes,
        diff: &Diff::of(old, new, processes),
        limit: args.limit.unwrap_or(usize::MAX),
    };
    let links = links(output, &symbols, &frames);
    drop(progress);
    let mut output = Output::open_paged(output, &mut yielding)?;
    match output.format {
        Format::Json => json::diff::json(&mut output.writer, &view)?,
        Format::Text => {
            let links = links.as_ref().map(|links| links as &dyn Links);
            text::diff::text(&mut output.writer, output.style.with_links(links), &view)?;
        }
    }
    output.finish()?;
    let gaps = [before.dump.gaps, after.dump.gaps].concat();
    if gaps.is_empty() {
        Ok(())
    } else {
        Err(Error::Partial(gaps))
    }
}

/// Returns the newer dump: from a file if there is one of this name, else from a process.
fn after(args: &DiffArgs) -> Result<Taken, Error> {
    let path = Path::new(&args.after);
    if is_dash(path) || path.is_file() {
        return dump::load(path);
    }
    let name = args.after.to_string_lossy().into_owned();
    let target = Target::named_or_only(Some(&name), args.timeout).map_err(|error| match error {
        Error::NoSuchName(_) => Error::NoDump(PathBuf::from(path)),
        other => other,
    })?;
    let _progress = Progress::start(format!("asking process {}", target.pid));
    let look = Look {
        parts: StackParts::Tasks,
        detail: Detail::Trees,
        attach: args.attach,
        save: None,
        timeout: args.timeout,
        reader: None,
    };
    Ok(outside::take(&target, look)?.0)
}

fn named(taken: &Taken, args: &DiffArgs) -> (Symbols, Frames) {
    let reader = SymbolReader::start(&args.symbols, args.timeout, Shown::Folded);
    let mut symbols = reader.symbols(taken);
    let used = stacks_of_tasks(&taken.dump);
    let frames = symbolize(&taken.dump, &used, &mut symbols, Shown::Folded);
    (symbols, frames)
}

/// Whether both dumps are of one process: its start time tells it from others with the same PID.
fn is_same_process(before: &Taken, after: &Taken) -> bool {
    let identity = |taken: &Taken| (taken.start_time, taken.inner_pid);
    before.start_time.is_some() && identity(before) == identity(after)
}

fn subject(taken: &Taken) -> Subject<'_> {
    Subject {
        pid: taken.pid,
        name: &taken.name,
        gaps: &taken.dump.gaps,
    }
}
