//! What people and programs see of a process.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, path::PathBuf, time::UNIX_EPOCH};

use rtops_types::Pid;

use super::*;
use crate::{
    commands::info::json,
    proc::{
        Details, Figures,
        cgroup::{Group, Usage},
        inspect::{Memory, State},
        sockets::{Protocol, Socket, Sockets},
    },
};

fn figures() -> Figures {
    Figures {
        pid: Pid::new(4711),
        ppid: Pid::new(1),
        user: "api".to_owned(),
        threads: 5,
        cpu_time: Duration::from_secs(31),
        rss_bytes: 84_000_000,
        uptime: Duration::from_secs(1000),
        command: "/srv/gateway --port 80 --listen 0.0.0.0 --name evil\u{1b}[2J".to_owned(),
        name: "gateway".to_owned(),
    }
}

fn inspected() -> Inspected {
    let id = "0123456789abcdef".repeat(4);
    let listener = Socket {
        fds: vec![5],
        protocol: Protocol::Tcp,
        state: "listen",
        local: "0.0.0.0:80"
            .parse()
            .ok()
            .map(crate::proc::sockets::Address::Internet),
        remote: None,
        queues: None,
    };
    Inspected {
        figures: figures(),
        details: Details {
            threads: BTreeMap::from([("tokio-rt-worker".to_owned(), 4), ("main".to_owned(), 1)]),
            cpus: Some(2),
            open_files: Some(980),
            file_limit: Some(1024),
        },
        parent: Some(Related {
            pid: Pid::new(1),
            name: Some("systemd".to_owned()),
        }),
        real_user: None,
        state: State {
            letter: 'S',
            tracer: None,
        },
        started: UNIX_EPOCH + Duration::from_secs(1_795_627_980),
        memory: Memory {
            proportional: Some(61_000_000),
            swapped: Some(0),
            peak: Some(90_000_000),
            of_machine: Some(8_000_000_000),
        },
        executable: Some(Executable {
            path: PathBuf::from("/srv/gateway"),
            file: File::Replaced,
        }),
        directory: Some(PathBuf::from("/srv")),
        groups: vec![Group {
            controllers: Vec::new(),
            path: format!("/system.slice/docker-{id}.scope"),
        }],
        container: Some(Container {
            runtime: Some("docker"),
            kind: "container",
            id,
        }),
        namespaces: Some(vec!["mnt".to_owned(), "net".to_owned(), "pid".to_owned()]),
        inner_pid: Some(7),
        limits: vec![
            Used {
                what: "open files",
                unit: Unit::Count,
                usage: Usage {
                    used: 980,
                    limit: 1024,
                },
                set_by: "RLIMIT_NOFILE",
            },
            Used {
                what: "memory of the group",
                unit: Unit::Bytes,
                usage: Usage {
                    used: 84_000_000,
                    limit: 100_000_000,
                },
                set_by: "memory.max",
            },
            Used {
                what: "main stack",
                unit: Unit::Bytes,
                usage: Usage {
                    used: 1,
                    limit: 100_000_000,
                },
                set_by: "RLIMIT_STACK",
            },
        ],
        oom_score: Some(667),
        oom_score_adj: Some(-500),
        sockets: Some(Sockets {
            list: vec![listener],
            others: 0,
        }),
        hidden: Vec::new(),
        viewer_is_root: false,
        unread: Vec::new(),
    }
}

fn report(now: Inspected, agent: Agent) -> Report {
    Report {
        name: "gateway".to_owned(),
        agent,
        cpu_share_recent: 0.124,
        watched: Duration::from_millis(250),
        now,
    }
}

fn with_agent() -> Report {
    let version = "0.1.0".to_owned();
    report(inspected(), Agent::Answers { version })
}

