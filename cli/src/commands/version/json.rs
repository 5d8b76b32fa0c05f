//! How a process was built, as JSON.

use std::io::{self, Write};

use rtops_binary::{DebugLevel, Details, Lto, PanicStrategy};
use rtops_protocol::{Fact, Package};
use rtops_render::json;
use rtops_types::Pid;
use serde::Serialize;

use super::text::{Agent, Report, build_id, kind};
use crate::commands::parts::RustcFields;

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    process: Process<'a>,
    executable: Option<Executable<'a>>,
    executable_missing: Option<&'a str>,
    agent: Option<AgentFields<'a>>,
    agent_missing: Option<&'a str>,
}

#[derive(Serialize)]
struct Process<'a> {
    pid: Pid,
    name: &'a str,
}

#[derive(Serialize)]
struct Executable<'a> {
    path: Option<&'a str>,
    #[serde(flatten)]
    rustc: RustcFields<'a>,
    crate_name: Option<&'a str>,
    tokio_versions: &'a [String],
    panic: Option<&'static str>,
    lto: Option<&'static str>,
    debug_info: Option<&'static str>,
    debug_link: Option<&'a str>,
    linking: &'static str,
    pie: bool,
    build_id: Option<String>,
    package_count: Option<usize>,
    packages: Option<Vec<PackageFields<'a>>>,
}

#[derive(Serialize)]
struct PackageFields<'a> {
    name: &'a str,
    version: &'a str,
    kind: &'static str,
    source: &'a str,
}

#[derive(Serialize)]
struct AgentFields<'a> {
    version: &'a str,
    oldest_protocol: u16,
    newest_protocol: u16,
    capabilities: Vec<&'static str>,
    unknown_capabilities: u32,
    features: Option<&'a [String]>,
    package: Option<&'a Package>,
    facts: Option<&'a [Fact]>,
}

/// Prints the report as JSON; see `docs/operate/json.md`.
pub fn json(writer: &mut impl Write, report: &Report) -> io::Result<()> {
    let binary = report.binary.as_ref();
    json::write(
        writer,
        &Document {
            schema: json::SCHEMA,
            process: Process {
                pid: report.pid,
                name: &report.name,
            },
            executable: binary.ok().map(|details| executable(report, details)),
            executable_missing: binary.err().map(String::as_str),
            agent: report.agent.given().map(agent_fields),
            agent_missing: report.agent.missing(),
        },
    )
}

fn executable<'a>(report: &'a Report, details: &'a Details) -> Executable<'a> {
    let packages = details
        .packages
        .as_ref()
        .and_then(|packages| packages.as_ref().ok());
    let fields = packages.filter(|_| report.lists_packages).map(|packages| {
        let fields = packages.iter().map(|package| PackageFields {
            name: &package.name,
            version: &package.version,
            kind: kind(package),
            source: &package.source,
        });
        fields.collect()
    });
    Executable {
        path: report.path.as_deref(),
        rustc: RustcFields::of(details.rustc.as_ref()),
        crate_name: details.crate_name.as_deref(),
        tokio_versions: &details.tokio,
        panic: details.panic.map(PanicStrategy::as_str),
        lto: details.lto.map(Lto::as_str),
        debug_info: details.debug.map(DebugLevel::as_str),
        debug_link: details.debug_link.as_deref(),
        linking: details.linking.as_str(),
        pie: details.is_pie,
        build_id: build_id(details),
        package_count: packages.map(Vec::len),
        packages: fields,
    }
}

fn agent_fields(agent: &Agent) -> AgentFields<'_> {
    let build = agent.build.as_ref();
    AgentFields {
        version: &agent.version,
        oldest_protocol: agent.protocol.0,
        newest_protocol: agent.protocol.1,
        capabilities: agent.capabilities.names().collect(),
        unknown_capabilities: agent.capabilities.unnamed(),
        features: build.map(|build| build.agent_features.as_slice()),
        package: build.and_then(|build| build.package.as_ref()),
        facts: build.map(|build| build.facts.as_slice()),
    }
}
