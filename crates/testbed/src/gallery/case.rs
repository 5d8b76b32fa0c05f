//! The description of a case.

use std::fmt;

/// One case of the gallery.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) runs: Runs,
    pub(crate) evidence: Evidence,
    /// What is wrong, or looks wrong, in a few words.
    pub(crate) form: &'static str,
    /// Brings the process into the state. Called on the main thread,
    /// inside a runtime if the case has tasks.
    pub(crate) start: fn(),
    /// Public bugs of this form, besides the one in a kernel's name: `project#number`, by commas.
    pub(crate) also: &'static str,
    /// Whether all threads sleep, if only between two ticks, once the state is reached. If not,
    /// `start` itself waits for the state.
    pub(crate) rests: bool,
}

#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Kind {
    /// One form of a leak.
    Leak,
    /// Looks like a leak, but is not.
    Healthy,
    /// A leak that a public Go project had, rewritten in Rust.
    Kernel,
}

#[derive(Clone, Copy)]
pub(crate) enum Runs {
    Tasks,
    Threads,
}

/// The evidence that a leak is to be found by: the first kind that holds.
#[derive(Clone, Copy)]
pub(crate) enum Evidence {
    Proven,
    Deadlock,
    Growing,
    Stuck,
    Spinning,
    Orphaned,
    /// Not to be found: nothing leaks.
    Silent,
}

/// A row for a leak.
pub(crate) const fn leak(
    name: &'static str,
    runs: Runs,
    evidence: Evidence,
    form: &'static str,
    start: fn(),
) -> Case {
    Case {
        name,
        kind: Kind::Leak,
        runs,
        evidence,
        form,
        start,
        also: "",
        rests: true,
    }
}

/// A row for something that only looks like a leak.
pub(crate) const fn fine(name: &'static str, runs: Runs, form: &'static str, start: fn()) -> Case {
    Case {
        kind: Kind::Healthy,
        ..leak(name, runs, Evidence::Silent, form, start)
    }
}

/// A row for a leak from the field, named `project-number` after the public bug.
pub(crate) const fn kernel(
    name: &'static str,
    runs: Runs,
    evidence: Evidence,
    form: &'static str,
    start: fn(),
) -> Case {
    Case {
        kind: Kind::Kernel,
        ..leak(name, runs, evidence, form, start)
    }
}

impl Case {
    /// Marks a case whose threads never all sleep.
    pub(crate) const fn busy(self) -> Self {
        Self {
            rests: false,
            ..self
        }
    }

    /// Adds public bugs of the same form.
    pub(crate) const fn also(self, also: &'static str) -> Self {
        Self { also, ..self }
    }

    /// Returns the public bugs of this form.
    fn origin(&self) -> String {
        let own = match self.kind {
            Kind::Kernel => self.name.replacen('-', "#", 1),
            Kind::Leak | Kind::Healthy => String::new(),
        };
        match (&*own, self.also) {
            ("", only) | (only, "") => only.to_owned(),
            (own, also) => format!("{own}, {also}"),
        }
    }
}

/// The line of `--list`: name, kind, what runs, evidence, form and origin, separated by tabs.
impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Leak => "leak",
            Kind::Healthy => "healthy",
            Kind::Kernel => "kernel",
        };
        let runs = match self.runs {
            Runs::Tasks => "tasks",
            Runs::Threads => "threads",
        };
        let evidence = match self.evidence {
            Evidence::Proven => "proven",
            Evidence::Deadlock => "deadlock",
            Evidence::Growing => "growing",
            Evidence::Stuck => "stuck",
            Evidence::Spinning => "spinning",
            Evidence::Orphaned => "orphaned",
            Evidence::Silent => "silent",
        };
        let Self { name, form, .. } = self;
        let origin = self.origin();
        write!(f, "{name}\t{kind}\t{runs}\t{evidence}\t{form}\t{origin}")
    }
}
