//! Whether each unnamed task shows exactly the marked lines of one way to wait.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{
    reply::{Frame, Stack, TaskGroup},
    source::{Mark, Marks},
};

/// The end of a path below `crates`, and a line.
type Line = (String, u32);

/// The expected tasks of a target.
pub struct Expected<'a> {
    pub marks: &'a Marks,
    /// The folders of the lines that say where a task waits.
    pub folders: &'a [&'a str],
    /// A file in them whose lines say nothing: that of the code around each task.
    pub around: &'a str,
    /// How often each way to wait occurs.
    pub names: BTreeMap<&'a str, usize>,
    /// Ways whose place may be unknown, as long as the dump says so.
    pub may_be_unresolved: &'a [&'a str],
    /// Whether libraries have their own tasks, which have no marked lines.
    pub has_libraries: bool,
}

/// The result of comparing the tasks with the expected ones.
pub struct Verdict<'a> {
    /// Ways that occur too rarely or too often: their lines, and how many were found.
    missed: BTreeMap<&'a str, (BTreeSet<Line>, usize)>,
    /// Tasks that are reported as waiting at an unknown place.
    unresolved: Vec<Shown>,
    wrong: Vec<Shown>,
    /// How many ways may be missed: there must be that many unresolved tasks.
    excused: usize,
}

/// The data of a task in a dump.
struct Shown {
    future_type: String,
    obtained: String,
    /// Why the place where it waits is unknown, or only partly known.
    open: Option<String>,
    lines: BTreeSet<Line>,
    /// The line of the innermost frame of each stack that is in the target's folders.
    innermost: BTreeSet<Line>,
}

impl<'a> Expected<'a> {
    /// Compares all tasks of the dump, except closures on blocking pools.
    pub fn compare(&self, stack: &Stack) -> Verdict<'a> {
        let (marks, beside) = (self.marks, Marks::beside());
        let ways: BTreeMap<&str, Way> = self
            .names
            .keys()
            .map(|name| (*name, Way::new(marks.of(name), beside.find(name))))
            .collect();
        let mut found: BTreeMap<&str, usize> = BTreeMap::new();
        let (mut unresolved, mut wrong) = (Vec::new(), Vec::new());
        let of_libraries = |shown: &Shown| self.has_libraries && shown.has_no_lines();
        let shown = self.shown(stack);
        for shown in shown.filter(|shown| !shown.is_bare() && !of_libraries(shown)) {
            let name = ways
                .iter()
                .find(|(_, way)| way.is_shown_by(&shown))
                .map(|(name, _)| *name);
            if let Some(name) = name {
                *found.entry(name).or_default() += 1;
            } else if self.is_excused(&shown, &ways) {
                unresolved.push(shown);
            } else {
                wrong.push(shown);
            }
        }
        let count = |name| found.get(name).copied().unwrap_or_default();
        let missed: BTreeMap<_, _> = self
            .names
            .iter()
            .filter(|(name, expected)| count(*name) != **expected)
            .map(|(name, _)| (*name, (ways[name].needed.clone(), count(name))))
            .collect();
        let may_be_missed = |name: &&&str| self.may_be_unresolved.contains(*name);
        Verdict {
            excused: missed.keys().filter(may_be_missed).count(),
            missed,
            unresolved,
            wrong,
        }
    }

    /// Returns whether the task is reported as unresolved, and shows no lines or only the
    /// beginning of a way that may be unresolved.
    fn is_excused(&self, shown: &Shown, ways: &BTreeMap<&str, Way>) -> bool {
        let mut excused = self.may_be_unresolved.iter();
        shown.open.is_some()
            && (shown.lines.is_empty() || excused.any(|name| ways[name].is_begun_by(shown)))
    }

    fn shown(&self, stack: &Stack) -> impl Iterator<Item = Shown> {
        let groups = stack.task_groups().iter();
        let groups = groups.filter(|group| group.kind == "task");
        groups.flat_map(|group| self.shown_of(group))
    }

    fn shown_of(&self, group: &TaskGroup) -> Vec<Shown> {
        let own = |frame: &Frame| {
            let line = line_of(frame)?;
            let mut folders = self.folders.iter();
            folders
                .any(|folder| line.0.contains(folder))
                .then_some(line)
        };
        let lines: BTreeSet<Line> = group
            .stacks
            .iter()
            .flat_map(|chain| chain.frames.iter().filter_map(own))
            .filter(|(file, _)| !file.ends_with(self.around))
            .collect();
        let innermost: BTreeSet<Line> = group
            .stacks
            .iter()
            .filter_map(|chain| chain.frames.iter().find_map(own))
            .collect();
        let cut = group
            .stacks
            .iter()
            .find_map(|chain| chain.incomplete.clone());
        let tasks = group.tasks.iter();
        tasks
            .map(|task| Shown {
                future_type: group.future_type.clone().unwrap_or_default(),
                obtained: task.obtained.clone(),
                open: task
                    .reason
                    .clone()
                    .or_else(|| cut.clone())
                    .or_else(|| group.remark.clone()),
                lines: lines.clone(),
                innermost: innermost.clone(),
            })
            .collect()
    }
}

