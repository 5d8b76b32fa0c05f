//! Which process a name means: the one that has it, or the only one whose name begins with it.

use std::{
    collections::HashSet,
    fmt::{self, Display},
};

use procfs::{ProcResult, process::all_processes};
use rtops_protocol::ProtocolError;
use rtops_report::escape::escape;
use rtops_types::Pid;

use crate::{
    find::every_agent::{Answer, Asked},
    proc::{self, Reader, proc_files},
};

/// The most processes to list if a name is ambiguous.
const MAX_LISTED: usize = 20;
/// The most characters of a command line to show there.
const MAX_COMMAND: usize = 120;

/// A process that could be meant.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Named {
    pub pid: Pid,
    pub name: String,
}

/// What a name means.
#[derive(Debug, PartialEq)]
pub enum Meant {
    None,
    One(Pid),
    Several(Several),
}

/// The processes that could be meant.
#[derive(Debug, PartialEq)]
pub struct Several {
    common: Common,
    processes: Vec<Named>,
}

/// What the processes have in common.
#[derive(Debug, PartialEq)]
enum Common {
    Name(String),
    Beginning(String),
    /// No name was given, and all of them can be inspected.
    Kind,
}

impl Several {
    /// Collects the processes that have this name.
    pub fn named(name: &str, mut processes: Vec<Named>) -> Self {
        processes.sort_by_key(|named| named.pid);
        Self {
            common: Common::Name(name.to_owned()),
            processes,
        }
    }

    /// Collects the processes that could be meant if no name is given.
    pub fn candidates(mut processes: Vec<Named>) -> Self {
        processes.sort_by_key(|named| named.pid);
        Self {
            common: Common::Kind,
            processes,
        }
    }
}

impl Named {
    /// Names a process as its agent states, else by its executable;
    /// returns `None` if something else listens.
    pub fn of_agent<T>(asked: &Asked<T>) -> Option<Self> {
        let pid = asked.pid;
        let name = match &asked.answer {
            Answer::Given(hello, _) => hello.name.clone(),
            Answer::Wrong(ProtocolError::NotRtops) => return None,
            Answer::Silent | Answer::Wrong(_) => proc::name(&proc_files::process(pid).ok()?)?,
        };
        Some(Self { pid, name })
    }

    /// Returns all processes that the user may see except `known` and rtops itself.
    ///
    /// # Errors
    /// If `/proc` can't be read.
    pub fn of_all_but(known: &[Self]) -> ProcResult<Vec<Self>> {
        let mut known: HashSet<Pid> = known.iter().map(|named| named.pid).collect();
        known.insert(Pid::own());
        Ok(all_processes()?
            .flatten()
            .filter(|process| !known.contains(&Pid::new(process.pid())))
            .filter_map(|process| {
                Some(Self {
                    pid: Pid::new(process.pid()),
                    name: proc::name(&process)?,
                })
            })
            .collect())
    }
}

/// Finds what `text` means: a whole name goes before the beginning of one, and within each, an
/// earlier group before a later one. A number is no beginning: it is a mistyped PID.
pub fn meant(text: &str, groups: &[&[Named]]) -> Meant {
    let may_begin = !text.is_empty() && text.parse::<i64>().is_err();
    let fits = |named: &&Named, is_whole: bool| match is_whole {
        true => named.name == text,
        false => may_begin && named.name.starts_with(text),
    };
    for is_whole in [true, false] {
        for group in groups {
            let fitting = group.iter().filter(|named| fits(named, is_whole));
            let mut fitting: Vec<Named> = fitting.cloned().collect();
            match &fitting[..] {
                [] => {}
                [one] => return Meant::One(one.pid),
                _ => {
                    fitting.sort_by_key(|named| named.pid);
                    let common = match is_whole {
                        true => Common::Name(text.to_owned()),
                        false => Common::Beginning(text.to_owned()),
                    };
                    return Meant::Several(Several {
                        common,
                        processes: fitting,
                    });
                }
            }
        }
    }
    Meant::None
}

