//! `rtops list`: every process that has an agent or runs a Rust program.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashSet},
    io::{self, Write},
    mem,
    time::Duration,
};

use nix::unistd::{User, geteuid};
use rtops_protocol::{FrameKind, ProtocolError, Refused, Reply, Request, Summary};
use rtops_render::style::{Paint, Style};
use rtops_report::{escape::escape, format};
use rtops_types::Pid;

mod json;
mod text;

pub(super) use self::text::State;
use self::text::{List, Row, Scope};
use super::{
    Format, Output,
    watch::{Subject, watch},
};
use crate::{
    args::{ListArgs, OutputArgs, Pace, SortKey},
    error::Error,
    find::{
        client::Session,
        discover,
        every_agent::{Answer, Asked, ask_every_agent},
        programs::{self, Program, Programs},
    },
    proc::{Reader, proc_files},
};

/// How often to look while watching, unless the user sets it.
const PACE: Duration = Duration::from_secs(2);

/// An agent's answer when it is asked for its line of the list.
enum Said {
    Summary(Summary),
    Refused(Refused),
}

/// Prints a line for each process, once or repeatedly.
///
/// # Errors
/// If `/proc` can't be read or the output can't be written.
pub fn run(args: &ListArgs, output: &OutputArgs) -> Result<(), Error> {
    let mut lister = Lister::of(args)?;
    if let Some(pace) = args.watch.pace(PACE)? {
        let mut list = Watched {
            pace,
            list: List::default(),
            lister,
            printed: false,
        };
        return watch(&mut list, pace, output);
    }
    let list = lister.list()?;
    let hidden = owners_of_hidden_agents(&lister, &list);
    let mut output = Output::open(output)?;
    match output.format {
        Format::Json => json::json(&mut output.writer, &list)?,
        Format::Text => text::text(&mut output.writer, output.style, &list)?,
    }
    output.finish()?;
    if !hidden.is_empty() {
        let hidden: Vec<_> = hidden.iter().map(|owner| escape(owner)).collect();
        // If standard error is closed, nobody is left to tell.
        drop(writeln!(
            io::stderr(),
            "rtops: agents of {} run here: sudo rtops",
            hidden.join(", ")
        ));
    }
    lister.programs.checked()
}

/// Returns the owners of agents that are not listed because only root and the owner may ask them.
fn owners_of_hidden_agents(lister: &Lister, list: &List) -> BTreeSet<String> {
    let user = geteuid();
    let (Ok(pids), Ok(reader)) = (discover::named_by_sockets(), Reader::new()) else {
        return BTreeSet::new();
    };
    let hidden = pids
        .into_iter()
        .filter(|pid| lister.is_wanted(*pid))
        .filter(|pid| !list.rows.iter().any(|row| row.figures.pid == *pid))
        .filter_map(|pid| {
            Some(
                proc_files::status(&proc_files::process(pid).ok()?)
                    .ok()?
                    .euid,
            )
        })
        .filter(|owner| !user.is_root() && *owner != user.as_raw());
    hidden.map(|owner| reader.user(owner)).collect()
}

/// A list that is refreshed while it is watched.
struct Watched {
    pace: Pace,
    list: List,
    lister: Lister,
    printed: bool,
}

impl Subject for Watched {
    fn look(&mut self) -> Result<(), Error> {
        self.list = self.lister.list()?;
        Ok(())
    }

    fn picture(&self, writer: &mut Vec<u8>, style: Style, _: usize) -> io::Result<()> {
        let interval = format::duration(self.pace.interval);
        let head = format!("every {interval}, until Ctrl-C");
        writeln!(writer, "{}\n", style.paint(Paint::Faint, head))?;
        text::text(writer, style, &self.list)
    }

    fn text(&mut self, writer: &mut dyn Write, time: &str) -> io::Result<()> {
        if mem::replace(&mut self.printed, true) {
            writeln!(writer)?;
        }
        writeln!(writer, "{time}")?;
        text::text(writer, Style::PLAIN, &self.list)
    }

    fn json(&self, writer: &mut dyn Write, time: &str) -> io::Result<()> {
        json::json_line(writer, time, &self.list)
    }
}

/// Makes lists of the processes that are wanted.
struct Lister {
    scope: Scope,
    sort: SortKey,
    limit: usize,
    owner: Option<u32>,
    programs: Programs,
}

impl Lister {
    fn of(args: &ListArgs) -> Result<Self, Error> {
        Ok(Self {
            scope: match args.all {
                true => Scope::Rust,
                false => Scope::Agents,
            },
            sort: args.sort,
            limit: args.limit.unwrap_or(usize::MAX),
            owner: args.user.as_deref().map(user_number).transpose()?,
            programs: Programs::default(),
        })
    }

