//! The parts of `rtops stack --json` that the tests look at.

use serde::Deserialize;

use crate::source::Mark;

#[derive(Debug, Deserialize)]
pub struct Stack {
    pub complete: bool,
    pub gaps: Vec<String>,
    pub lacks: Vec<String>,
    tasks: Option<Tasks>,
    threads: Option<Threads>,
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
    pub state: String,
    pub waits: Vec<String>,
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
}

#[derive(Debug, Deserialize)]
pub struct Task {
    pub id: u64,
    pub parent: Option<u64>,
    pub runtime: Option<String>,
    pub tid: Option<i32>,
    pub wakers: Option<u32>,
    pub obtained: String,
}

#[derive(Debug, Deserialize)]
pub struct Chain {
    pub incomplete: Option<String>,
    pub frames: Vec<Frame>,
}

#[derive(Debug, Deserialize)]
pub struct Frame {
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
    pub frames: Vec<Frame>,
    pub threads: Vec<Thread>,
}

#[derive(Debug, Deserialize)]
pub struct Thread {
    pub tid: i32,
    pub name: String,
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

    /// The one group of this name.
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

    /// All groups of this name.
    pub fn groups(&self, name: &str) -> Vec<&TaskGroup> {
        let groups = self.task_groups().iter();
        groups.filter(|group| group.is_named(name)).collect()
    }

    /// The group of the one thread of this name.
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

    fn has_line(&self, mark: &Mark) -> bool {
        let mut frames = self.stacks.iter().flat_map(|chain| &chain.frames);
        frames.any(|frame| {
            let file = frame.file.as_deref().unwrap_or_default();
            file.ends_with(&mark.file) && frame.line == Some(mark.line)
        })
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

fn has_function(frames: &[Frame], name: &str) -> bool {
    frames.iter().any(|frame| frame.name.ends_with(name))
}
