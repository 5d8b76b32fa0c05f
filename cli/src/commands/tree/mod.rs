//! `rtops tree`: which processes started which.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use procfs::process::StatFlags;
use rtops_binary::Rustc;
use rtops_types::Pid;

mod report;

use self::report::{Agent, Node};
use super::{Format, Output, list::wrong};
use crate::{
    args::{OutputArgs, TargetArgs, TreeArgs},
    error::Error,
    find::{
        every_agent::{Answer, ask_every_agent},
        programs::{self, Program, Programs},
        target::Target,
    },
    proc::{
        self,
        forest::{self, Part},
        proc_files,
    },
};

/// How long an agent may take to state its name.
const PATIENCE: Duration = Duration::from_secs(10);

/// Prints a line for each process of the part that is wanted.
///
/// # Errors
/// If there is no such process, `/proc` can't be read or the output can't be written.
pub fn run(args: &TreeArgs, output: &OutputArgs) -> Result<(), Error> {
    let part = match &args.target {
        None => Part::All,
        Some(target) => {
            let target = Target::find_any(&TargetArgs {
                target: target.clone(),
                timeout: PATIENCE,
            })?;
            Part::Below(target.pid)
        }
    };
    let mut forester = Forester {
        agents: agents()?,
        programs: Programs::default(),
    };
    let nodes = forester.nodes(part, args.all)?;
    let tree = forest::grow(nodes, part, |node| args.all || node.is_of_interest());
    if let (Part::Below(pid), []) = (part, &tree[..]) {
        return Err(Error::NoSuchProcess(pid));
    }
    let mut output = Output::open(output)?;
    match output.format {
        Format::Json => report::json(&mut output.writer, &tree)?,
        Format::Text => report::text(&mut output.writer, output.style, &tree)?,
    }
    output.finish()?;
    forester.programs.checked()
}

/// Reads the processes that may be shown.
struct Forester {
    agents: HashMap<Pid, (Option<String>, Agent)>,
    programs: Programs,
}

impl Forester {
    /// Returns all processes except rtops itself. Without `all`, returns only those of interest,
    /// the root, and their ancestors: most others are not even read.
    fn nodes(&mut self, part: Part, all: bool) -> Result<Vec<Node>, Error> {
        let mut waiting = programs::others()?;
        if !all {
            waiting.retain(|pid| self.agents.contains_key(pid) || self.rustc(*pid).is_some());
            waiting.extend(match part {
                Part::Below(pid) => Some(pid),
                Part::All => None,
            });
        }
        let mut seen = HashSet::new();
        let mut nodes = Vec::new();
        while let Some(pid) = waiting.pop() {
            if pid.as_raw() > 0
                && seen.insert(pid)
                && let Some(node) = self.node(pid)
            {
                waiting.push(node.ppid);
                nodes.push(node);
            }
        }
        Ok(nodes)
    }

    /// Returns `None` if the process has ended.
    fn node(&mut self, pid: Pid) -> Option<Node> {
        let process = proc_files::process(pid).ok()?;
        let stat = process.stat().ok()?;
        let rustc = self.rustc(pid);
        let (stated, agent) = self.agents.remove(&pid).unzip();
        let is_of_interest = rustc.is_some() || agent.is_some();
        let own = || is_of_interest.then(|| proc::name(&process)).flatten();
        let is_kernel = StatFlags::from_bits_truncate(stat.flags).contains(StatFlags::PF_KTHREAD);
        let name = stated.flatten().or_else(own).unwrap_or(match is_kernel {
            true => format!("[{}]", stat.comm),
            false => stat.comm,
        });
        Some(Node {
            pid,
            ppid: Pid::new(stat.ppid),
            name,
            rustc,
            agent,
        })
    }

    fn rustc(&mut self, pid: Pid) -> Option<Rustc> {
        match self.programs.of(pid) {
            Program::Rust(built) => Some(built.rustc),
            Program::Other | Program::Hidden => None,
        }
    }
}

/// Finds all agents, with the name that each states.
fn agents() -> Result<HashMap<Pid, (Option<String>, Agent)>, Error> {
    let agents = ask_every_agent(|_| Ok(()))?
        .into_iter()
        .filter_map(|asked| {
            let (name, agent) = match asked.answer {
                Answer::Given(hello, ()) => {
                    let agent = Agent {
                        version: Some(hello.agent_version),
                        state: "answering",
                    };
                    (Some(hello.name), agent)
                }
                Answer::Silent => (None, Agent::without_version("not answering")),
                Answer::Wrong(error) => (None, Agent::without_version(wrong(&error)?.word())),
            };
            Some((asked.pid, (name, agent)))
        });
    Ok(agents.collect())
}
