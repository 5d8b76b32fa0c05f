//! `rtops stack`: where the tasks and threads of a process, or of several, wait.

mod several;

use std::{
    cell::OnceCell,
    collections::HashSet,
    io::{self, Write},
};

use super::{Format, Output, links};
use crate::{
    args::{OutputArgs, StackArgs},
    dump::{
        self, Taken,
        image::{
            Detail,
            outside::{self, Look},
        },
    },
    error::Error,
    find::target::Target,
    out::{file::is_dash, progress::Progress},
};
use rtops_protocol::{StackId, StackParts};
use rtops_render::{
    json,
    style::{Links, Style},
    text,
};
use rtops_report::{
    frames::Shown,
    group::{ageless, group_tasks, stacks_of_tasks},
    holders::Holders,
    selection::{Grouping, Selection},
    symbolize::symbolize,
    threads::{group_threads, stacks_of_threads},
    view::View,
};

/// Takes dumps and prints them. Prints what there is before it fails for what is missing.
///
/// # Errors
/// When a process or its agent can't be asked, a dump has gaps, or the output can't be written.
pub fn run(args: &StackArgs, output: &OutputArgs) -> Result<(), Error> {
    let progress = Progress::start("reading the file".to_owned());
    let of_file = dump::of_file(&args.source, Detail::Trees, args.save.as_deref())?;
    drop(progress);
    if let Some(taken) = of_file {
        return show(args, output, taken, parts(args));
    }
    if args.all_agents || args.targets.len() > 1 {
        return several::run(args, output);
    }
    let target = Target::named_or_only(args.targets.first(), args.source.timeout)?;
    let progress = Progress::start(format!("asking process {}", target.pid));
    let (taken, parts) = take(args, &target)?;
    drop(progress);
    show(args, output, taken, parts)
}

fn show(
    args: &StackArgs,
    output: &OutputArgs,
    mut taken: Taken,
    parts: StackParts,
) -> Result<(), Error> {
    let mut yielding = taken.yielding.take();
    // With the dump itself on standard output there is no room for what it says.
    if !args.save.as_deref().is_some_and(is_dash) || output.output.is_some() {
        let progress = Progress::start("looking up functions and lines".to_owned());
        with_view(args, output, (&taken, parts), |view, style| {
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
        Format::Text => text::stack::text(writer, style, view),
    }
}

/// Looks up the names in a dump, and selects and groups what is to be shown of it.
fn with_view<T>(
    args: &StackArgs,
    output: &OutputArgs,
    (taken, parts): (&Taken, StackParts),
    show: impl FnOnce(&View, Style) -> T,
) -> T {
    let dump = &taken.dump;
    let mut symbols = taken.symbols(&args.source.symbols);
    let shown = if args.all_frames {
        Shown::All
    } else {
        Shown::Folded
    };
    let used: HashSet<StackId> = stacks_of_tasks(dump)
        .into_iter()
        .chain(stacks_of_threads(dump))
        .collect();
    let frames = symbolize(dump, &used, &mut symbols, shown);
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
    let wants_threads = parts != StackParts::Tasks;
    let view = View {
        pid: taken.pid,
        name: &taken.name,
        agent_version: taken.agent_version.as_deref(),
        dump,
        frames: &frames,
        holders: Holders::of(dump),
        waits: OnceCell::new(),
        grouping,
        limit: args.limit.unwrap_or(usize::MAX),
        tasks: (parts != StackParts::Threads)
            .then(|| group_tasks(dump, &frames, &selection, grouping)),
        threads: wants_threads.then(|| group_threads(dump, &frames, &selection, grouping)),
        ageless: match parts {
            StackParts::Threads => 0,
            StackParts::Tasks | StackParts::All => ageless(dump, &frames, &selection),
        },
        lacks: symbols.lacks().iter().map(ToString::to_string).collect(),
    };
    show(&view, style)
}

/// Which parts to show.
const fn parts(args: &StackArgs) -> StackParts {
    match (args.tasks || args.tree, args.threads) {
        (true, _) => StackParts::Tasks,
        (_, true) => StackParts::Threads,
        _ => StackParts::All,
    }
}

/// Looks at a process; says as well which parts of it to show.
fn take(args: &StackArgs, target: &Target) -> Result<(Taken, StackParts), Error> {
    let look = Look {
        parts: parts(args),
        detail: Detail::Trees,
        attach: args.attach,
        save: args.save.as_deref(),
        timeout: args.source.timeout,
    };
    outside::take(target, look)
}
