//! What the kernel knows about one process as JSON; `docs/operate/json.md` describes every field.

use std::{
    io::{self, Write},
    time::UNIX_EPOCH,
};

use rtops_render::json;
use rtops_report::words;
use serde::Serialize;

use super::{
    sockets::by_state,
    text::{Agent, Report},
};
use crate::{
    commands::parts::FiguresPart,
    proc::{
        Details,
        cgroup::Group,
        container::{self, Container},
        inspect::{File, Memory, Related},
        limits::Used,
        sockets::{Address, Socket, Sockets},
    },
};

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    process: ProcessPart<'a>,
    agent: AgentPart<'a>,
    limits: Vec<LimitPart<'a>>,
    sockets: Option<SocketsPart<'a>>,
    not_visible: &'a [&'static str],
    not_read: &'a [String],
}

#[derive(Serialize)]
struct ProcessPart<'a> {
    parent_name: Option<&'a str>,
    name: &'a str,
    real_user: &'a str,
    #[serde(flatten)]
    figures: FiguresPart<'a>,
    executable: Option<String>,
    executable_file: Option<File>,
    directory: Option<String>,
    state: &'static str,
    state_letter: char,
    tracer: Option<&'a Related>,
    started_unix_seconds: Option<u64>,
    watched_seconds: f64,
    cpu_share_recent: f64,
    #[serde(flatten)]
    details: &'a Details,
    #[serde(flatten)]
    memory: &'a Memory,
    cgroups: &'a [Group],
    unit: Option<&'a str>,
    container: Option<&'a Container>,
    other_namespaces: Option<&'a [String]>,
    inner_pid: Option<i32>,
    oom_score: Option<u16>,
    oom_score_adj: Option<i16>,
}

#[derive(Serialize)]
struct AgentPart<'a> {
    state: &'static str,
    version: Option<&'a str>,
    reason: Option<&'a str>,
}

#[derive(Serialize)]
struct LimitPart<'a> {
    #[serde(flatten)]
    used: &'a Used,
    share: f64,
    near: bool,
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

/// Prints everything as one document.
pub fn json(writer: &mut impl Write, report: &Report) -> io::Result<()> {
    let now = &report.now;
    let agent = match &report.agent {
        Agent::Answers { version } => ("answering", Some(&**version), None),
        Agent::None => ("none", None, None),
        Agent::Silent => ("not answering", None, None),
        Agent::Unasked(reason) => ("unknown", None, Some(&**reason)),
    };
    let (state, version, reason) = agent;
    json::write(
        writer,
        &Document {
            schema: json::SCHEMA,
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
    let path = |path: &std::path::Path| path.to_string_lossy().into_owned();
    let started = now.started.duration_since(UNIX_EPOCH);
    ProcessPart {
        parent_name: now
            .parent
            .as_ref()
            .and_then(|parent| parent.name.as_deref()),
        name: &report.name,
        real_user: now.real_user.as_ref().unwrap_or(&now.figures.user),
        figures: FiguresPart::of(&now.figures),
        executable: now.executable.as_ref().map(|program| path(&program.path)),
        executable_file: now.executable.as_ref().map(|program| program.file),
        directory: now.directory.as_deref().map(path),
        state: words::thread_state(now.state.letter),
        state_letter: now.state.letter,
        tracer: now.state.tracer.as_ref(),
        started_unix_seconds: started.ok().map(|since| since.as_secs()),
        watched_seconds: report.watched.as_secs_f64(),
        cpu_share_recent: report.cpu_share_recent,
        details: &now.details,
        memory: &now.memory,
        cgroups: &now.groups,
        unit: container::unit(&now.groups),
        container: now.container.as_ref(),
        other_namespaces: now.namespaces.as_deref(),
        inner_pid: now.inner_pid,
        oom_score: now.oom_score,
        oom_score_adj: now.oom_score_adj,
    }
}

fn limit_part(used: &Used) -> LimitPart<'_> {
    LimitPart {
        used,
        share: used.usage.share(),
        near: used.is_near(),
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
