//! The parts of `rtops stack --json` that the tests look at.

use serde::Deserialize;
use serde_json::Value;

use super::source::Mark;

#[derive(Debug, Deserialize)]
pub struct Stack {
    pub complete: bool,
    pub gaps: Vec<String>,
    pub lacks: Vec<String>,
    /// How the target was looked at from outside, if it was.
    pub outside: Option<Outside>,
    tasks: Option<Tasks>,
    threads: Option<Threads>,
    pub shared: Option<Vec<Shared>>,
}

/// A resource that somebody waits for.
#[derive(Debug, Deserialize)]
pub struct Shared {
    pub kind: String,
    pub waiters: Vec<Party>,
    pub others: Vec<Party>,
    pub holders: Vec<Party>,
    pub complete: bool,
}

#[derive(Debug, Deserialize)]
pub struct Party {
    pub task: Option<u64>,
    pub tid: Option<i32>,
}

#[derive(Debug, Deserialize)]
pub struct Outside {
    pub pause_ms: f64,
    pub copy_ms: Option<f64>,
    pub read_standing: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Tasks {
    groups: Vec<TaskGroup>,
}

#[derive(Debug, Deserialize)]
pub struct TaskGroup {
    pub count: usize,
    pub kind: String,
    pub name: Option<String>,
    pub future_type: Option<String>,
    pub state: String,
    pub waits: Vec<String>,
    /// The request that the tasks work for.
    pub serving: Option<String>,
    pub spans: Vec<String>,
    pub site: Option<Site>,
    pub stacks: Vec<Chain>,
    pub remark: Option<String>,
    pub tasks: Vec<Task>,
}

#[derive(Debug, Deserialize)]
pub struct Site {
    pub file: String,
    pub line: u32,
    pub column: Option<u32>,
}

#[derive(Debug, Deserialize)]
pub struct Task {
    pub id: u64,
    pub parent: Option<u64>,
    pub runtime: Option<String>,
    pub tid: Option<i32>,
    pub wakers: Option<u32>,
    pub obtained: String,
    /// Why the await tree is not resolved.
    pub reason: Option<String>,
    /// Whether the task is tracked.
    pub tracked: Option<bool>,
    /// The id that tokio gave the task.
    pub tokio_id: Option<u64>,
    /// The address of the cell.
    pub cell: Option<String>,
    pub awaits: Vec<u64>,
    pub waits_for: Vec<WaitsFor>,
    pub holds: Vec<Holds>,
}

#[derive(Debug, Deserialize)]
pub struct WaitsFor {
    pub resource: u64,
    pub kind: String,
    pub value_type: Option<String>,
    pub made_at: Option<Site>,
    pub since_ns: u64,
    pub site: Site,
    pub mode: String,
    pub holders: Vec<Holder>,
}

#[derive(Debug, Deserialize)]
pub struct Holds {
    pub resource: u64,
    pub site: Site,
    pub waiters: usize,
}

#[derive(Debug, Deserialize)]
pub struct Holder {
    pub task: Option<u64>,
    pub tid: i32,
    pub since_ns: u64,
    pub site: Site,
    pub mode: String,
    pub permits: u32,
}

#[derive(Debug, Deserialize)]
pub struct Chain {
    pub wait: Option<String>,
    pub incomplete: Option<String>,
    pub count: usize,
    pub frames: Vec<Frame>,
}

#[derive(Debug, Deserialize)]
pub struct Frame {
    pub own: bool,
    pub kind: String,
    pub name: String,
    pub file: Option<String>,
    pub line: Option<u32>,
}

#[derive(Debug, Deserialize)]
struct Threads {
    groups: Vec<ThreadGroup>,
}

#[derive(Debug, Deserialize)]
pub struct ThreadGroup {
    pub wait: Option<String>,
    pub approximate: bool,
    pub remark: Option<String>,
    pub frames: Vec<Frame>,
    pub threads: Vec<Thread>,
}

/// The parts of `rtops leaks --json` that the tests look at.
#[derive(Debug, Deserialize)]
pub struct Leaks {
    pub complete: bool,
    pub findings: Vec<Finding>,
    /// Faults that no finding is about.
    pub verdicts: Vec<Value>,
    pub ignored: usize,
}

#[derive(Debug, Deserialize)]
pub struct Finding {
    pub evidence: String,
    pub hint: bool,
    pub count: usize,
    pub tasks: Vec<TaskGroup>,
    pub threads: Option<ThreadGroup>,
    pub circle: Option<Vec<Step>>,
}

#[derive(Debug, Deserialize)]
pub struct Step {
    pub task: u64,
}

#[derive(Debug, Deserialize)]
pub struct Thread {
    pub tid: i32,
    /// Empty if unknown.
    #[serde(deserialize_with = "or_empty")]
    pub name: String,
}

fn or_empty<'de, D: serde::Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

impl Stack {
    pub fn task_groups(&self) -> &[TaskGroup] {
        self.tasks.as_ref().map_or(&[], |tasks| &tasks.groups)
    }

