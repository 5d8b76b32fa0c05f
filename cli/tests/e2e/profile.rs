//! Profiles of tasks as `go tool pprof` reads them, compared with
//! `rtops stack` of the same process.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::channel,
    thread,
};

use regex::Regex;
use tempfile::{TempDir, tempdir};

use crate::{
    build::cargo,
    go::pprof,
    reply::{Frame, Stack, TaskGroup},
    support::{Build, DEADLINE, Run, Target, eventually, rtops},
};

/// How often a stack occurs, by the name of its tasks, what they wait for, and
/// its functions from the innermost outwards.
type Stacks = BTreeMap<(String, String, Vec<String>), usize>;

/// The types of a sample's values.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Counted {
    Tasks,
    Waits,
}

/// A file with a profile.
struct Profile {
    path: PathBuf,
    _directory: TempDir,
}

impl Profile {
    fn of(target: &Target, arguments: &[&str]) -> Self {
        let directory = tempdir().unwrap();
        let path = directory.path().join("tasks");
        let pid = target.pid.to_string();
        let common = ["profile", "tasks", &pid, "--timeout=60s", "-o"];
        let run = target.rtops(&[&common[..], &[path.to_str().unwrap()], arguments].concat());
        assert_eq!(run.success().stdout, "");
        Self {
            path,
            _directory: directory,
        }
    }

    fn pprof(&self, arguments: &[&str]) -> Run {
        pprof(&[arguments, &[self.path.to_str().unwrap()]].concat())
    }

    /// Returns the mapping of the program; those of libraries follow it.
    fn mapping(&self) -> String {
        let raw = self.pprof(&["-raw"]).success().stdout;
        let mut mappings = raw.split("\nMappings\n").nth(1).unwrap().lines();
        mappings.next().unwrap().trim_end().to_owned()
    }

    /// Returns the count of each sample, and its number of calls.
    fn samples(&self) -> Vec<(usize, usize)> {
        let raw = self.pprof(&["-raw"]).success().stdout;
        let sample = Regex::new(r"(?m)^ +(\d+):((?: \d+)+) ?$").unwrap();
        let samples = sample.captures_iter(&raw).map(|sample| {
            let count = sample[1].parse().unwrap();
            (count, sample[2].split_whitespace().count())
        });
        samples.collect()
    }
}

/// Returns the same from the text that Go read.
fn counts_in(text: &str) -> Vec<(usize, usize)> {
    let block = Regex::new(r"(?m)^(\d+) @((?: 0x[0-9a-f]+)+)$").unwrap();
    let blocks = block.captures_iter(text).map(|block| {
        let count = block[1].parse().unwrap();
        (count, block[2].split_whitespace().count())
    });
    blocks.collect()
}

fn expect_equal(build: Build, scenario: &[&str]) {
    let target = Target::start(build, scenario);
    // Copies may differ from one look to the next, as tasks are woken in between.
    let stack = target.stack(&["--tasks", "--attach=never"]);
    let file = Profile::of(&target, &["--attach=never"]);
    let path = file.path.to_str().unwrap();
    for counted in [Counted::Tasks, Counted::Waits] {
        assert_eq!(traces(path, counted), expected(&stack, counted));
    }
    let total: usize = tasks(&stack).map(|group| group.count).sum();
    // The value that pprof shows by default.
    let top = file.pprof(&["-top"]).success().stdout;
    assert!(top.contains("\nType: tasks\n"), "{top}");
    assert!(top.contains(&format!(" of {total} total\n")), "{top}");
    for (label, of_group) in LABELS {
        let tags = file.pprof(&["-tags", &format!("-tagshow=^{label}$")]);
        assert_eq!(
            tag_counts(&tags.success().stdout),
            label_counts(&stack, *of_group),
            "{label}"
        );
    }
}

type OfGroup = fn(&TaskGroup) -> Vec<(String, usize)>;

/// The labels, and how many tasks have each value.
const LABELS: &[(&str, OfGroup)] = &[
    ("name", |group| {
        let name = group.name.clone();
        name.map(|name| (name, group.count)).into_iter().collect()
    }),
    ("spawned_at", |group| {
        // It is unknown where an untracked task was spawned.
        let site = group.site.as_ref().map(|site| {
            let (file, line, column) = (&site.file, site.line, site.column.unwrap());
            (format!("{file}:{line}:{column}"), group.count)
        });
        site.into_iter().collect()
    }),
    ("runtime", |group| {
        let names = group.tasks.iter().filter_map(|task| task.runtime.clone());
        names.map(|name| (name, 1)).collect()
    }),
    ("wait", |group| {
        let wait = group.stacks.first().and_then(|chain| chain.wait.clone());
        wait.map(|wait| (wait, group.count)).into_iter().collect()
    }),
];