/// The lines of one way to wait.
struct Way {
    needed: BTreeSet<Line>,
    allowed: BTreeSet<Line>,
}

impl Way {
    fn new(needed: &[Mark], beside: &[Mark]) -> Self {
        let line = |mark: &Mark| (mark.file.clone(), mark.line);
        let needed: BTreeSet<Line> = needed.iter().map(line).collect();
        let beside = beside.iter().map(line);
        let allowed = needed.iter().cloned().chain(beside).collect();
        Self { needed, allowed }
    }

    /// Whether the task shows all of these lines, and no others.
    fn is_shown_by(&self, shown: &Shown) -> bool {
        shown.lines.is_superset(&self.needed) && self.is_begun_by(shown)
    }

    /// Whether the task shows some of these lines, and no others.
    fn is_begun_by(&self, shown: &Shown) -> bool {
        !shown.lines.is_empty()
            && shown.lines.is_subset(&self.allowed)
            && (shown.open.is_some() || shown.innermost.is_subset(&self.allowed))
    }
}

impl Shown {
    /// Whether the task is a bare `pending()`, which has none of the target's lines except those of
    /// the code around each task. With line tables alone, the type of that code has no arguments.
    fn is_bare(&self) -> bool {
        let is_around = self.future_type.ends_with("settle::settled::{async_fn#0}");
        let is_pending = self.future_type.contains("future::pending::Pending");
        self.has_no_lines() && (is_pending || (is_around && self.open.is_none()))
    }

    fn has_no_lines(&self) -> bool {
        self.lines.is_empty() && self.innermost.is_empty()
    }
}

impl Verdict<'_> {
    /// Panics unless each task shows where it waits, or is reported
    /// as unknown where that is allowed.
    #[track_caller]
    pub fn expect_right(&self) {
        assert!(self.is_right(), "{self}");
    }

    pub fn is_right(&self) -> bool {
        self.wrong.is_empty()
            && self.excused == self.missed.len()
            && self.excused == self.unresolved.len()
    }

    /// Returns whether nothing is wrong, and only some of these are missed.
    pub fn is_right_but_for(&self, names: &[&str]) -> bool {
        self.wrong.is_empty() && self.missed.keys().all(|name| names.contains(name))
    }

    /// Returns the number of unresolved tasks.
    pub fn unresolved(&self) -> usize {
        self.unresolved.len()
    }
}

impl fmt::Display for Verdict<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} ways to wait are missed, {} of which may be",
            self.missed.len(),
            self.excused
        )?;
        for (name, (lines, found)) in &self.missed {
            writeln!(f, "- {name} (found {found}): {}", Lines(lines))?;
        }
        for (shown, what) in [(&self.wrong, "wrong"), (&self.unresolved, "not resolved")] {
            writeln!(f, "{} tasks are {what}", shown.len())?;
            for shown in shown {
                writeln!(f, "- {shown}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            future_type,
            obtained,
            open,
            lines,
            innermost,
        } = self;
        let open = open.as_deref().unwrap_or("all is known");
        write!(
            f,
            "shows {}; innermost {}; {obtained}, {open}; {future_type}",
            Lines(lines),
            Lines(innermost)
        )
    }
}

/// Lines, printed next to each other.
struct Lines<'a>(&'a BTreeSet<Line>);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return write!(f, "no line");
        }
        for (number, (file, line)) in self.0.iter().enumerate() {
            let (_, file) = file.split_once("/src/").unwrap_or(("", file));
            let comma = if number == 0 { "" } else { ", " };
            write!(f, "{comma}{file}:{line}")?;
        }
        Ok(())
    }
}

fn line_of(frame: &Frame) -> Option<Line> {
    let file = frame.file.as_deref()?;
    let below = match file.rsplit_once("crates/") {
        Some((_, below)) => below,
        None => file,
    };
    Some((below.to_owned(), frame.line?))
}
