//! How a process was built.

use std::io::{self, Write};

use rtops_binary::{DebugLevel, Details, Lto, Package, PanicStrategy};
use rtops_protocol::{Build, Capabilities, Fact};
use rtops_render::{
    section::section,
    style::{Paint, Style},
    table::{self, Column, Fit},
};
use rtops_report::escape::escape;
use rtops_types::Pid;

const UNKNOWN: &str = "not known";

/// What is known about a process's build.
#[derive(Debug)]
pub struct Report {
    pub pid: Pid,
    pub name: String,
    /// The path of the executable, in the process's own file system.
    pub path: Option<String>,
    /// Whether to name all packages.
    pub lists_packages: bool,
    /// What the executable says, or why it says nothing.
    pub binary: Result<Details, String>,
    /// What the agent says, if there is one, or why it says nothing.
    pub agent: Answer,
}

/// What came of asking the agent.
#[derive(Debug)]
pub enum Answer {
    Given(Agent),
    /// There is no agent.
    None,
    /// It did not answer, for this reason.
    Missing(String),
    /// Nobody asked, because the process has ended.
    NotAsked,
}

impl Answer {
    /// Returns what the agent said, if it did.
    pub const fn given(&self) -> Option<&Agent> {
        match self {
            Self::Given(agent) => Some(agent),
            _ => None,
        }
    }

    /// Returns why the agent said nothing, if it should have.
    pub fn missing(&self) -> Option<&str> {
        match self {
            Self::Missing(reason) => Some(reason),
            _ => None,
        }
    }
}

/// What an agent says about itself and its service.
#[derive(Debug)]
pub struct Agent {
    pub name: String,
    pub version: String,
    /// The oldest and the newest protocol version that it speaks.
    pub protocol: (u16, u16),
    pub capabilities: Capabilities,
    /// `None` from older agents, which do not report it.
    pub build: Option<Build>,
}

/// Prints sections of aligned lines, and a table of the packages.
pub fn text(writer: &mut impl Write, style: Style, report: &Report) -> io::Result<()> {
    let title = format!("{} (pid {})", escape(&report.name), report.pid);
    let package = package(report).map_or_else(String::new, |package| format!(": {package}"));
    writeln!(writer, "{}{package}", style.paint(Paint::Heading, title))?;
    let lines = match &report.binary {
        Ok(details) => binary_lines(report, details),
        Err(reason) => vec![("file", unknown(reason))],
    };
    section(writer, style, "executable", lines)?;
    let lines = match &report.agent {
        Answer::Given(agent) => agent_lines(agent),
        Answer::None => vec![("version", "none: the process has no agent".to_owned())],
        Answer::Missing(reason) => vec![("version", unknown(reason))],
        Answer::NotAsked => Vec::new(),
    };
    if !lines.is_empty() {
        section(writer, style, "agent", lines)?;
    }
    match &report.binary {
        Ok(Details {
            packages: Some(Ok(packages)),
            ..
        }) if report.lists_packages => list(writer, style, packages),
        _ => Ok(()),
    }
}

fn unknown(reason: &str) -> String {
    format!("{UNKNOWN}: {}", escape(reason))
}

/// Returns the service's package with its version, as its agent or its executable states it.
fn package(report: &Report) -> Option<String> {
    let agent = report.agent.given();
    let build = agent.and_then(|agent| agent.build.as_ref());
    let stated = build
        .and_then(|build| build.package.as_ref())
        .map(|package| (&package.name, &package.version));
    let listed = || {
        let package = report.binary.as_ref().ok().and_then(root)?;
        Some((&package.name, &package.version))
    };
    let (name, version) = stated.or_else(listed)?;
    Some(format!("{} {}", escape(name), escape(version)))
}

/// Returns the package that the program belongs to.
fn root(details: &Details) -> Option<&Package> {
    let packages = details.packages.as_ref()?.as_ref().ok()?;
    packages.iter().find(|package| package.is_root)
}