    pub fn thread_groups(&self) -> &[ThreadGroup] {
        self.threads.as_ref().map_or(&[], |threads| &threads.groups)
    }

    pub fn tasks(&self) -> impl Iterator<Item = &Task> {
        self.task_groups().iter().flat_map(|group| &group.tasks)
    }

    /// Returns the only group of this name.
    #[track_caller]
    pub fn group(&self, name: &str) -> &TaskGroup {
        let mut groups = self
            .task_groups()
            .iter()
            .filter(|group| group.is_named(name));
        match (groups.next(), groups.next()) {
            (Some(group), None) => group,
            (None, _) => panic!("there is no task {name:?} in {:#?}", self.task_groups()),
            (first, second) => panic!("task {name:?} looks different: {first:#?}, {second:#?}"),
        }
    }

    /// Returns all groups of this name.
    pub fn groups(&self, name: &str) -> Vec<&TaskGroup> {
        let groups = self.task_groups().iter();
        groups.filter(|group| group.is_named(name)).collect()
    }

    /// Returns whether some task waits at all of these lines.
    pub fn has_task_at(&self, marks: &[Mark]) -> bool {
        let mut groups = self.task_groups().iter();
        groups.any(|group| marks.iter().all(|mark| group.has_line(mark)))
    }

    /// Returns the group with a thread of this name.
    pub fn thread(&self, name: &str) -> Option<&ThreadGroup> {
        self.thread_groups()
            .iter()
            .find(|group| group.threads.iter().any(|thread| thread.name == name))
    }
}

impl TaskGroup {
    fn is_named(&self, name: &str) -> bool {
        self.name.as_deref() == Some(name)
    }

    /// Panics unless the group waits at each of these lines.
    #[track_caller]
    pub fn expect_lines(&self, marks: &[Mark]) {
        for mark in marks {
            assert!(self.has_line(mark), "{mark:?} is not in {self:#?}");
        }
    }

    pub fn has_line(&self, mark: &Mark) -> bool {
        let mut frames = self.stacks.iter().flat_map(|chain| &chain.frames);
        frames.any(|frame| frame.is_at(mark))
    }

    pub fn has_function(&self, name: &str) -> bool {
        self.stacks
            .iter()
            .any(|chain| has_function(&chain.frames, name))
    }
}

impl ThreadGroup {
    pub fn has_function(&self, name: &str) -> bool {
        has_function(&self.frames, name)
    }
}

impl Finding {
    /// Returns whether what leaks is at one of these lines.
    pub fn has_any_line(&self, marks: &[Mark]) -> bool {
        let threads = self.threads.iter().flat_map(|group| &group.frames);
        let mut frames = self
            .tasks
            .iter()
            .flat_map(|group| &group.stacks)
            .flat_map(|chain| &chain.frames)
            .chain(threads);
        frames.any(|frame| marks.iter().any(|mark| frame.is_at(mark)))
    }
}

impl Frame {
    pub fn is_at(&self, mark: &Mark) -> bool {
        let file = self.file.as_deref().unwrap_or_default();
        file.ends_with(&mark.file) && self.line == Some(mark.line)
    }
}

fn has_function(frames: &[Frame], name: &str) -> bool {
    frames.iter().any(|frame| frame.name.ends_with(name))
}
