//! What the kernel knows of one process as JSON; `docs/operate/json.md` describes every field.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    time::UNIX_EPOCH,
};

use serde::Serialize;

use super::{
    info::{Agent, Report},
    sockets::by_state,
};
use crate::process::{
    container,
    inspect::{File, Related},
    limits::{Unit, Used},
    sockets::{Address, Socket, Sockets},
};

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    process: ProcessPart<'a>,
    agent: AgentPart<'a>,
    limits: Vec<LimitPart>,
    sockets: Option<SocketsPart<'a>>,
    not_visible: &'a [&'static str],
    not_read: &'a [String],
}

#[derive(Serialize)]
struct ProcessPart<'a> {
    pid: i32,
    ppid: i32,
    parent_name: Option<&'a str>,
    name: &'a str,
    user: &'a str,
    real_user: &'a str,
    command: &'a str,
    executable: Option<String>,
    executable_file: Option<&'static str>,
    directory: Option<String>,
    state: &'static str,
    state_letter: char,
    tracer: Option<RelatedPart<'a>>,
    started_unix_seconds: Option<u64>,
    uptime_seconds: f64,
    watched_seconds: f64,
    cpu_seconds: f64,
    cpu_share: f64,
    cpu_share_recent: f64,
    cpus: Option<usize>,
    rss_bytes: u64,
    pss_bytes: Option<u64>,
    swapped_bytes: Option<u64>,
    peak_rss_bytes: Option<u64>,
    memory_of_machine_bytes: Option<u64>,
    open_files: Option<usize>,
    file_limit: Option<u64>,
    threads: usize,
    threads_by_name: &'a BTreeMap<String, usize>,
    cgroups: Vec<GroupPart<'a>>,
    unit: Option<&'a str>,
    container: Option<ContainerPart<'a>>,
    other_namespaces: Option<&'a [String]>,
    inner_pid: Option<i32>,
    oom_score: Option<u16>,
    oom_score_adj: Option<i16>,
}

#[derive(Serialize)]
struct RelatedPart<'a> {
    pid: i32,
    name: Option<&'a str>,
}

#[derive(Serialize)]
struct GroupPart<'a> {
    controllers: &'a [String],
    path: &'a str,
}

#[derive(Serialize)]
struct ContainerPart<'a> {
    runtime: Option<&'static str>,
    kind: &'static str,
    id: &'a str,
}

#[derive(Serialize)]
struct AgentPart<'a> {
    state: &'static str,
    version: Option<&'a str>,
    reason: Option<&'a str>,
}

#[derive(Serialize)]
struct LimitPart {
    what: &'static str,
    unit: &'static str,
    used: u64,
    limit: u64,
    share: f64,
    near: bool,
    set_by: &'static str,
}

#[derive(Serialize)]
struct SocketsPart<'a> {
    total: usize,
    others: usize,
    by_state: Vec<StatePart>,
    list: Vec<SocketPart<'a>>,
}

#[derive(Serialize)]
struct StatePart {
    protocol: &'static str,
    state: &'static str,
    count: usize,
}

#[derive(Serialize)]
struct SocketPart<'a> {
    fds: &'a [i32],
    protocol: &'static str,
    state: &'static str,
    local: Option<String>,
    remote: Option<String>,
    path: Option<&'a str>,
    receive_queue: Option<u32>,
    send_queue: Option<u32>,
}

/// Prints all of it as one document.
pub fn json(writer: &mut impl Write, report: &Report) -> io::Result<()> {
    let now = &report.now;
    let agent = match &report.agent {
        Agent::Answers { version } => ("answering", Some(&**version), None),
        Agent::None => ("none", None, None),
        Agent::Silent => ("not answering", None, None),
        Agent::Unasked(reason) => ("unknown", None, Some(&**reason)),
    };
    let (state, version, reason) = agent;
    super::json(
        writer,
        &Document {
            schema: super::SCHEMA,
            process: process_part(report),
            agent: AgentPart {
                state,
                version,
                reason,
            },
            limits: now.limits.iter().map(limit_part).collect(),
            sockets: now.sockets.as_ref().map(sockets_part),
            not_visible: &now.hidden,
            not_read: &now.unread,
        },
    )
}

