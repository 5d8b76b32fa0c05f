//! `docs/operate/commands.md`: what each command prints about the sample service of `rtops demo`.
//!
//! Everything runs in a separate PID namespace, so that nothing else on the machine gets into the
//! page. This takes `unshare`, and root or a system where everybody may create user namespaces.

use std::{
    env,
    ffi::OsString,
    fmt::Write as _,
    fs,
    io::{self, BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
};

/// What is printed above the transcripts.
const INTRODUCTION: &str = include_str!("commands.md");

/// Where the programs are, according to the page.
const SHOWN_DIRECTORY: &str = "/srv";

/// The arguments of `rtops` in a section, and how many lines of output it has room for.
struct Section(&'static str, usize);

const SECTIONS: &[Section] = &[
    Section("list", 10),
    Section("list --all --sort rss", 10),
    Section("tree", 10),
    Section("info demo 1s", 60),
    Section("version demo", 40),
    Section("stats demo", 60),
    Section("watch stats demo --every 500ms --count 4", 10),
    Section("stack demo --limit 3 --save before", 60),
    Section("stack demo --filter checkout", 40),
    Section("stack demo --tree", 30),
    Section("leaks demo --for 2s --every 1s --min-age 1s", 60),
    Section("diff before demo", 20),
    Section("profile tasks demo --debug 1", 30),
    Section("memstats demo", 60),
    Section("trim demo", 30),
    Section("stats demo --json", 30),
];

/// Runs all commands of this `rtops` and writes the page.
///
/// # Errors
/// If no namespace can be created, a command fails, or the page can't be written.
pub fn write(rtops: &Path, page: &Path) -> io::Result<()> {
    let place = tempfile::tempdir()?;
    let programs = place.path().join("bin");
    fs::create_dir(&programs)?;
    fs::copy(rtops, programs.join("rtops"))?;
    fs::copy(env::current_exe()?, programs.join("xtask"))?;
    let output = Command::new("unshare")
        .args(["--map-root-user", "--cgroup", "--fork", "--kill-child"])
        .args(["--pid", "--mount-proc", "xtask", "print-transcripts"])
        .env("PATH", path_with(&programs)?)
        .env("RTOPS_DIR", place.path().join("agents"))
        .current_dir(place.path())
        .stderr(Stdio::inherit())
        .output()?;
    expect_success("unshare", output.status, &[])?;
    let transcripts = String::from_utf8(output.stdout).map_err(io::Error::other)?;
    let place = place.path().to_string_lossy();
    let mut transcripts = transcripts.replace(&*place, SHOWN_DIRECTORY);
    if let Some(home) = env::home_dir() {
        // The sources of other crates are in there.
        transcripts = transcripts.replace(&*home.to_string_lossy(), "~");
    }
    fs::write(page, format!("{INTRODUCTION}{transcripts}"))
}

/// Runs all commands, in the namespace, and prints their output.
///
/// # Errors
/// If one of them fails.
pub fn print() -> io::Result<()> {
    let _service = Service::start()?;
    let mut page = String::new();
    for Section(line, room) in SECTIONS {
        let output = Command::new("rtops").args(line.split(' ')).output()?;
        expect_success(line, output.status, &output.stderr)?;
        let text = String::from_utf8(output.stdout).map_err(io::Error::other)?;
        section(&mut page, line, &text, *room).map_err(io::Error::other)?;
    }
    io::stdout().write_all(page.as_bytes())
}

fn section(page: &mut String, line: &str, text: &str, room: usize) -> std::fmt::Result {
    writeln!(page, "\n## `rtops {line}`\n\n```")?;
    for line in text.lines().take(room) {
        writeln!(page, "{}", line.trim_end())?;
    }
    if text.lines().count() > room {
        writeln!(page, "…")?;
    }
    writeln!(page, "```")
}

fn path_with(directory: &Path) -> io::Result<OsString> {
    let rest = env::var_os("PATH").unwrap_or_default();
    let all = [directory.to_owned()]
        .into_iter()
        .chain(env::split_paths(&rest));
    env::join_paths(all).map_err(io::Error::other)
}

fn expect_success(what: &str, status: ExitStatus, said: &[u8]) -> io::Result<()> {
    if status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(said);
    Err(io::Error::other(format!(
        "`{what}` ended with {status}: {said}"
    )))
}

/// The sample service, which ends when this is dropped.
struct Service {
    child: Child,
    /// Kept open, because the service writes more than its first line.
    stdout: Option<BufReader<ChildStdout>>,
}

impl Service {
    /// Starts the service, and waits until its first line says that all its tasks are in place.
    fn start() -> io::Result<Self> {
        let mut child = Command::new("rtops")
            .args(["demo", "--serve"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut service = Self {
            stdout: child.stdout.take().map(BufReader::new),
            child,
        };
        if let Some(stdout) = &mut service.stdout {
            stdout.read_line(&mut String::new())?;
        }
        Ok(service)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // The service may have ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