impl Display for Several {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.processes.len();
        match &self.common {
            Common::Name(text) => write!(f, "{count} processes are named {}", escape(text))?,
            Common::Beginning(text) => {
                let text = escape(text);
                write!(f, "the names of {count} processes begin with {text}")?;
            }
            Common::Kind => write!(f, "{count} processes have an agent or run tokio")?,
        }
        write!(f, "; give one of these PIDs:")?;
        let reader = Reader::new().ok();
        let listed = self.processes.iter().take(MAX_LISTED);
        let listed: Vec<_> = listed
            .map(|named| (named.pid.to_string(), escape(&named.name), named.pid))
            .collect();
        let pid_width = listed.iter().map(|(pid, ..)| pid.len()).max().unwrap_or(0);
        let name_width = listed.iter().map(|(_, name, _)| name.chars().count());
        let name_width = name_width.max().unwrap_or(0);
        for (shown, name, pid) in &listed {
            let figures = reader.as_ref().and_then(|reader| reader.figures(*pid));
            let command = figures.map(|figures| figures.command).unwrap_or_default();
            let command: String = command.chars().take(MAX_COMMAND).collect();
            let command = escape(&command);
            write!(f, "\n  {shown:>pid_width$}  {name:name_width$}  {command}")?;
        }
        match count.saturating_sub(listed.len()) {
            0 => Ok(()),
            hidden => write!(f, "\n  and {hidden} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(processes: &[(i32, &str)]) -> Vec<Named> {
        let named = processes.iter().map(|(pid, name)| Named {
            pid: Pid::new(*pid),
            name: (*name).to_owned(),
        });
        named.collect()
    }

    #[test]
    fn whole_names_come_before_beginnings() {
        let agents = named(&[(1, "gateway"), (2, "gateway-old"), (3, "worker")]);
        let others = named(&[(4, "gate"), (5, "work"), (6, "nginx"), (7, "ngrok")]);
        let both = |text| meant(text, &[&agents, &others]);
        for (text, pid) in [
            ("gateway", 1),
            ("gateway-", 2),
            ("wor", 3),
            ("work", 5),
            ("gate", 4),
            ("ngi", 6),
        ] {
            assert_eq!(both(text), Meant::One(Pid::new(pid)), "{text}");
        }
        for text in ["Gateway", "gateway-older", ""] {
            assert_eq!(both(text), Meant::None, "{text}");
        }
        assert_eq!(meant("work", &[&agents]), Meant::One(Pid::new(3)));
        assert_eq!(meant("nginx", &[&agents]), Meant::None);
    }

    #[test]
    fn what_is_ambiguous_is_not_guessed() {
        let agents = named(&[(9, "api"), (2, "api"), (3, "api-canary")]);
        let Meant::Several(several) = meant("api", &[&agents]) else {
            panic!("a guess");
        };
        assert_eq!(several.common, Common::Name("api".to_owned()));
        assert_eq!(several.processes, named(&[(2, "api"), (9, "api")]));
        let Meant::Several(several) = meant("ap", &[&agents]) else {
            panic!("a guess");
        };
        assert_eq!(several.common, Common::Beginning("ap".to_owned()));
        assert_eq!(several.processes.len(), 3);
    }

    #[test]
    fn a_number_is_no_beginning_of_a_name() {
        let agents = named(&[(1, "47-worker"), (2, "48")]);
        assert_eq!(meant("47", &[&agents]), Meant::None);
        assert_eq!(meant("48", &[&agents]), Meant::One(Pid::new(2)));
    }

    #[test]
    fn a_long_list_is_cut_and_hostile_names_are_harmless() {
        let processes: Vec<Named> = (0..30)
            .map(|number| Named {
                // There is no such process, so its command line is unknown.
                pid: Pid::new(i32::MAX - number),
                name: "evil\u{1b}[2J".to_owned(),
            })
            .collect();
        let Meant::Several(several) = meant("evil", &[&processes]) else {
            panic!("a guess");
        };
        let text = several.to_string();
        let lines: Vec<_> = text.lines().map(str::trim_end).collect();
        assert_eq!(
            lines.first(),
            Some(&"the names of 30 processes begin with evil; give one of these PIDs:")
        );
        assert_eq!(lines.get(1), Some(&"  2147483618  evil\\u{1b}[2J"));
        assert_eq!(lines.last(), Some(&"  and 10 more"));
        assert_eq!(lines.len(), 22);
    }
}
