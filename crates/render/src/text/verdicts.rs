//! What is wrong with the process, printed before everything else.

use std::{
    collections::HashSet,
    io::{self, Write},
};

use rtops_report::{census::Count, task::TaskKey, verdicts::Verdict, view::View};

use super::stack::HANGING;
use crate::{
    style::{Paint, Style},
    wrap,
};

/// The indentation of evidence, and of the lines that continue it.
const EVIDENCE: (&str, &str) = ("    ", "      ");

/// Prints a block for each fault, then what deserves a look. If not all tasks are shown, prints
/// only faults that explain one of those shown.
pub(super) fn write(writer: &mut impl Write, style: Style, view: &View) -> io::Result<()> {
    let Some(judged) = &view.verdicts else {
        return Ok(());
    };
    if !shows_all(view) {
        let shown = shown(view);
        let is_shown =
            |verdict: &&Verdict| verdict.explained().any(|task| shown.contains(&task.key));
        return each(writer, style, judged.verdicts.iter().filter(is_shown));
    }
    each(writer, style, &judged.verdicts)?;
    for (number, note) in judged.notable.iter().enumerate() {
        if number == 0 {
            writeln!(writer)?;
        }
        wrap::write(writer, style, HANGING, &[(Some(Paint::Faint), note)])?;
    }
    Ok(())
}

/// Whether all tasks are shown.
pub(super) fn shows_all(view: &View) -> bool {
    shown(view).len() >= Count::of(view.dump, view.frames).total()
}

fn shown(view: &View) -> HashSet<TaskKey> {
    let groups = view.tasks.iter().flatten();
    let tasks = groups.flat_map(|group| &group.tasks);
    tasks.map(|task| task.key).collect()
}

/// Prints a block for each fault, with an empty line before it.
pub(super) fn each<'v, 'a: 'v>(
    writer: &mut impl Write,
    style: Style,
    verdicts: impl IntoIterator<Item = &'v Verdict<'a>>,
) -> io::Result<()> {
    for verdict in verdicts {
        writeln!(writer)?;
        let fault = format!("{}:", verdict.fault.as_str());
        let parts = [(Some(Paint::Warning), &*fault), (None, &*verdict.sentence)];
        wrap::write(writer, style, HANGING, &parts)?;
        for line in &verdict.evidence {
            wrap::write(writer, style, EVIDENCE, &[(None, line)])?;
        }
    }
    Ok(())
}
