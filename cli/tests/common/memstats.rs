//! The output of `rtops memstats` and `rtops trim`.

use serde::Deserialize;

use super::support::{Run, Target};

pub const MIB: u64 = 1 << 20;

#[derive(Debug, Deserialize)]
pub struct Memstats {
    pub process: Process,
    pub memory: Resident,
    pub heap: Option<Heap>,
    pub heap_missing: Option<String>,
    pub counted: Option<Counted>,
    pub watched_seconds: Option<f64>,
    pub rss_change_bytes: Option<i64>,
}

#[derive(Debug, Deserialize)]
pub struct Process {
    pub pid: i32,
    pub name: String,
}

#[derive(Debug, Deserialize)]
pub struct Resident {
    pub rss_bytes: u64,
    pub peak_rss_bytes: u64,
    pub pss_bytes: Option<u64>,
    pub private_bytes: Option<u64>,
    pub shared_bytes: Option<u64>,
    pub anonymous_bytes: u64,
    pub file_bytes: u64,
    pub missing: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct Heap {
    pub held_bytes: Option<u64>,
    pub in_use_bytes: Option<u64>,
    pub kept_bytes: Option<u64>,
    pub allocators: Vec<Allocator>,
}

#[derive(Debug, Deserialize)]
pub struct Allocator {
    pub name: String,
    pub held_bytes: Option<u64>,
    pub in_use_bytes: Option<u64>,
    pub kept_bytes: Option<u64>,
    pub figures: Vec<Figure>,
    pub notes: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub struct Figure {
    pub name: String,
    pub unit: String,
}

#[derive(Debug, Deserialize)]
pub struct Counted {
    pub live_blocks: u64,
    pub live_bytes: u64,
    pub allocations: u64,
    pub frees: u64,
    pub allocations_per_second: Option<f64>,
    pub classes: Vec<Class>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub struct Class {
    pub up_to_bytes: Option<u64>,
    pub live_blocks: u64,
    pub live_bytes: u64,
    pub blocks: u64,
    pub blocks_per_second: Option<f64>,
}

#[derive(Debug, Deserialize)]
pub struct Trimmed {
    pub calls: Vec<Call>,
    pub before: Side,
    pub after: Side,
}

#[derive(Debug, Deserialize)]
pub struct Call {
    pub allocator: String,
    pub call: String,
    pub failed: Option<i32>,
}

#[derive(Debug, Deserialize)]
pub struct Side {
    pub memory: Resident,
    pub heap: Heap,
}

impl Target {
    pub fn memstats_run(&self, arguments: &[&str]) -> Run {
        let pid = self.pid.to_string();
        self.rtops(&[&["memstats", &pid, "--timeout=60s"], arguments].concat())
    }

    pub fn memstats(&self, arguments: &[&str]) -> Memstats {
        let run = self.memstats_run(&[&["--json"], arguments].concat());
        run.success().json()
    }

    pub fn trim_run(&self, arguments: &[&str]) -> Run {
        let pid = self.pid.to_string();
        self.rtops(&[&["trim", &pid, "--timeout=60s"], arguments].concat())
    }

    pub fn trim(&self) -> Trimmed {
        self.trim_run(&["--json"]).success().json()
    }

    pub fn told(&self, command: &str) {
        assert_eq!(self.command(command), "done");
    }
}

impl Heap {
    #[track_caller]
    pub fn allocator(&self, name: &str) -> &Allocator {
        let mut allocators = self.allocators.iter();
        let found = allocators.find(|allocator| allocator.name == name);
        found.unwrap_or_else(|| panic!("{name} is not in {self:#?}"))
    }
}

impl Memstats {
    pub fn heap(&self) -> &Heap {
        self.heap.as_ref().unwrap()
    }

    pub fn counted(&self) -> &Counted {
        self.counted.as_ref().unwrap()
    }

    /// Returns the class of the blocks of up to this size.
    pub fn class(&self, up_to: u64) -> Class {
        let mut classes = self.counted().classes.iter();
        let class = classes.find(|class| class.up_to_bytes == Some(up_to));
        class.cloned().unwrap_or_default()
    }
}
