//! `rtops stack`: where the tasks and threads of a process, or of several, wait.

mod next;
mod sections;
mod several;
mod source;

use std::{
    collections::HashMap,
    fs,
    io::{self, Write},
    path::PathBuf,
};

use self::source::Sources;

use super::{Format, Output, links};
use crate::{
    args::{OutputArgs, StackArgs},
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
use rtops_protocol::StackParts;
use rtops_render::{
    json,
    style::{Links, Paint, Style},
    text,
};
use rtops_report::{
    frames::Shown,
    group::{TaskGroup, ageless, group_tasks},
    order, page,
    selection::{Grouping, Selection},
    symbolize::symbolize_all,
    threads::group_threads,
    verdicts::Verdicts,
    view::{Layout, View},
};

/// Takes dumps and prints them. If something is missing, prints the rest before it fails.
///
/// # Errors
/// If a process or its agent can't be asked, a dump has gaps, or the output can't be written.
pub fn run(args: &StackArgs, output: &OutputArgs) -> Result<(), Error> {
    if args.all_agents || args.targets.len() > 1 {
        return several::run(args, output);
    }
    // Started early, so that it is ready once there is something to look up.
    let reader = args.source.start_reader(shown(args));
    let progress = Progress::start("reading the file".to_owned());
    let save = args.save.as_deref();
    let of_file = dump::of_file(&args.source, Detail::Trees, save, Some(&reader))?;
    drop(progress);
    if let Some(taken) = of_file {
        return show(args, output, (taken, parts(args)), reader);
    }
    let target = Target::named_or_only(args.targets.first(), args.source.timeout)?;
    let progress = Progress::start(format!("asking process {}", target.pid));
    let taken = take(args, &target, &reader)?;
    drop(progress);
    show(args, output, taken, reader)
}

fn show(
    args: &StackArgs,
    output: &OutputArgs,
    (mut taken, parts): (Taken, StackParts),
    reader: SymbolReader<'_>,
) -> Result<(), Error> {
    let mut yielding = taken.yielding.take();
    // If the dump itself goes to standard output, there is no room for the text.
    if !args.save.as_deref().is_some_and(is_dash) || output.output.is_some() {
        let progress = Progress::start("looking up functions and lines".to_owned());
        with_view(args, output, (&taken, parts), reader, |view, style| {
            drop(progress);
            let mut output = if args.save.is_some() {
                Output::open(output)?
            } else {
                Output::open_paged(output, &mut yielding)?
            };
            print(&mut output.writer, style, output.format, args, view)?;
            output.finish()
        })?;
    }
    if taken.dump.gaps.is_empty() {
        Ok(())
    } else {
        Err(Error::Partial(taken.dump.gaps))
    }
}

fn print(
    writer: &mut impl Write,
    style: Style,
    format: Format,
    args: &StackArgs,
    view: &View,
) -> io::Result<()> {
    match format {
        Format::Json => json::stack::json(writer, view),
        Format::Text if args.tree => text::forest::text(writer, style, view),
        Format::Text => {
            text::stack::text(writer, style, view)?;
            match next::line(args, view) {
                Some(next) => writeln!(writer, "\n{}", style.paint(Paint::Faint, next)),
                None => Ok(()),
            }
        }
    }
}

/// Looks up the names in a dump, and selects and groups what is to be shown.
fn with_view<T>(
    args: &StackArgs,
    output: &OutputArgs,
    (taken, parts): (&Taken, StackParts),
    reader: SymbolReader<'_>,
    show: impl FnOnce(&View, Style) -> T,
) -> T {
    let dump = &taken.dump;
    let mut symbols = reader.symbols(taken);
    let mut frames = symbolize_all(dump, &mut symbols, shown(args));
    if let Some(own) = &args.own {
        frames.set_own(own);
    }
    let frames = frames;
    let grouping = if args.each {
        Grouping::Each
    } else {
        Grouping::Equal
    };
    let selection = Selection {
        filter: args.filter.clone(),
        min_age: args.min_age,
        ..Selection::default()
    };
    let links = links(output, &symbols, &frames);
    let style = output
        .style()
        .with_links(links.as_ref().map(|links| links as &dyn Links));
    let mut view = taken.view(&frames);
    let order = args.sort.into();
    let is_text = Format::of(output) == Format::Text;
    if parts != StackParts::Threads {
        let mut groups = group_tasks(dump, &frames, &selection, grouping);
        // Without the tasks, it is unknown what the threads do.
        view.verdicts = Some(judged(&groups, &selection, grouping, &view));
        // Not with `--tree`, which shows for each name who spawned whom.
        if is_text && grouping == Grouping::Equal && !args.tree {
            groups = page::together(groups);
        }
        order::sort_tasks(&mut groups, dump, &frames, view.waits(), order);
        view.ageless = ageless(dump, &frames, &selection);
        view.tasks = Some(groups);
    }
    if parts != StackParts::Tasks {
        let mut groups = group_threads(dump, &frames, &selection, grouping);
        order::sort_threads(&mut groups, dump, order);
        view.threads = Some(groups);
    }
    let sources = match is_text && !args.no_source {
        true => sources(taken, symbols.source_directories()).lines(
            &frames,
            view.tasks.iter().flatten(),
            view.threads.iter().flatten(),
        ),
        false => HashMap::new(),
    };
    view.grouping = grouping;
    view.limit = args.limit.unwrap_or(usize::MAX);
    view.lacks = symbols.lacks().iter().map(ToString::to_string).collect();
    view.layout = Layout::new(is_brief(args), sources);
    show(&view, style)
}

/// Judges the whole process, whatever part of it is selected.
fn judged<'a>(
    groups: &[TaskGroup<'a>],
    selection: &Selection,
    grouping: Grouping,
    view: &View<'a>,
) -> Verdicts<'a> {
    let (dump, frames, waits) = (view.dump, view.frames, view.waits());
    if selection.is_everything() && grouping == Grouping::Equal {
        return Verdicts::of(dump, frames, waits, groups);
    }
    let all = group_tasks(dump, frames, &Selection::default(), Grouping::Equal);
    Verdicts::of(dump, frames, waits, &all)
}

