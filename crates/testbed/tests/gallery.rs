//! Each case of the gallery starts, keeps running, and ends when told to; and the list is complete.
#![allow(clippy::unwrap_used, missing_docs, reason = "these are tests")]

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::channel,
    thread,
    time::Duration,
};

use tempfile::tempdir;

/// How long to wait for what should take a moment, on a machine that may be busy.
const DEADLINE: Duration = Duration::from_secs(60);

/// A line of `--list`.
struct Row {
    name: String,
    kind: String,
    runs: String,
    evidence: String,
    form: String,
    origin: String,
}

#[test]
fn every_case_comes_up_and_ends() {
    for row in list() {
        let mut case = Running::start(&row.name);
        let ready = format!("ready {}", case.child.id());
        assert_eq!(case.first_line(), ready, "{}", row.name);
        let early = case.child.try_wait().unwrap();
        assert_eq!(early, None, "{} ended before its time", row.name);
        let status = case.end();
        assert!(status.success(), "{}: {status}", row.name);
    }
}

#[test]
fn the_list_is_well_formed() {
    let rows = list();
    let names: BTreeSet<&str> = rows.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names.len(), rows.len(), "a name occurs twice");
    for row in &rows {
        let Row { name, form, .. } = row;
        let is_kebab = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        assert!(name.chars().all(is_kebab), "{name}");
        assert!(!form.is_empty(), "{name} has no form");
        assert!(["tasks", "threads"].contains(&&*row.runs), "{name}");
        let evidence = match &*row.kind {
            "healthy" => &["silent"][..],
            "leak" | "kernel" => &[
                "proven", "deadlock", "growing", "stuck", "spinning", "orphaned",
            ],
            other => panic!("{name} is a {other}"),
        };
        assert!(evidence.contains(&&*row.evidence), "{name}");
        let is_of_it = row.origin.starts_with(&name.replacen('-', "#", 1));
        assert_eq!(is_of_it, row.kind == "kernel", "{name}: {}", row.origin);
    }
}

#[test]
fn the_list_is_whole() {
    let rows = list();
    let kernels = rows.iter().filter(|row| row.kind == "kernel");
    let projects: BTreeSet<&str> = kernels
        .clone()
        .filter_map(|row| row.origin.split('#').next())
        .collect();
    let all = [
        "cockroach",
        "etcd",
        "grpc",
        "hugo",
        "istio",
        "kubernetes",
        "moby",
        "serving",
        "syncthing",
    ];
    assert_eq!(projects, BTreeSet::from(all));
    assert!(kernels.count() >= 20);
    let has = |kind, runs| rows.iter().any(|row| row.kind == kind && row.runs == runs);
    for kind in ["leak", "healthy", "kernel"] {
        assert!(has(kind, "tasks") && has(kind, "threads"), "{kind}");
    }
}

#[test]
fn each_leak_is_marked_where_it_waits() {
    let mut marked = BTreeSet::new();
    add_marks(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("src/gallery")
            .as_path(),
        &mut marked,
    );
    let leaks = list().into_iter().filter(|row| row.kind != "healthy");
    let leaks: BTreeSet<String> = leaks.map(|row| row.name).collect();
    assert_eq!(marked, leaks);
}

#[test]
fn the_walk_through_has_each_leak() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("../../docs/operate/leaks.md")).unwrap();
    let mut leaks = list().into_iter().filter(|row| row.kind != "healthy");
    let missing = leaks.find(|row| !text.contains(&format!("`{}`", row.name)));
    assert_eq!(
        missing.map(|row| row.name),
        None,
        "docs/operate/leaks.md leaves it out"
    );
}

#[test]
fn an_unknown_case_is_refused() {
    let refused = gallery().arg("no-such-case").output().unwrap();
    assert!(!refused.status.success());
    let reason = String::from_utf8(refused.stderr).unwrap();
    assert!(reason.contains("no-such-case"), "{reason}");
}

/// A running case. It is killed if the test fails.
struct Running {
    child: Child,
    _sockets: tempfile::TempDir,
}

impl Running {
    fn start(name: &str) -> Self {
        let sockets = tempdir().unwrap();
        let child = gallery()
            .arg(name)
            .env("RTOPS_DIR", sockets.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            child,
            _sockets: sockets,
        }
    }

    fn first_line(&mut self) -> String {
        let output = BufReader::new(self.child.stdout.take().unwrap());
        let (sender, line) = channel();
        thread::spawn(move || sender.send(output.lines().next()));
        line.recv_timeout(DEADLINE)
            .expect("it is ready in time")
            .expect("it says so")
            .unwrap()
    }

    /// Closes its standard input and waits until it ends.
    fn end(mut self) -> ExitStatus {
        drop(self.child.stdin.take());
        let steps = 0..DEADLINE.as_millis() / 5;
        let ended = steps.into_iter().find_map(|_| {
            let status = self.child.try_wait().unwrap();
            if status.is_none() {
                thread::sleep(Duration::from_millis(5));
            }
            status
        });
        ended.expect("it ends when its input does")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn gallery() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gallery"));
    command.env_clear();
    command
}

fn list() -> Vec<Row> {
    let list = gallery().arg("--list").output().unwrap();
    assert!(list.status.success());
    let text = String::from_utf8(list.stdout).unwrap();
    text.lines().map(row).collect()
}

fn row(line: &str) -> Row {
    let columns: Vec<String> = line.split('\t').map(str::to_owned).collect();
    let [name, kind, runs, evidence, form, origin] = columns
        .try_into()
        .unwrap_or_else(|_| panic!("{line:?} has not six columns"));
    Row {
        name,
        kind,
        runs,
        evidence,
        form,
        origin,
    }
}

/// Collects the names after `// LEAK` in the files below this folder.
fn add_marks(folder: &Path, marked: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            add_marks(&path, marked);
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let marks = text.lines().filter_map(|line| line.split_once("// LEAK "));
        // Only after code: comments also explain what the marks mean.
        let behind_code = marks.filter(|(code, _)| !code.contains("//"));
        marked.extend(behind_code.map(|(_, name)| name.to_owned()));
    }
}