    /// Asks all agents at once, and looks at the other processes if they are wanted.
    fn list(&mut self) -> Result<List, Error> {
        let reader = Reader::new()?;
        self.programs.begin();
        let agents = ask_every_agent(ask)?.into_iter();
        let mut rows: Vec<Row> = agents
            .filter(|asked| self.is_wanted(asked.pid))
            .filter_map(|asked| row(&reader, asked))
            .collect();
        let mut hidden = 0;
        if self.scope == Scope::Rust {
            for row in &mut rows {
                if let Program::Rust(built) = self.programs.of(row.figures.pid) {
                    row.built = Some(built);
                }
            }
            hidden = self.add_others(&reader, &mut rows)?;
        }
        sort(&mut rows, self.sort);
        let total = rows.len();
        rows.truncate(self.limit);
        Ok(List {
            scope: self.scope,
            sort: self.sort,
            rows,
            total,
            hidden,
        })
    }

    /// Adds Rust processes that are not listed, and returns how many have programs hidden from us.
    fn add_others(&mut self, reader: &Reader, rows: &mut Vec<Row>) -> Result<usize, Error> {
        let listed: HashSet<Pid> = rows.iter().map(|row| row.figures.pid).collect();
        let mut hidden = 0;
        for pid in programs::others()? {
            if listed.contains(&pid) {
                continue;
            }
            match self.programs.of(pid) {
                Program::Rust(built) if self.is_wanted(pid) => {
                    let figures = reader.figures(pid);
                    rows.extend(figures.map(|figures| Row {
                        name: figures.name.clone(),
                        figures,
                        agent_version: None,
                        built: Some(built),
                        state: State::NoAgent,
                    }));
                }
                Program::Hidden if self.is_wanted(pid) => hidden += 1,
                _ => {}
            }
        }
        Ok(hidden)
    }

    fn is_wanted(&self, pid: Pid) -> bool {
        let owner = || {
            proc_files::process(pid)
                .and_then(|process| process.uid())
                .ok()
        };
        self.owner.is_none() || self.owner == owner()
    }
}

/// Returns the number of a user given by number or name.
fn user_number(user: &str) -> Result<u32, Error> {
    if let Ok(number) = user.parse() {
        return Ok(number);
    }
    match User::from_name(user) {
        Ok(Some(user)) => Ok(user.uid.as_raw()),
        _ => Err(Error::Usage(format!(
            "there is no user {}; --user takes a name or a number",
            escape(user)
        ))),
    }
}

fn sort(rows: &mut [Row], key: SortKey) {
    rows.sort_by_key(|row| row.figures.pid);
    // The sorts are stable: equal rows stay in this order.
    match key {
        SortKey::Pid => {}
        SortKey::Name => rows.sort_by(|a, b| a.name.cmp(&b.name)),
        SortKey::Cpu => rows.sort_by(|a, b| {
            let share = |row: &Row| row.figures.cpu_share();
            share(b).total_cmp(&share(a))
        }),
        SortKey::Rss => rows.sort_by_key(|row| Reverse(row.figures.rss_bytes)),
        SortKey::Tasks => rows.sort_by_key(|row| Reverse(row.state.known_tasks())),
        SortKey::Threads => rows.sort_by_key(|row| Reverse(row.figures.threads)),
        SortKey::Uptime => rows.sort_by_key(|row| Reverse(row.figures.uptime)),
    }
}

/// Returns the line of a process that was asked; `None` if it has ended or something else listens.
fn row(reader: &Reader, asked: Asked<Said>) -> Option<Row> {
    let figures = reader.figures(asked.pid)?;
    let mut row = Row {
        name: figures.name.clone(),
        figures,
        agent_version: None,
        built: None,
        state: State::NotAnswering,
    };
    match asked.answer {
        Answer::Silent => {}
        Answer::Wrong(error) => row.state = wrong(&error)?,
        Answer::Given(hello, said) => {
            row.name = hello.name;
            row.agent_version = Some(hello.agent_version);
            row.state = match said {
                Said::Summary(summary) => State::Answering(summary),
                Said::Refused(refused) => State::Refused(refused.why),
            };
        }
    }
    Some(row)
}

fn ask(session: &mut Session) -> Result<Said, ProtocolError> {
    session.ask(&Request::Summary)?;
    match session.next()? {
        Reply::Summary(summary) => Ok(Said::Summary(summary)),
        Reply::Refused(refused) => Ok(Said::Refused(refused)),
        _ => Err(ProtocolError::Unexpected(FrameKind::REPLY.0)),
    }
}

/// Returns `None` if the other side is no agent at all and does not belong in the list.
pub(super) fn wrong(error: &ProtocolError) -> Option<State> {
    match error {
        ProtocolError::Version { newest, .. } => Some(State::OtherVersion(*newest)),
        ProtocolError::NotRtops => None,
        _ => Some(State::Broken),
    }
}