/// Whether idle tasks and threads are summarized: not if the user asks for something specific.
const fn is_brief(args: &StackArgs) -> bool {
    !(args.all_frames || args.each || args.filter.is_some() || args.min_age.is_some())
}

/// Returns where the sources of a process may be. A file newer than the program, or than the dump
/// if the age of the program is unknown, is not what the program was built from.
pub(super) fn sources(taken: &Taken, directories: Vec<PathBuf>) -> Sources {
    let program = taken.is_live.then(|| format!("/proc/{}/exe", taken.pid));
    let metadata = program.and_then(|program| fs::metadata(program).ok());
    let built = metadata.and_then(|metadata| metadata.modified().ok());
    Sources {
        directories,
        built: built.unwrap_or(taken.at),
    }
}

/// Returns which functions to look up.
const fn shown(args: &StackArgs) -> Shown {
    match args.all_frames {
        true => Shown::All,
        false => Shown::Folded,
    }
}

/// Returns which parts to show.
const fn parts(args: &StackArgs) -> StackParts {
    match (args.tasks || args.tree, args.threads) {
        (true, _) => StackParts::Tasks,
        (_, true) => StackParts::Threads,
        _ => StackParts::All,
    }
}

/// Looks at a process; also returns which of its parts to show.
fn take(
    args: &StackArgs,
    target: &Target,
    reader: &SymbolReader<'_>,
) -> Result<(Taken, StackParts), Error> {
    let look = Look {
        parts: parts(args),
        detail: Detail::Trees,
        attach: args.attach,
        save: args.save.as_deref(),
        timeout: args.source.timeout,
        reader: Some(reader),
    };
    outside::take(target, look)
}