fn label_counts(stack: &Stack, of_group: OfGroup) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for (value, count) in tasks(stack).flat_map(of_group) {
        *counts.entry(value).or_default() += count;
    }
    counts
}

/// Parses the output of `pprof -tags`, without the values that no task has.
fn tag_counts(text: &str) -> BTreeMap<String, usize> {
    let tag = Regex::new(r"(?m)^ +(\d+) \( *[\d.]+%\): (.+)$").unwrap();
    let counts = tag
        .captures_iter(text)
        .map(|tag| (tag[2].to_owned(), tag[1].parse().unwrap()));
    counts.filter(|(_, count)| *count > 0).collect()
}

/// Returns the groups that are not spans.
fn tasks(stack: &Stack) -> impl Iterator<Item = &TaskGroup> {
    let groups = stack.task_groups().iter();
    groups.filter(|group| group.kind != "span")
}

/// Returns the expected profile according to `rtops stack`.
fn expected(stack: &Stack, counted: Counted) -> Stacks {
    assert!(stack.complete, "{:?}", stack.gaps);
    let mut stacks = Stacks::new();
    for group in stack.task_groups() {
        let name = group.name.clone().unwrap_or_default();
        let mut ways: Vec<(String, Vec<String>)> = Vec::new();
        for chain in &group.stacks {
            assert_eq!(chain.incomplete, None);
            let functions = chain.frames.iter().map(shown).collect();
            ways.push((chain.wait.clone().unwrap_or_default(), functions));
        }
        if ways.is_empty() {
            assert_eq!(group.state, "never", "{group:#?}");
            ways.push((
                String::new(),
                vec!["(no waker is registered, so nothing can wake it)".to_owned()],
            ));
        }
        if counted == Counted::Tasks {
            ways.truncate(if group.kind == "span" { 0 } else { 1 });
        }
        for (wait, functions) in ways {
            *stacks.entry((name.clone(), wait, functions)).or_default() += group.count;
        }
    }
    stacks
}

fn shown(frame: &Frame) -> String {
    match &*frame.kind {
        "span" => format!("span \"{}\"", frame.name),
        _ => frame.name.clone(),
    }
}

/// Parses the output of `pprof -traces`, without samples that count nothing.
fn traces(source: &str, counted: Counted) -> Stacks {
    let index = match counted {
        Counted::Tasks => "-sample_index=tasks",
        Counted::Waits => "-sample_index=waits",
    };
    let text = pprof(&["-traces", index, source]).success().stdout;
    let label = Regex::new(r"^ *([a-z_]+):  (.*)$").unwrap();
    let first = Regex::new(r"^ *(\d+)   (\S.*)$").unwrap();
    let mut stacks = Stacks::new();
    for trace in text.split("-----------+-").skip(1) {
        let mut count = 0;
        let mut labels = BTreeMap::new();
        let mut functions = Vec::new();
        // The first line is the rest of the separator.
        for line in trace.lines().skip(1) {
            if let Some(label) = label.captures(line) {
                labels.insert(label[1].to_owned(), label[2].to_owned());
                continue;
            }
            let function = match first.captures(line) {
                Some(first) => {
                    count = first[1].parse().unwrap();
                    first[2].to_owned()
                }
                None => line.trim_start().to_owned(),
            };
            let function = function.strip_suffix(" (inline)").unwrap_or(&function);
            functions.push(function.to_owned());
        }
        if count > 0 {
            let [name, wait] = ["name", "wait"].map(|key| labels.remove(key).unwrap_or_default());
            *stacks.entry((name, wait, functions)).or_default() += count;
        }
    }
    stacks
}

fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

/// The agent's example service, which serves the profile with axum.
struct Service {
    child: Child,
    /// Up to and including `/debug/pprof/`.
    url: String,
    directory: TempDir,
}