/// What another user sees of it.
fn veiled() -> Report {
    let mut now = inspected();
    now.details.open_files = None;
    now.directory = None;
    now.executable = None;
    now.sockets = None;
    now.namespaces = None;
    now.memory.proportional = None;
    now.limits.clear();
    now.state = State {
        letter: 'T',
        tracer: Some(Related {
            pid: Pid::new(12),
            name: Some("gdb".to_owned()),
        }),
    };
    now.hidden = vec![
        "executable",
        "working directory",
        "namespaces",
        "PSS",
        "sockets",
    ];
    let why = "process 4711 belongs to api; run rtops as that user or as root";
    report(now, Agent::Unasked(why.to_owned()))
}

fn shown(width: Option<usize>, report: &Report) -> String {
    let mut style = Style::PLAIN;
    style.width = width;
    let mut written = Vec::new();
    text(&mut written, style, report, Which::Grouped).unwrap();
    let shown = String::from_utf8(written).unwrap();
    let fits = |line: &str| width.is_none_or(|width| line.chars().count() <= width);
    assert!(shown.lines().all(fits), "{shown}");
    shown
}

#[test]
fn a_file_gets_all_of_it() {
    insta::assert_snapshot!(shown(None, &with_agent()), @r"
    gateway (pid 4711), up 16m 40s

    process
      command     /srv/gateway --port 80 --listen 0.0.0.0 --name evil\u{1b}[2J
      executable  /srv/gateway (replaced since the start)
      directory   /srv
      user        api
      parent      1 (systemd)
      state       sleeping
      started     2026-11-25 17:33:00 UTC, 16m 40s ago
      CPU         12.4% over 250 ms, 3.1% since the start, 31 s in all
      memory      84 MB resident (1.1% of 8.0 GB), PSS 61 MB, peak 90 MB
      threads     5: 4 tokio-rt-worker, 1 main
      files       980 of 1024 open
      cgroup      /system.slice/docker-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.scope
      container   docker container 0123456789ab
      namespaces  mnt, net, pid: not those of rtops
      inner pid   7
      OOM score   667, adjusted by -500
      agent       rtops-agent 0.1.0; `rtops stack 4711` shows where its tasks wait

    limits that are near
      open files           980 of 1024, 95.7% (RLIMIT_NOFILE)
      memory of the group  84 MB of 100 MB, 84.0% (memory.max)

    1 socket
      TCP  1 listen

      COUNT  PROTOCOL  STATE   LOCAL       REMOTE OR PATH
          1  tcp       listen  0.0.0.0:80  -
    ");
}

#[test]
fn long_lines_go_on_below_on_a_terminal() {
    insta::assert_snapshot!(shown(Some(80), &with_agent()), @r"
    gateway (pid 4711), up 16m 40s

    process
      command     /srv/gateway --port 80 --listen 0.0.0.0 --name evil\u{1b}[2J
      executable  /srv/gateway (replaced since the start)
      directory   /srv
      user        api
      parent      1 (systemd)
      state       sleeping
      started     2026-11-25 17:33:00 UTC, 16m 40s ago
      CPU         12.4% over 250 ms, 3.1% since the start, 31 s in all
      memory      84 MB resident (1.1% of 8.0 GB), PSS 61 MB, peak 90 MB
      threads     5: 4 tokio-rt-worker, 1 main
      files       980 of 1024 open
      cgroup      /system.slice/docker-0123456789abcdef0123456789abcdef0123456789abc
                  def0123456789abcdef.scope
      container   docker container 0123456789ab
      namespaces  mnt, net, pid: not those of rtops
      inner pid   7
      OOM score   667, adjusted by -500
      agent       rtops-agent 0.1.0; `rtops stack 4711` shows where its tasks wait

    limits that are near
      open files           980 of 1024, 95.7% (RLIMIT_NOFILE)
      memory of the group  84 MB of 100 MB, 84.0% (memory.max)

    1 socket
      TCP  1 listen

      COUNT  PROTOCOL  STATE   LOCAL       REMOTE OR PATH
          1  tcp       listen  0.0.0.0:80  -
    ");
}

#[test]
fn forty_columns_are_enough() {
    insta::assert_snapshot!(shown(Some(40), &with_agent()), @r"
    gateway (pid 4711), up 16m 40s

    process
      command     /srv/gateway --port 80
                  --listen 0.0.0.0 --name
                  evil\u{1b}[2J
      executable  /srv/gateway (replaced
                  since the start)
      directory   /srv
      user        api
      parent      1 (systemd)
      state       sleeping
      started     2026-11-25 17:33:00 UTC,
                  16m 40s ago
      CPU         12.4% over 250 ms, 3.1%
                  since the start, 31 s in
                  all
      memory      84 MB resident (1.1% of
                  8.0 GB), PSS 61 MB, peak
                  90 MB
      threads     5: 4 tokio-rt-worker, 1
                  main
      files       980 of 1024 open
      cgroup      /system.slice/docker-01234
                  56789abcdef0123456789abcde
                  f0123456789abcdef012345678
                  9abcdef.scope
      container   docker container
                  0123456789ab
      namespaces  mnt, net, pid: not those
                  of rtops
      inner pid   7
      OOM score   667, adjusted by -500
      agent       rtops-agent 0.1.0; `rtops
                  stack 4711` shows where
                  its tasks wait

    limits that are near
      open files           980 of 1024,
                           95.7%
                           (RLIMIT_NOFILE)
      memory of the group  84 MB of 100 MB,
                           84.0%
                           (memory.max)

    1 socket
      TCP  1 listen

      COUNT  PROTOCOL  STATE   ADDRESS
          1  tcp       listen  0.0.0.0:80
    ");
}

#[test]
fn what_is_hidden_is_named_and_no_zero() {
    insta::assert_snapshot!(shown(Some(80), &veiled()), @r"
    gateway (pid 4711), up 16m 40s

    process
      command    /srv/gateway --port 80 --listen 0.0.0.0 --name evil\u{1b}[2J
      user       api
      parent     1 (systemd)
      state      stopped; traced by 12 (gdb)
      started    2026-11-25 17:33:00 UTC, 16m 40s ago
      CPU        12.4% over 250 ms, 3.1% since the start, 31 s in all
      memory     84 MB resident (1.1% of 8.0 GB), peak 90 MB
      threads    5: 4 tokio-rt-worker, 1 main
      cgroup     /system.slice/docker-0123456789abcdef0123456789abcdef0123456789abcd
                 ef0123456789abcdef.scope
      container  docker container 0123456789ab
      inner pid  7
      OOM score  667, adjusted by -500
      agent      not known: process 4711 belongs to api; run rtops as that user or
                 as root
      left out   executable, working directory, namespaces, PSS, sockets (not
                 visible to this user; run rtops as api or as root)
    ");
}

#[test]
fn an_endless_command_is_cut_on_a_terminal_only() {
    let mut report = with_agent();
    report.now.figures.command = "x".repeat(100_000);
    assert!(shown(Some(80), &report).contains("xx… (100000 characters)"));
    assert!(shown(None, &report).contains(&"x".repeat(100_000)));
}

#[test]
fn json_has_null_for_what_is_hidden() {
    let document = |report: &Report| -> serde_json::Value {
        let mut written = Vec::new();
        json::json(&mut written, report).unwrap();
        serde_json::from_slice(&written).unwrap()
    };
    let seen = document(&with_agent());
    assert_eq!(seen["schema"], 1);
    assert_eq!(seen["process"]["started_unix_seconds"], 1_795_627_980);
    assert_eq!(seen["limits"][0]["near"], true);
    assert_eq!(seen["limits"][2]["near"], false);
    assert_eq!(seen["sockets"]["list"][0]["local"], "0.0.0.0:80");
    assert_eq!(seen["agent"]["version"], "0.1.0");
    let veiled = document(&veiled());
    for field in [
        "executable",
        "directory",
        "open_files",
        "pss_bytes",
        "other_namespaces",
    ] {
        assert!(veiled["process"][field].is_null(), "{field}");
    }
    assert!(veiled["sockets"].is_null());
    assert_eq!(veiled["not_visible"][4], "sockets");
    assert_eq!(veiled["process"]["tracer"]["name"], "gdb");
}
