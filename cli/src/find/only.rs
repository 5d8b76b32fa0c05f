//! The process that is meant if none is named: the only one that can be.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use nix::unistd::geteuid;
use rtops_types::Pid;

use crate::{
    error::Error,
    find::{
        every_agent::{Asked, ask_every_agent},
        named::{Named, Several},
        programs::{self, Program, Programs},
    },
    proc::{self, proc_files},
};

/// Which processes can be meant.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Candidates {
    /// Those that have an agent.
    Agents,
    /// Those that have an agent or run tokio.
    All,
}

/// Returns the only process of this user, or of any user for root, that has an agent or runs tokio.
///
/// # Errors
/// If there is none, or more than one.
pub fn process(among: Candidates) -> Result<Pid, Error> {
    let agents: Vec<Asked<()>> = ask_every_agent(|_| Ok(()))?;
    let agents = agents.iter().filter_map(Named::of_agent);
    let mut found: Vec<Named> = agents.filter(|named| is_ours(named.pid)).collect();
    if among == Candidates::All {
        let known = found.iter().map(|named| named.pid).collect::<Vec<_>>();
        let mut programs = Programs::default();
        let others = programs::others()?.into_iter();
        found.extend(
            others
                .filter(|pid| !known.contains(pid) && is_ours(*pid) && !is_rtops(*pid))
                .filter(|pid| match programs.of(*pid) {
                    Program::Rust(built) => !built.tokio.is_empty(),
                    Program::Other | Program::Hidden => false,
                })
                .filter_map(|pid| {
                    let name = proc::name(&proc_files::process(pid).ok()?)?;
                    Some(Named { pid, name })
                }),
        );
    }
    match found.as_slice() {
        [] => Err(Error::NoCandidate(among)),
        [only] => Ok(only.pid),
        _ => Err(Error::Ambiguous(Several::candidates(found))),
    }
}

fn is_ours(pid: Pid) -> bool {
    let user = geteuid();
    let owner = || {
        Some(
            proc_files::status(&proc_files::process(pid).ok()?)
                .ok()?
                .euid,
        )
    };
    user.is_root() || owner() == Some(user.as_raw())
}

/// Whether a process runs rtops itself, which contains tokio only for its demo.
fn is_rtops(pid: Pid) -> bool {
    let program = |process: &str| {
        let metadata = fs::metadata(Path::new("/proc").join(process).join("exe")).ok()?;
        Some((metadata.dev(), metadata.ino()))
    };
    let own = program("self");
    own.is_some() && program(&pid.to_string()) == own
}
