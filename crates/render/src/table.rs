//! Tables: as wide as needed in a file, fitted to the width on a terminal.

use std::io::{self, Write};

use comfy_table::{
    Cell, CellAlignment, ColumnConstraint, ContentArrangement, Row, Table, Width, presets::NOTHING,
};

use rtops_report::escape::escape;

use crate::style::{Paint, Style};

/// The minimum width of a column that may be cut.
const LEAST_FLEXIBLE: usize = 12;
/// The number of blanks between columns.
pub const GAP: u16 = 2;

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// The heading of the column.
    pub title: &'static str,
    /// What happens to it if the terminal is too narrow.
    pub fit: Fit,
}

impl Column {
    /// Creates a column.
    pub const fn new(title: &'static str, fit: Fit) -> Self {
        Self { title, fit }
    }
}

/// What happens to a column if the terminal is too narrow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fit {
    /// A number, always shown.
    Number,
    /// A text, always shown.
    Text,
    /// A number, left out if there is no room, lowest rank first.
    OptionalNumber(u8),
    /// A text, left out if there is no room, lowest rank first.
    OptionalText(u8),
    /// Cut to the remaining width, or left out after all others; only the last column.
    Cut,
}

impl Fit {
    fn rank(self) -> Option<u8> {
        match self {
            Self::OptionalNumber(rank) | Self::OptionalText(rank) => Some(rank),
            Self::Cut => Some(u8::MAX),
            Self::Number | Self::Text => None,
        }
    }

    fn alignment(self) -> CellAlignment {
        match self {
            Self::Number | Self::OptionalNumber(_) => CellAlignment::Right,
            Self::Text | Self::OptionalText(_) | Self::Cut => CellAlignment::Left,
        }
    }
}

/// Prints the titles of the columns and the rows below them, with `indent` before each line.
///
/// # Errors
/// If the writer fails.
pub fn write(
    writer: &mut (impl Write + ?Sized),
    style: Style,
    indent: &str,
    columns: &[Column],
    rows: impl IntoIterator<Item = Vec<String>>,
) -> io::Result<()> {
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        // Texts are cut anywhere, not only between words; escaped text never
        // contains this character.
        .set_delimiter('\0')
        .set_header(columns.iter().map(|column| column.title));
    for row in rows {
        let cells = row.iter().map(|cell| Cell::new(escape(cell)));
        let mut row = Row::from(cells.collect::<Vec<_>>());
        row.max_height(1);
        table.add_row(row);
    }
    for (column, shape) in table.column_iter_mut().zip(columns) {
        column
            .set_padding((0, GAP))
            .set_cell_alignment(shape.fit.alignment());
    }
    if let Some(width) = style.width {
        fit(&mut table, columns, width.saturating_sub(indent.len()));
    }
    for (number, line) in table.lines().enumerate() {
        let line = line.trim_end();
        if number == 0 {
            writeln!(writer, "{indent}{}", style.paint(Paint::Heading, line))?;
        } else {
            writeln!(writer, "{indent}{line}")?;
        }
    }
    Ok(())
}

/// Leaves columns out until the rest fits, and cuts the last one to the remaining width.
fn fit(table: &mut Table, columns: &[Column], width: usize) {
    let mut widths: Vec<usize> = table
        .column_max_content_widths()
        .into_iter()
        .map(usize::from)
        .collect();
    // No single text may crowd out all others.
    let most = (width / 3).max(LEAST_FLEXIBLE);
    let mut natural = None;
    for (index, (slot, column)) in widths.iter_mut().zip(columns).enumerate() {
        match column.fit {
            Fit::Cut => {
                natural = Some((index, *slot));
                *slot = LEAST_FLEXIBLE.min(*slot);
            }
            Fit::Text | Fit::OptionalText(_) if *slot > most => {
                *slot = most;
                constrain(table, index, most);
            }
            _ => {}
        }
    }
    let mut optional: Vec<(u8, usize)> = columns
        .iter()
        .enumerate()
        .filter_map(|(index, column)| Some((column.fit.rank()?, index)))
        .collect();
    optional.sort_unstable();
    for (_, index) in optional {
        if total(&widths) <= width {
            break;
        }
        if let (Some(slot), Some(column)) = (widths.get_mut(index), table.column_mut(index)) {
            *slot = 0;
            column.set_constraint(ColumnConstraint::Hidden);
        }
    }
    if let Some((index, natural)) = natural
        && let Some(slot) = widths.get_mut(index)
        && *slot > 0
    {
        *slot = 0;
        let left = width.saturating_sub(total(&widths) + usize::from(GAP));
        if natural > left {
            constrain(table, index, left.max(LEAST_FLEXIBLE));
        }
    }
}

/// Returns the width of all columns that are shown, with the gaps between them.
fn total(widths: &[usize]) -> usize {
    let shown = widths.iter().filter(|width| **width > 0);
    let gaps = shown.clone().count().saturating_sub(1) * usize::from(GAP);
    shown.sum::<usize>() + gaps
}

fn constrain(table: &mut Table, index: usize, width: usize) {
    if let Some(column) = table.column_mut(index) {
        let width = u16::try_from(width).unwrap_or(u16::MAX).saturating_add(GAP);
        column.set_constraint(ColumnConstraint::Absolute(Width::Fixed(width)));
    }
}

/// Breaks a text into lines of this width.
pub(crate) fn wrapped(text: String, room: Option<usize>) -> Vec<String> {
    let Some(room) = room else {
        return vec![text];
    };
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(u16::try_from(room).unwrap_or(u16::MAX))
        .add_row([text]);
    for column in table.column_iter_mut() {
        column.set_padding((0, 0));
    }
    table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect()
}