fn binary_lines(report: &Report, details: &Details) -> Vec<(&'static str, String)> {
    let known = |text: Option<String>| text.unwrap_or_else(|| UNKNOWN.to_owned());
    let word = |word: Option<&str>| word.unwrap_or(UNKNOWN).to_owned();
    let escaped = |text: &String| escape(text).into_owned();
    let mut lines = vec![("file", known(report.path.as_ref().map(escaped)))];
    match &details.rustc {
        Some(rustc) => lines.push(("rustc", escape(&rustc.to_string()).into_owned())),
        None => lines.push(("rustc", "none: there is no sign of Rust".to_owned())),
    }
    if details.rustc.is_some() {
        lines.push(("crate", known(details.crate_name.as_ref().map(escaped))));
        lines.push(("tokio", tokio(details)));
        lines.push(("panic", word(details.panic.map(PanicStrategy::as_str))));
        lines.push(("LTO", word(details.lto.map(Lto::as_str))));
    }
    lines.push(("debug info", debug(details)));
    lines.push(("linked", linked(details)));
    let build_id = build_id(details).unwrap_or_else(|| "none".to_owned());
    lines.push(("build-id", build_id));
    if details.rustc.is_some() {
        lines.push(("packages", packages(report, details)));
    }
    lines
}

fn tokio(details: &Details) -> String {
    match details.tokio.as_slice() {
        [] => "none that is seen".to_owned(),
        versions => escape(&versions.join(", ")).into_owned(),
    }
}

fn debug(details: &Details) -> String {
    let level = details.debug.map_or(UNKNOWN, DebugLevel::as_str);
    match &details.debug_link {
        Some(file) => format!("{level}, moved to {}", escape(file)),
        None => level.to_owned(),
    }
}

fn linked(details: &Details) -> String {
    let place = match details.is_pie {
        true => "position-independent",
        false => "for a fixed address",
    };
    format!("{}, {place}", details.linking.as_str())
}

/// Formats the build-id as hexadecimal digits.
pub(super) fn build_id(details: &Details) -> Option<String> {
    let id = details.build_id.as_ref()?;
    Some(id.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn packages(report: &Report, details: &Details) -> String {
    match &details.packages {
        None => "not listed in it; `cargo auditable build` does that".to_owned(),
        Some(Err(error)) => unknown(&error.to_string()),
        Some(Ok(packages)) if report.lists_packages => format!("{}, below", packages.len()),
        Some(Ok(packages)) => format!("{}; --dependencies lists them", packages.len()),
    }
}

fn agent_lines(agent: &Agent) -> Vec<(&'static str, String)> {
    let protocol = match agent.protocol {
        (oldest, newest) if oldest == newest => newest.to_string(),
        (oldest, newest) => format!("{oldest} to {newest}"),
    };
    let mut lines = vec![
        ("version", escape(&agent.version).into_owned()),
        ("protocol", protocol),
        ("capabilities", capabilities(agent.capabilities)),
    ];
    let Some(build) = &agent.build else {
        return lines;
    };
    if !build.agent_features.is_empty() {
        let features = escape(&build.agent_features.join(", ")).into_owned();
        lines.push(("features", features));
    }
    if !build.facts.is_empty() {
        let fact = |fact: &Fact| format!("{} {}", escape(&fact.key), escape(&fact.value));
        let facts: Vec<String> = build.facts.iter().map(fact).collect();
        lines.push(("it states", facts.join("; ")));
    }
    lines
}

fn capabilities(capabilities: Capabilities) -> String {
    let mut names: Vec<String> = capabilities.names().map(str::to_owned).collect();
    match capabilities.unnamed() {
        0 => {}
        unnamed => names.push(format!("{unnamed} more that this rtops does not know")),
    }
    match names.as_slice() {
        [] => "none".to_owned(),
        names => names.join(", "),
    }
}

fn list(writer: &mut impl Write, style: Style, packages: &[Package]) -> io::Result<()> {
    let columns = [
        Column::new("PACKAGE", Fit::Text),
        Column::new("VERSION", Fit::Text),
        Column::new("KIND", Fit::OptionalText(1)),
        Column::new("SOURCE", Fit::OptionalText(0)),
    ];
    let rows = packages.iter().map(|package| {
        vec![
            package.name.clone(),
            package.version.clone(),
            kind(package).to_owned(),
            package.source.clone(),
        ]
    });
    writeln!(writer)?;
    table::write(writer, style, "", &columns, rows)
}

/// Says in a word what a package is to the program.
pub(super) fn kind(package: &Package) -> &'static str {
    if package.is_root {
        "root"
    } else {
        package.kind.as_str()
    }
}
