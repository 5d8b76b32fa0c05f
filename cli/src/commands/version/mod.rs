//! `rtops version`: how a process was built, according to its executable and its agent.

use std::fs::File;

use rtops_binary::{Details, child::Reader};
use rtops_image::{Core, Image, ModuleKind};
use rtops_protocol::{Capabilities, Reply, Request};
use rtops_types::Pid;

mod json;
mod text;

use self::text::{Agent, Answer, Report};
use super::{Format, Output};
use crate::{
    args::{OutputArgs, VersionArgs},
    dump::image::core,
    error::Error,
    find::{programs, target::Target},
    proc::{self, proc_files},
};

/// Prints what the executable says, and what the agent adds if there is one.
///
/// # Errors
/// If there is no such process, or the executable or the agent is there and can't be read;
/// what the other one said is printed anyway.
pub fn run(args: &VersionArgs, output: &OutputArgs) -> Result<(), Error> {
    let report = match core::open(&args.core)? {
        Some(core) => of_core(&core, args)?,
        None => of_process(args)?,
    };
    let mut output = Output::open(output)?;
    match output.format {
        Format::Json => json::json(&mut output.writer, &report)?,
        Format::Text => text::text(&mut output.writer, output.style, &report)?,
    }
    output.finish()?;
    match gaps(&report) {
        gaps if gaps.is_empty() => Ok(()),
        gaps => Err(Error::Partial(gaps)),
    }
}

/// Reads what the executable of a core file says.
fn of_core(core: &Core, args: &VersionArgs) -> Result<Report, Error> {
    let modules = core.modules().iter();
    let mut programs = modules.filter(|module| module.kind == ModuleKind::MainExecutable);
    let program = programs.next();
    let binary = match program.map(|program| &program.file) {
        Some(Ok(found)) => details(&found.file, args),
        Some(Err(why)) => Err(format!("{why}; name it with --exe FILE")),
        None => Err("the core file does not say which it was".to_owned()),
    };
    Ok(Report {
        pid: Pid::new(core.head().pid.unwrap_or_default()),
        name: core.head().program.clone(),
        path: program.map(|program| program.path.to_string_lossy().into_owned()),
        lists_packages: args.dependencies,
        binary,
        agent: Answer::NotAsked,
    })
}

fn of_process(args: &VersionArgs) -> Result<Report, Error> {
    let target = Target::find_any(&args.target()?)?;
    let pid = target.pid;
    let file = programs::open(pid).map_err(|error| error.to_string());
    let binary = file.and_then(|file| details(&file, args));
    let agent = agent(&target);
    let (binary, agent) = match (binary, agent) {
        // There is nothing to print, and the agent's error is the more useful reason.
        (Err(_), Err(error)) => return Err(error),
        (Err(error), Ok(None)) => return Err(no_binary(pid, error)),
        (binary, Ok(Some(agent))) => (binary, Answer::Given(agent)),
        (binary, Ok(None)) => (binary, Answer::None),
        (binary, Err(error)) => (binary, Answer::Missing(error.to_string())),
    };
    let name = match agent.given() {
        Some(agent) => Some(agent.name.clone()),
        None => proc_files::process(pid).ok().as_ref().and_then(proc::name),
    };
    Ok(Report {
        pid,
        name: name.ok_or(Error::NoSuchProcess(pid))?,
        path: programs::path(pid),
        lists_packages: args.dependencies,
        binary,
        agent,
    })
}

fn details(program: &File, args: &VersionArgs) -> Result<Details, String> {
    Reader::new(None, args.timeout()).details(program)
}

fn agent(target: &Target) -> Result<Option<Agent>, Error> {
    let Some(mut session) = target.open_if_any()? else {
        return Ok(None);
    };
    let stated = |reply| match reply {
        Reply::Build(build) => Some(build),
        _ => None,
    };
    let without = "an answer that says nothing of its build";
    let build = match session.hello.capabilities.has(Capabilities::BUILD) {
        true => Some(target.ask(&mut session, &Request::Build, stated, without)?),
        // An older agent: its greeting says the rest.
        false => None,
    };
    let hello = session.hello;
    Ok(Some(Agent {
        name: hello.name,
        version: hello.agent_version,
        protocol: (hello.oldest_version, hello.newest_version),
        capabilities: hello.capabilities,
        build,
    }))
}

/// Says why there is nothing to print.
fn no_binary(pid: Pid, reason: String) -> Error {
    if proc_files::process(pid).is_err() {
        return Error::NoSuchProcess(pid);
    }
    Error::NoBinary { pid, reason }
}

/// Lists what was asked for and is missing.
fn gaps(report: &Report) -> Vec<String> {
    let mut gaps = Vec::new();
    let packages = match &report.binary {
        Ok(details) => details.packages.as_ref(),
        Err(reason) => {
            gaps.push(format!("the executable is not known: {reason}"));
            None
        }
    };
    if let Some(reason) = report.agent.missing() {
        gaps.push(format!("the agent did not say its version: {reason}"));
    }
    if report.lists_packages {
        match packages {
            Some(Ok(_)) => {}
            Some(Err(error)) => gaps.push(error.to_string()),
            None => gaps.push(
                "the executable carries no list of packages; build it with `cargo auditable build`"
                    .to_owned(),
            ),
        }
    }
    gaps
}
