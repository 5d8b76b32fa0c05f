//! `rtops demo`: a sample service, and what `rtops` shows of it.

mod service;
mod tasks;

use std::{
    env,
    io::{self, BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use crate::{args::DemoArgs, error::Error};

/// How long the sample service may take to get all its tasks into place.
const START_TIME: Duration = Duration::from_secs(30);

/// Runs the sample service and looks at it, or only serves.
///
/// # Errors
/// When the service can't be started or one of the commands fails.
pub fn run(args: &DemoArgs) -> Result<(), Error> {
    if args.serve {
        service::run(args.parent)
    } else {
        look()
    }
}

/// Starts this program as the sample service, runs the commands a user would, and ends it.
fn look() -> Result<(), Error> {
    let program = env::current_exe().map_err(failed("find its own executable"))?;
    let service = Service::start(&program)?;
    let pid = service.0.id().to_string();
    for line in [&["list"][..], &["stats", &pid], &["stack", &pid]] {
        show(&program, line)?;
    }
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "That was a sample service with some things wrong; its tasks are in cli/src/demo/tasks.rs.\n\
         To play with it, run `rtops demo --serve` and type these commands in another terminal."
    )?;
    Ok(())
}

/// Runs one command under its command line.
fn show(program: &Path, args: &[&str]) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    writeln!(out, "$ rtops {}", args.join(" "))?;
    out.flush()?;
    let status = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .status()
        .map_err(failed("run itself"))?;
    if !status.success() {
        return Err(Error::Failed(format!(
            "`rtops {}` ended with {status}",
            args.join(" ")
        )));
    }
    writeln!(out)?;
    Ok(())
}

fn failed(what: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Failed(format!("the demo can't {what}: {source}"))
}

/// The sample service as a child process, which ends when this is dropped.
struct Service(Child);

impl Service {
    /// Starts it and waits until all its tasks are in place.
    fn start(program: &Path) -> Result<Self, Error> {
        let child = Command::new(program)
            .args(["demo", "--serve", "--parent"])
            .arg(std::process::id().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed("start its service"))?;
        let mut service = Self(child);
        service.wait_ready()?;
        Ok(service)
    }

    fn wait_ready(&mut self) -> Result<(), Error> {
        let Some(stdout) = self.0.stdout.take() else {
            return Ok(());
        };
        let (sender, receiver) = mpsc::channel();
        // A thread, as reading a pipe has no time-out. It ends with the service.
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                if line.is_ok_and(|line| line.starts_with(service::READY)) {
                    // The receiver is gone if this took too long.
                    sender.send(()).ok();
                }
            }
        });
        receiver.recv_timeout(START_TIME).map_err(|_| {
            Error::Failed("the demo's service did not start; try `rtops demo --serve`".to_owned())
        })
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended by itself, which is what is wanted.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
