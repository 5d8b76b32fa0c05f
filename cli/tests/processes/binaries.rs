//! Data read from executables: `rtops list --all`, `rtops tree` and `rtops version`.

use std::{
    env, fs,
    io::Write,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use flate2::{Compression, write::ZlibEncoder};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::tempdir;

use crate::{
    processes::{pids, record, records},
    support::{Build, Target, copy_program, rtops},
};

/// A C program that runs for long. It is killed on drop.
struct Sleep(Child);

impl Sleep {
    fn start() -> Self {
        let mut sleep = Command::new("sleep");
        Self(sleep.arg("1000").stdin(Stdio::null()).spawn().unwrap())
    }

    fn pid(&self) -> i32 {
        self.0.id().try_into().unwrap()
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Returns the version of the rustc that builds the targets, as printed by rustc.
fn rustc() -> String {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let said = Command::new(rustc).arg("--version").output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    said.trim().strip_prefix("rustc ").unwrap().to_owned()
}

#[test]
fn what_reads_programs_is_not_listed_itself() {
    for arguments in [["list", "--all"], ["tree", "--all"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rtops"));
        command.args(arguments).env_clear().stdout(Stdio::piped());
        let rtops = command.spawn().unwrap();
        let pid = rtops.id().to_string();
        let output = rtops.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let mut words = text.lines().flat_map(str::split_whitespace);
        // Neither as a process nor as the parent of one.
        assert!(words.all(|word| word != pid), "{pid}: {text}");
        assert!(text.lines().count() > 1, "{text}");
    }
}

#[test]
fn rust_processes_without_an_agent_are_listed_if_wanted() {
    let agent = Target::start(Build::Dev, &["herd", "3"]);
    let plain = Target::disabled(Command::new(Build::Dev.path()));
    let sleep = Sleep::start();
    let all: Value = agent.rtops(&["list", "--all", "--json"]).success().json();
    let of_agent = record(&all, agent.pid).unwrap();
    assert_eq!(of_agent["state"], "answering", "{of_agent}");
    assert_eq!(of_agent["rustc_version"], rustc().as_str());
    let of_plain = record(&all, plain.pid).unwrap();
    assert_eq!(of_plain["state"], "no agent", "{of_plain}");
    assert_eq!(of_plain["name"], "targets");
    assert_eq!(of_plain["rustc_version"], rustc().as_str());
    assert_eq!(of_plain["agent_version"], Value::Null);
    assert!(record(&all, sleep.pid()).is_none());
    let agents: Value = agent.rtops(&["list", "--json"]).success().json();
    assert_eq!(pids(&agents), [i64::from(agent.pid)]);
    let text = agent.rtops(&["list", "--all"]).success().stdout;
    let line = |pid: i32| {
        let pid = pid.to_string();
        let mut lines = text
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>());
        lines.find(|words| words.first() == Some(&&*pid)).unwrap()
    };
    let version = rustc();
    let version = version.split(' ').next().unwrap();
    let (agent, plain) = (line(agent.pid), line(plain.pid));
    assert_eq!(agent[3..6], ["targets", "0.1.0", version]);
    assert_eq!(agent[7], "3");
    assert_eq!(plain[3..5], ["targets", version]);
    assert_eq!(plain[6], "-");
    // Both use the same version of tokio.
    assert_eq!(of_plain["tokio"], serde_json::json!([plain[5]]));
    assert!(plain[5].starts_with("1.") && agent[6] == plain[5], "{text}");
}

#[test]
fn a_list_is_sorted_as_it_is_wanted() {
    let few = Target::start(Build::Dev, &["herd", "3"]);
    let many = few.start_beside(Build::Dev, &["herd", "300"]);
    let plain = Target::disabled(Command::new(Build::Dev.path()));
    let sorted = |key: &str| {
        let run = few.rtops(&["list", "--all", "--json", "--sort", key]);
        run.success().json::<Value>()
    };
    let tasks = pids(&sorted("tasks"));
    assert_eq!(tasks[..2], [i64::from(many.pid), i64::from(few.pid)]);
    assert!(tasks[2..].contains(&i64::from(plain.pid)));
    for (key, field) in [
        ("rss", "rss_bytes"),
        ("cpu", "cpu_share"),
        ("threads", "threads"),
        ("uptime", "uptime_seconds"),
    ] {
        let list = sorted(key);
        let figures: Vec<_> = records(&list)
            .map(|process| process[field].as_f64().unwrap())
            .collect();
        assert!(figures.is_sorted_by(|a, b| a >= b), "{key}: {figures:?}");
    }
    assert!(pids(&sorted("pid")).is_sorted());
    let names = sorted("name");
    assert!(
        records(&names)
            .map(|process| process["name"].as_str().unwrap())
            .is_sorted()
    );
}

#[test]
fn a_tree_leads_to_rust_processes() {
    let directory = Arc::new(tempdir().unwrap());
    let mut shell = Command::new("sh");
    // The second child of the shell must not appear.
    let script = "sleep 1000 & \"$0\" herd 3; kill $!";
    shell.args(["-c", script]).arg(Build::Dev.path());
    shell.env("RTOPS_DIR", directory.path());
    let shell = Target::spawn(shell, directory);
    let inner = shell.ready();
    let tree = |arguments: &[&str]| {
        let run = shell.rtops(&[&["tree", "--json"], arguments].concat());
        run.success().json::<Value>()
    };
    let whole = tree(&[]);
    let (parent, child) = (
        record(&whole, shell.pid).unwrap(),
        record(&whole, inner).unwrap(),
    );
    assert_eq!(child["ppid"], shell.pid);
    assert_eq!(
        child["depth"].as_i64(),
        parent["depth"].as_i64().map(|depth| depth + 1)
    );
    assert_eq!(child["agent_state"], "answering", "{child}");
    assert_eq!(child["rustc_version"], rustc().as_str());
    assert_eq!(
        (&parent["rustc_version"], &parent["agent_state"]),
        (&Value::Null, &Value::Null)
    );
    let pid = shell.pid.to_string();
    assert_eq!(
        pids(&tree(&[&pid])),
        [i64::from(shell.pid), i64::from(inner)]
    );
    let all = tree(&[&pid, "--all"]);
    let names: Vec<_> = records(&all)
        .map(|process| process["name"].as_str().unwrap())
        .collect();
    assert!(names.len() == 3 && names.contains(&"sleep"), "{all}");
    let text = shell.rtops(&["tree", &pid]).success().stdout;
    let lines: Vec<_> = text.lines().collect();
    assert!(
        lines[1].ends_with("  sh") && lines[2].ends_with("└─ * targets"),
        "{text}"
    );
    // The name works, too.
    let run = shell.rtops(&["tree", "targets"]).success();
    assert!(run.stdout.contains(&inner.to_string()), "{run}");
    shell.rtops(&["tree", "no-such-process"]).exits(3);
}

#[test]
fn a_version_is_that_of_the_executable_and_of_the_agent() {
    let target = Target::start(Build::Dev, &["names"]);
    let pid = target.pid.to_string();
    let report: Value = target.rtops(&["version", &pid, "--json"]).success().json();
    let executable = &report["executable"];
    assert_eq!(executable["rustc_version"], rustc().as_str(), "{report}");
    assert_eq!(executable["crate_name"], "targets");
    assert_eq!(executable["panic"], "unwind");
    assert_eq!(executable["debug_info"], "line tables");
    assert_eq!(
        (&executable["lto"], &executable["pie"]),
        (&"off".into(), &true.into())
    );
    let tokio = executable["tokio_versions"][0].as_str().unwrap();
    assert!(tokio.starts_with("1."), "{report}");
    let agent = &report["agent"];
    assert_eq!(agent["version"], "0.1.0", "{report}");
    assert_eq!(agent["package"]["name"], "rtops-testbed");
    assert_eq!(agent["facts"][0]["key"], "commit");
    let capabilities = agent["capabilities"].as_array().unwrap();
    assert!(capabilities.contains(&"build".into()), "{report}");
    let text = target.rtops(&["version", &pid]).success().stdout;
    assert!(!text.contains('\u{1b}'), "{text}");
    for part in [
        ": rtops-testbed 0.1.0\n",
        "line tables\n",
        "commit 3f2a91c\\u{1b}[2J\n",
        &format!("rustc       {}\n", rustc()),
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_version_needs_no_agent_and_no_file_that_is_still_there() {
    let directory = tempdir().unwrap();
    let program = directory.path().join("gone");
    copy_program(Build::Dev.path(), &program);
    let plain = Target::disabled(Command::new(&program));
    fs::remove_file(program).unwrap();
    let report: Value = plain.rtops(&["version", "gone", "--json"]).success().json();
    assert_eq!(report["process"]["pid"], plain.pid);
    assert_eq!(report["executable"]["crate_name"], "targets");
    assert_eq!(
        (&report["agent"], &report["agent_missing"]),
        (&Value::Null, &Value::Null)
    );
    let sleep = Sleep::start();
    let run = rtops(None, &["version", &sleep.pid().to_string()]).success();
    assert!(run.stdout.contains("no sign of Rust"), "{run}");
    rtops(None, &["version", "no-such-process"]).exits(3);
}

#[test]
fn an_agent_that_hangs_leaves_what_the_executable_tells() {
    let target = Target::start(Build::Dev, &["herd", "3"]);
    target.signal(Signal::SIGSTOP);
    let pid = target.pid.to_string();
    let run = target.rtops(&["version", &pid, "--timeout=300ms"]).exits(6);
    target.signal(Signal::SIGCONT);
    assert!(run.stdout.contains(&rustc()), "{run}");
    assert!(run.stdout.contains("is stopped"), "{run}");
    assert!(run.stderr.contains("not complete"), "{run}");
}

#[test]
fn the_packages_that_a_program_carries_are_listed() {
    let directory = tempdir().unwrap();
    let list = br#"{"packages": [
        {"name": "gateway", "version": "1.4.0", "source": "local", "root": true},
        {"name": "cc", "version": "1.2.3", "source": "crates.io", "kind": "build"},
        {"name": "tokio", "version": "1.2.99", "source": "crates.io"}]}"#;
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(list).unwrap();
    let section = directory.path().join("list");
    fs::write(&section, encoder.finish().unwrap()).unwrap();
    let program = directory.path().join("audited");
    let mut objcopy = Command::new("objcopy");
    objcopy.arg(format!("--add-section=.dep-v0={}", section.display()));
    objcopy
        .arg("--strip-debug")
        .arg(Build::Dev.path())
        .arg(&program);
    assert!(objcopy.status().unwrap().success());
    let audited = Target::disabled(Command::new(&program));
    let pid = audited.pid.to_string();
    let text = audited.rtops(&["version", &pid]).success().stdout;
    assert!(text.contains(": gateway 1.4.0\n"), "{text}");
    assert!(
        text.contains("packages    3; --dependencies lists them\n"),
        "{text}"
    );
    let text = audited
        .rtops(&["version", &pid, "--dependencies"])
        .success()
        .stdout;
    let (_, table) = text.split_once("\n\nPACKAGE").unwrap();
    insta::assert_snapshot!(table, @r"
      VERSION  KIND     SOURCE
    cc       1.2.3    build    crates.io
    gateway  1.4.0    root     local
    tokio    1.2.99   runtime  crates.io
    ");
    let report: Value = audited
        .rtops(&["version", &pid, "--dependencies", "--json"])
        .success()
        .json();
    assert_eq!(
        report["executable"]["packages"][0]["name"], "cc",
        "{report}"
    );
    let versions = report["executable"]["tokio_versions"].as_array().unwrap();
    assert!(versions.contains(&"1.2.99".into()), "{report}");
    // A user who asks for the list gets it, or an error.
    let plain = Target::disabled(Command::new(Build::Dev.path()));
    let pid = plain.pid.to_string();
    let run = plain.rtops(&["version", &pid, "--dependencies"]).exits(6);
    assert!(run.stderr.contains("cargo auditable"), "{run}");
}