fn process_part(report: &Report) -> ProcessPart<'_> {
    let now = &report.now;
    let (figures, details) = (&now.figures, &now.details);
    let path = |path: &std::path::Path| path.to_string_lossy().into_owned();
    let started = now.started.duration_since(UNIX_EPOCH);
    ProcessPart {
        pid: figures.pid,
        ppid: figures.ppid,
        parent_name: now
            .parent
            .as_ref()
            .and_then(|parent| parent.name.as_deref()),
        name: &report.name,
        user: &now.owner.effective,
        real_user: now.owner.real.as_ref().unwrap_or(&now.owner.effective),
        command: &figures.command,
        executable: now.executable.as_ref().map(|program| path(&program.path)),
        executable_file: now.executable.as_ref().map(|program| file(program.file)),
        directory: now.directory.as_deref().map(path),
        state: now.state.words(),
        state_letter: now.state.letter,
        tracer: now.state.tracer.as_ref().map(related_part),
        started_unix_seconds: started.ok().map(|since| since.as_secs()),
        uptime_seconds: figures.uptime.as_secs_f64(),
        watched_seconds: report.watched.as_secs_f64(),
        cpu_seconds: figures.cpu_time.as_secs_f64(),
        cpu_share: figures.cpu_share(),
        cpu_share_recent: report.cpu_share_recent,
        cpus: details.cpus,
        rss_bytes: figures.rss_bytes,
        pss_bytes: now.memory.proportional,
        swapped_bytes: now.memory.swapped,
        peak_rss_bytes: now.memory.peak,
        memory_of_machine_bytes: now.memory.of_machine,
        open_files: details.open_files,
        file_limit: details.file_limit,
        threads: details.threads.values().sum(),
        threads_by_name: &details.threads,
        cgroups: now
            .groups
            .iter()
            .map(|group| GroupPart {
                controllers: &group.controllers,
                path: &group.path,
            })
            .collect(),
        unit: container::unit(&now.groups),
        container: now.container.as_ref().map(|container| ContainerPart {
            runtime: container.runtime,
            kind: container.kind,
            id: &container.id,
        }),
        other_namespaces: now.namespaces.as_deref(),
        inner_pid: now.inner_pid,
        oom_score: now.oom_score,
        oom_score_adj: now.oom_score_adj,
    }
}

fn related_part(process: &Related) -> RelatedPart<'_> {
    RelatedPart {
        pid: process.pid,
        name: process.name.as_deref(),
    }
}

const fn file(file: File) -> &'static str {
    match file {
        File::Same => "same",
        File::Replaced => "replaced",
        File::Deleted => "deleted",
        File::InMemory => "in memory",
    }
}

fn limit_part(used: &Used) -> LimitPart {
    LimitPart {
        what: used.what,
        unit: match used.unit {
            Unit::Count => "count",
            Unit::Bytes => "bytes",
            Unit::Seconds => "seconds",
        },
        used: used.usage.used,
        limit: used.usage.limit,
        share: used.usage.share(),
        near: used.is_near(),
        set_by: used.set_by,
    }
}

fn sockets_part(sockets: &Sockets) -> SocketsPart<'_> {
    let states = by_state(&sockets.list).into_iter();
    SocketsPart {
        total: sockets.list.len().saturating_add(sockets.others),
        others: sockets.others,
        by_state: states
            .map(|((protocol, state), count)| StatePart {
                protocol: protocol.name(),
                state,
                count,
            })
            .collect(),
        list: sockets.list.iter().map(socket_part).collect(),
    }
}

fn socket_part(socket: &Socket) -> SocketPart<'_> {
    let internet = |end: &Option<Address>| match end {
        Some(Address::Internet(address)) => Some(address.to_string()),
        _ => None,
    };
    SocketPart {
        fds: &socket.fds,
        protocol: socket.protocol.name(),
        state: socket.state,
        local: internet(&socket.local),
        remote: internet(&socket.remote),
        path: match &socket.local {
            Some(Address::Path(path)) => Some(path),
            _ => None,
        },
        receive_queue: socket.queues.map(|queues| queues.receive),
        send_queue: socket.queues.map(|queues| queues.send),
    }
}
