//! Small graphs of the figures at the last samples.

use std::collections::{BTreeMap, VecDeque};

use rtops_report::format;

/// How many samples to keep; no graph is wider.
const KEPT: usize = 240;
/// Workers of a runtime beyond this have no graph: any process may claim to have thousands.
const MAX_GRAPHS: usize = 64;
/// The heights of a bar. The lowest means zero.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Shown for a level that does not change.
const CONSTANT: char = '─';

/// Figures that belong together.
#[derive(Debug)]
pub struct Section {
    pub title: String,
    pub rows: Vec<Row>,
    /// Rows that share one line if there is no room for each.
    pub workers: Vec<Row>,
}

impl Section {
    /// Returns how many terminal rows it takes to show each row, below an empty one and the title.
    pub fn height(&self) -> usize {
        2 + self.rows.len() + self.workers.len()
    }
}

/// The current value of a figure.
#[derive(Debug)]
pub struct Row {
    pub label: String,
    pub unit: Unit,
    /// `None` while it is unknown.
    pub level: Option<f64>,
}

/// What a figure counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unit {
    Number,
    PerSecond,
    /// 1 is one processor, or one worker, all the time.
    Share,
    Bytes,
    Nanoseconds,
}

impl Unit {
    /// Formats the figure as people write it.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "figures are not negative; where they are too large to count, all are"
    )]
    pub fn text(self, level: f64) -> String {
        match self {
            Self::PerSecond if level < 99.95 => format!("{level:.1}"),
            Self::Number | Self::PerSecond => format!("{level:.0}"),
            Self::Share => format::percent(level),
            Self::Bytes => format::bytes(level as u64),
            Self::Nanoseconds => format::nanoseconds(level as u64),
        }
    }
}

/// A figure at the last samples, the newest last.
#[derive(Debug, Default)]
pub struct Series {
    levels: VecDeque<Option<f64>>,
    /// The highest known level, even if it is not kept.
    pub peak: Option<f64>,
}

impl Series {
    fn push(&mut self, level: Option<f64>) {
        if self.levels.len() == KEPT {
            self.levels.pop_front();
        }
        self.levels.push_back(level);
        self.peak = self.peak.into_iter().chain(level).reduce(f64::max);
    }

    /// Draws a bar for each of the last samples, from 0 to their highest (for a share, at least 1).
    /// A level that never changes is a line in the middle: full bars would suggest a maximum.
    pub fn bars(&self, width: usize, unit: Unit) -> String {
        let skipped = self.levels.len().saturating_sub(width);
        let shown = || self.levels.iter().skip(skipped);
        let least = if unit == Unit::Share { 1.0 } else { 0.0 };
        let top = shown()
            .flatten()
            .fold(least, |top: f64, level| top.max(*level));
        // Compared as precisely as the figures beside it are shown.
        let mut texts = shown().flatten().map(|level| unit.text(*level));
        let first = texts.next();
        let is_constant = unit != Unit::Share
            && first
                .is_some_and(|first| first != unit.text(0.0) && texts.all(|text| text == first));
        shown()
            .map(|level| match level {
                None => ' ',
                Some(_) if is_constant => CONSTANT,
                Some(level) => bar(*level, top),
            })
            .collect()
    }
}

/// Chooses a bar for a level; anything above zero is visible.
fn bar(level: f64, top: f64) -> char {
    let steps = [1, 2, 3, 4, 5, 6, 7];
    let reached = |step: &&i32| level > top * f64::from(**step - 1) / 7.0;
    let height = steps.iter().take_while(reached).count();
    BARS.get(height).copied().unwrap_or(' ')
}

/// All figures at the last samples.
#[derive(Debug, Default)]
pub struct History {
    /// By the number of the section and the label.
    series: BTreeMap<(usize, String), Series>,
}

impl History {
    /// Adds the current figures. Those that no longer exist are dropped.
    pub fn push(&mut self, sections: &[Section]) {
        let mut before = std::mem::take(&mut self.series);
        for (number, section) in sections.iter().enumerate() {
            let workers = section.workers.iter().take(MAX_GRAPHS);
            for row in section.rows.iter().chain(workers) {
                let key = (number, row.label.clone());
                let mut series = before.remove(&key).unwrap_or_default();
                series.push(row.level);
                self.series.insert(key, series);
            }
        }
    }

    /// Adds a gap.
    pub fn skip(&mut self) {
        self.series
            .values_mut()
            .for_each(|series| series.push(None));
    }

    /// Returns the series of one figure.
    pub fn of(&self, section: usize, label: &str) -> Option<&Series> {
        self.series.get(&(section, label.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(levels: &[Option<f64>]) -> Series {
        let mut series = Series::default();
        levels.iter().for_each(|level| series.push(*level));
        series
    }

    #[test]
    fn bars_grow_from_nothing_to_the_highest() {
        let rising: Vec<_> = (0..8).map(|level| Some(f64::from(level))).collect();
        assert_eq!(series(&rising).bars(80, Unit::Number), "▁▂▃▄▅▆▇█");
        assert_eq!(series(&rising).bars(3, Unit::Number), "▆▇█");
        let levels = [Some(0.0), None, Some(0.001), Some(1e9)];
        assert_eq!(series(&levels).bars(80, Unit::PerSecond), "▁ ▂█");
        assert_eq!(series(&[Some(0.0); 3]).bars(80, Unit::Bytes), "▁▁▁");
    }

    #[test]
    fn what_does_not_change_is_a_line() {
        let levels = [Some(84e6), None, Some(84.1e6)];
        assert_eq!(series(&levels).bars(80, Unit::Bytes), "─ ─");
        assert_eq!(series(&[Some(1.0); 2]).bars(80, Unit::Share), "██");
    }

    #[test]
    fn shares_are_of_one_or_more_processors() {
        assert_eq!(series(&[Some(0.5), Some(1.0)]).bars(80, Unit::Share), "▅█");
        assert_eq!(series(&[Some(1.0), Some(2.0)]).bars(80, Unit::Share), "▅█");
    }

    #[test]
    fn only_the_last_samples_are_kept_but_the_peak_stays() {
        let mut series = series(&[Some(7.0)]);
        (0..1000).for_each(|_| series.push(Some(1.0)));
        assert_eq!(series.bars(usize::MAX, Unit::Number), "─".repeat(KEPT));
        assert_eq!(series.peak, Some(7.0));
    }
}