impl Service {
    fn start() -> Self {
        let directory = tempdir().unwrap();
        let mut child = Command::new(example())
            .env_clear()
            .env("RTOPS_DIR", directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut service = Self {
            child,
            url: String::new(),
            directory,
        };
        let (sender, receiver) = channel();
        thread::spawn(move || {
            let mut line = String::new();
            output.read_line(&mut line).map(|_| sender.send(line))
        });
        let line = receiver
            .recv_timeout(DEADLINE)
            .expect("the service says where it listens");
        service.url = line.trim_end().to_owned();
        service
    }

    /// Returns the agent's data without a look from outside, like the service's own profile.
    fn stack(&self) -> Stack {
        let pid = self.child.id().to_string();
        let arguments = ["--tasks", "--json", "--timeout=60s", "--attach=never"];
        let arguments = [&["stack", pid.as_str()][..], &arguments].concat();
        let run = rtops(Some(self.directory.path()), &arguments).success();
        run.json()
    }

    /// Returns the body of a page below `/debug/pprof/`.
    fn get(&self, page: &str) -> String {
        let (host, path) = self
            .url
            .strip_prefix("http://")
            .unwrap()
            .split_once('/')
            .unwrap();
        let mut stream = TcpStream::connect(host).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        write!(stream, "GET /{path}{page} HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.0 200 "), "{answer}");
        body.to_owned()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Builds the example in the same target directory as the other builds.
fn example() -> PathBuf {
    let rtops = Path::new(env!("CARGO_BIN_EXE_rtops"));
    let target = rtops.parent().and_then(Path::parent).unwrap();
    let mut cargo = cargo();
    cargo
        .args(["build", "--quiet", "--package=rtops-agent"])
        .args(["--features=profile", "--example=debug_pprof"])
        .arg("--target-dir")
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    let built = cargo.output().unwrap();
    assert!(
        built.status.success(),
        "{cargo:?}: {}",
        String::from_utf8_lossy(&built.stderr)
    );
    target.join("debug/examples/debug_pprof")
}

#[test]
fn of_a_dev_build_pprof_reads_what_stack_shows() {
    expect_equal(Build::Dev, &["awaits", "multi"]);
}

#[test]
fn of_inlined_code_pprof_reads_what_stack_shows() {
    expect_equal(Build::Release, &["awaits", "multi"]);
}

#[test]
fn of_a_crowd_pprof_reads_what_stack_shows() {
    expect_equal(Build::Dev, &["herd", "3000"]);
}

#[test]
fn without_symbols_the_tasks_are_counted() {
    let target = Target::start(Build::Stripped, &["herd", "6"]);
    // In memory, only symbols distinguish tokio's threads from closures on its blocking pool.
    let file = Profile::of(&target, &["--attach=never"]);
    let total = file.pprof(&["-top"]).success().stdout;
    assert!(
        total.contains("accounting for 6, 100% of 6 total"),
        "{total}"
    );
    // This makes pprof look for the names in another file, whose build-id it compares.
    let mapping = file.mapping();
    assert!(!mapping.contains("[FN]"), "{mapping}");
    let comments = file.pprof(&["-comments"]).success().stdout;
    assert!(comments.contains("targets: stripped; "), "{comments}");
}

#[test]
fn the_mapping_is_that_of_the_process() {
    let target = Target::start(Build::Dev, &["herd", "3"]);
    let mapping = Profile::of(&target, &[]).mapping();
    let maps = fs::read_to_string(format!("/proc/{}/maps", target.pid)).unwrap();
    let line = maps
        .lines()
        .find(|line| line.contains("r-xp") && line.ends_with("/targets"))
        .unwrap();
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (start, end) = fields[0].split_once('-').unwrap();
    let offset = u64::from_str_radix(fields[2], 16).unwrap();
    let expected = format!("1: 0x{start}/0x{end}/{offset:#x} {} ", fields[5]);
    assert!(
        mapping.starts_with(&expected),
        "{mapping} is not {expected}"
    );
    assert!(mapping.ends_with(" [FN][FL][LN][IN]"), "{mapping}");

    let program = format!("/proc/{}/exe", target.pid);
    let notes = Run::of(command("readelf", &["-n", &program]))
        .success()
        .stdout;
    let build_id = notes.split("Build ID: ").nth(1).unwrap();
    let build_id = build_id.split_whitespace().next().unwrap();
    assert!(mapping.contains(&format!(" {build_id} ")), "{mapping}");
}

#[test]
fn go_reads_the_text_of_equal_tasks() {
    let target = Target::start(Build::Dev, &["awaits", "multi"]);
    let stack = target.stack(&["--tasks"]);
    let total = tasks(&stack).map(|group| group.count).sum::<usize>();
    let file = Profile::of(&target, &["--debug=1"]);
    let text = fs::read_to_string(&file.path).unwrap();
    let head = format!("goroutine profile: total {total}\n");
    assert!(text.starts_with(&head), "{text}");

    let top = file.pprof(&["-top"]).success().stdout;
    let whole = format!("accounting for {total}, 100% of {total} total");
    assert!(top.contains(&whole), "{top}");
    assert_eq!(file.samples(), counts_in(&text));

    // Readers other than pprof rely on the comments.
    for group in tasks(&stack).filter(|group| !group.stacks.is_empty()) {
        // Untracked tasks have neither a site nor a name.
        let Some(site) = group.site.as_ref() else {
            continue;
        };
        let name = group.name.as_deref().unwrap();
        let block = text
            .split("\n\n")
            .find(|block| block.contains(&format!("\"name\":\"{name}\"")))
            .unwrap_or_else(|| panic!("{name} is missing in {text}"));
        assert!(block.contains(&format!("{}:{}:", site.file, site.line)));
        for frame in &group.stacks[0].frames {
            let line = Regex::new(&format!(
                r"\n#\t0x[0-9a-f]+\t{}\+0x[0-9a-f]+\t{}:{}(\n|$)",
                regex::escape(&shown(frame)),
                regex::escape(frame.file.as_deref().unwrap()),
                frame.line.unwrap()
            ));
            assert!(line.unwrap().is_match(block), "{frame:?} is not in {block}");
        }
    }
}

#[test]
fn the_text_of_single_tasks_has_each_by_its_number() {
    let target = Target::start(Build::Dev, &["awaits", "multi"]);
    let stack = target.stack(&["--tasks"]);
    let file = Profile::of(&target, &["--debug=2"]);
    let text = fs::read_to_string(&file.path).unwrap();
    let head = Regex::new(r"(?m)^goroutine (\d+) \[([^],]+)\]:$").unwrap();
    let heads: BTreeMap<u64, String> = head
        .captures_iter(&text)
        .map(|head| (head[1].parse().unwrap(), head[2].to_owned()))
        .collect();
    let expected = tasks(&stack).flat_map(|group| {
        let state = match (&*group.state, group.waits.as_slice()) {
            (_, []) => group.state.clone(),
            (_, waits) => waits.join(" + "),
        };
        group.tasks.iter().map(move |task| (task.id, state.clone()))
    });
    assert_eq!(heads, expected.collect());

    // All blocks consist of pairs of a function and its location.
    let function = Regex::new(r"^\S.*\(\.\.\.\)$").unwrap();
    let place = Regex::new(r"^\t\S.*:\d+ \+0x[0-9a-f]+$").unwrap();
    for block in text.trim_end().split("\n\n") {
        let lines: Vec<&str> = block.lines().collect();
        let (pairs, rest) = lines[1..].as_chunks::<2>();
        let ([frames @ .., [creator, _]], []) = (pairs, rest) else {
            panic!("{block}")
        };
        assert!(
            frames.iter().all(|[line, _]| function.is_match(line)),
            "{block}"
        );
        assert!(
            pairs.iter().all(|[_, line]| place.is_match(line)),
            "{block}"
        );
        assert!(creator.starts_with("created by "), "{block}");
    }
}

#[test]
fn pprof_reads_the_profile_of_a_service_over_http() {
    let service = Service::start();
    let stack = service.stack();
    let url = format!("{}goroutine", service.url);
    let named: usize = tasks(&stack).map(|group| group.count).sum();
    assert_eq!(named, 12);

    let top = pprof(&["-top", &url]).success().stdout;
    assert!(top.contains("Type: tasks"), "{top}");
    assert!(top.contains("accounting for 12, 100% of 12 total"), "{top}");
    // The service gives its tasks two seconds, which is not always enough on a busy machine.
    let expected = expected(&stack, Counted::Tasks);
    eventually("pprof reads what stack shows", || {
        traces(&url, Counted::Tasks) == expected
    });

    // The text contains no names that pprof uses; it would ask the service for them.
    let text = pprof(&["-symbolize=none", "-top", &format!("{url}?debug=1")]);
    let text = text.success().stdout;
    assert!(text.contains("Type: goroutine\n"), "{text}");
    assert!(
        text.contains("accounting for 12, 100% of 12 total"),
        "{text}"
    );
    let index = service.get("");
    assert!(
        index.contains("<td>12<td><a href='goroutine?debug=1'>"),
        "{index}"
    );
    let each = service.get("goroutine?debug=2");
    assert_eq!(
        each.matches("goroutine ").count() - each.matches(" in goroutine ").count(),
        12,
        "{each}"
    );
}
