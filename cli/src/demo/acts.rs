//! What the demo shows: questions about the sample service, and the commands that answer them.

use std::{
    env,
    io::{self, BufRead, IsTerminal, Write},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rtops_render::{
    style::{Paint, Style},
    wrap,
};

use super::{failed, sample::Sample};
use crate::{args::OutputArgs, error::Error};

/// A question, the command line that answers it, and what to see in the answer.
struct Act {
    question: &'static str,
    /// The arguments of `rtops`; `PID` stands for the service.
    line: &'static str,
    seen: &'static str,
    /// How old the service has to be before it is asked.
    age: Duration,
}

/// A poll of up to a second is not reported. A person who reads takes
/// longer than this anyway, but a pipe does not.
const LONG_ENOUGH: Duration = Duration::from_millis(1500);

const ACTS: [Act; 5] = [
    Act {
        question: "What runs?",
        line: "list --sort cpu --limit 8",
        seen: "These processes have an agent. `demo` is a sample service with two faults in it. \
               Its requests hang, and it keeps a CPU busy.",
        age: Duration::ZERO,
    },
    Act {
        question: "What hangs?",
        line: "stack PID --limit 0",
        seen: "The faults come before all else; `--limit 0` leaves the rest out. Nothing can wake \
               `restock`, and all who read the cart wait behind it.",
        age: Duration::ZERO,
    },
    Act {
        question: "Who holds it?",
        line: "stack PID --filter reader",
        seen: "`restock` holds the lock while it waits for something else. Mend it where the \
               lock was taken.",
        age: Duration::ZERO,
    },
    Act {
        question: "What eats CPU?",
        line: "stack PID --filter recount --limit 0",
        seen: "`recount` computes without an await. Until it ends, its worker polls nothing else.",
        age: LONG_ENOUGH,
    },
    Act {
        question: "And yours?",
        line: "list --all --sort cpu --limit 8",
        seen: "These are Rust processes of this machine. Those with tokio need no agent: type \
               `rtops stack PID`. To play with the sample service, type `rtops demo --serve`.",
        age: Duration::ZERO,
    },
];

/// Starts the service, plays all acts, and ends it. On a terminal, Enter leads to the next act.
///
/// # Errors
/// If the service can't be started, a command fails, or nothing can be written.
pub(super) fn run(output: &OutputArgs) -> Result<(), Error> {
    let program = env::current_exe().map_err(failed("find its own executable"))?;
    let sample = Sample::start(&program)?;
    let pid = sample.pid().to_string();
    let begun = Instant::now();
    let style = output.style();
    let waits = io::stdin().is_terminal() && io::stdout().is_terminal();
    for (number, act) in (1..).zip(&ACTS) {
        if number > 1 {
            if waits && !next(style)? {
                break;
            }
            writeln!(io::stdout())?;
        }
        thread::sleep(act.age.saturating_sub(begun.elapsed()));
        let question = format!("{number} of {}: {}", ACTS.len(), act.question);
        writeln!(io::stdout(), "{}", style.paint(Paint::Heading, question))?;
        answer(&program, &act.line.replace("PID", &pid))?;
        let parts = [(Some(Paint::Faint), act.seen)];
        wrap::write(&mut io::stdout(), style, ("", ""), &parts)?;
    }
    Ok(())
}

/// Prints a command line and runs it.
fn answer(program: &Path, line: &str) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    writeln!(out, "$ rtops {line}")?;
    out.flush()?;
    let status = Command::new(program)
        .args(line.split(' '))
        // Each answer is short enough for a screen.
        .env("RTOPS_PAGER", "")
        .stdin(Stdio::null())
        .status()
        .map_err(failed("run itself"))?;
    // The answer itself says what is missing.
    if !status.success() && status.code() != Some(Error::Partial(Vec::new()).exit_code().into()) {
        return Err(Error::Failed(format!("`rtops {line}` ended with {status}")));
    }
    writeln!(out)?;
    Ok(())
}

/// Waits for Enter; returns false at the end of the input.
fn next(style: Style) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    let prompt = "Enter: the next question; Ctrl-C: the end ";
    write!(out, "\n{}", style.paint(Paint::Faint, prompt))?;
    out.flush()?;
    let is_next = io::stdin().lock().read_line(&mut String::new())? > 0;
    if !is_next {
        writeln!(out)?;
    }
    Ok(is_next)
}
