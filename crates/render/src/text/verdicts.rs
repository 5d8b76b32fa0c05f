//! What is wrong with the process, before all else.

use std::io::{self, Write};

use rtops_report::{census::Count, verdicts::Verdict, view::View};

use crate::style::{Paint, Style};

const INDENT: &str = "    ";

/// A block for each fault; then, where all tasks are shown, what deserves a look, and what was not judged.
pub(super) fn write(writer: &mut impl Write, style: Style, view: &View) -> io::Result<()> {
    let Some(judged) = &view.verdicts else {
        return Ok(());
    };
    each(writer, style, &judged.verdicts)?;
    let groups = view.tasks.iter().flatten();
    let shown: usize = groups.map(|group| group.tasks.len()).sum();
    if shown < Count::of(view.dump, view.frames).total() {
        return Ok(());
    }
    let notes = judged.notable.iter().chain(&judged.not_judged);
    for (number, note) in notes.enumerate() {
        if number == 0 && !judged.verdicts.is_empty() {
            writeln!(writer)?;
        }
        writeln!(writer, "{}", style.paint(Paint::Faint, note))?;
    }
    Ok(())
}

/// A block for each fault, with an empty line before it.
pub(super) fn each(writer: &mut impl Write, style: Style, verdicts: &[Verdict]) -> io::Result<()> {
    for verdict in verdicts {
        let fault = style.paint(Paint::Warning, verdict.fault.as_str());
        writeln!(writer, "\n{fault}: {}", verdict.sentence)?;
        for line in &verdict.evidence {
            writeln!(writer, "{INDENT}{line}")?;
        }
    }
    Ok(())
}
