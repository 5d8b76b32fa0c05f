//! `rtops tree`: which processes started which.

use std::{collections::HashMap, io::Write, time::Duration};

use procfs::process::{Process, StatFlags};

use super::{Format, Output, list::wrong};
use crate::{
    args::{OutputArgs, TargetArgs, TreeArgs},
    error::Error,
    forest::{self, Part},
    process,
    programs::{self, Program, Programs},
    render::{
        self,
        tree::{Agent, Node},
    },
    survey::{Answer, survey},
    target::Target,
};

/// For an agent to say its name.
const PATIENCE: Duration = Duration::from_secs(10);

/// Prints a line for each process of the part that is wanted.
///
/// # Errors
/// When there is no such process, `/proc` can't be read or the output can't be written.
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
    let nodes = nodes()?;
    let tree = forest::grow(nodes, part, |node| args.all || node.is_of_interest());
    if let (Part::Below(pid), []) = (part, &tree[..]) {
        return Err(Error::NoSuchProcess(pid));
    }
    let mut output = Output::open(output)?;
    match output.format {
        Format::Json => render::tree::json(&mut output.writer, &tree)?,
        Format::Text => render::tree::text(&mut output.writer, output.style, &tree)?,
    }
    Ok(output.writer.flush()?)
}

/// All processes but this one.
fn nodes() -> Result<Vec<Node>, Error> {
    let mut agents = agents()?;
    let mut programs = Programs::default();
    let nodes = programs::others()?.into_iter().filter_map(|pid| {
        let process = Process::new(pid).ok()?;
        let stat = process.stat().ok()?;
        let rustc = match programs.of(pid) {
            Program::Rust(rustc) => Some(rustc),
            Program::Other | Program::Hidden => None,
        };
        let mut node = Node {
            pid,
            ppid: stat.ppid,
            name: None,
            rustc,
            agent: None,
        };
        if let Some((name, agent)) = agents.remove(&pid) {
            node.name = name;
            node.agent = Some(agent);
        }
        if node.name.is_none() && node.is_of_interest() {
            node.name = process::name(&process);
        }
        let is_kernel = StatFlags::from_bits_truncate(stat.flags).contains(StatFlags::PF_KTHREAD);
        node.name.get_or_insert(match is_kernel {
            true => format!("[{}]", stat.comm),
            false => stat.comm,
        });
        Some(node)
    });
    Ok(nodes.collect())
}

/// What agents there are, with the name that each states.
fn agents() -> Result<HashMap<i32, (Option<String>, Agent)>, Error> {
    let agents = survey(|_| Ok(()))?.into_iter().filter_map(|surveyed| {
        let (name, agent) = match surveyed.answer {
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
        Some((surveyed.pid, (name, agent)))
    });
    Ok(agents.collect())
}
