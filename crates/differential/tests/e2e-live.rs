//! The tasks of a stopped process are those of a core of it.

mod common;

use std::{
    fs::{self, File},
    ops::{ControlFlow, Range},
    os::unix::fs::FileExt as _,
    path::PathBuf,
};

use common::Running;
use rtops_cells::{Inventory, Options, Task, Trace};
use rtops_image::{
    Backing, Contents, Core, FileOffset, Image, Pid, Sharing, Tid,
    live::{self, Live, Memory, Parts},
};

const TARGETS: &str = env!("CARGO_BIN_EXE_rtops-differential-targets");

/// Returns the image of a stopped process, with the registers that gdb saw.
fn live(pid: i32, core: &Core) -> Live {
    let read = |name: &str| fs::read(format!("/proc/{pid}/{name}")).expect("it stands still");
    let open = |name: &str| File::open(format!("/proc/{pid}/{name}")).expect("the right to look");
    let parts = Parts {
        pid: Pid::new(pid),
        maps: read("maps"),
        auxv: read("auxv"),
        memory: Memory::Process(open("mem")),
        pagemap: Some(open("pagemap")),
        threads: core.threads().to_vec(),
        root: PathBuf::from(format!("/proc/{pid}/root")),
    };
    Live::new(parts, &live::Options::default()).expect("an image")
}

/// Returns the same image with its own memory, and the heads of files, in a file.
fn kept(live: &Live) -> Live {
    let file = tempfile::tempfile().expect("a file");
    let mut pieces: Vec<(Range<u64>, FileOffset)> = Vec::new();
    let mut length = 0;
    for region in live.regions() {
        let is_known = region.contents == Contents::Present;
        if !is_known || region.sharing == Sharing::Shared {
            continue;
        }
        let mut range = region.range.clone();
        if region.access.execute && matches!(region.backing, Backing::File { .. }) {
            // The rest is as in its file.
            range.end = range.start + 4096;
        }
        if !region.is_own() {
            let size = usize::try_from(range.end - range.start).expect("small");
            let mut bytes = vec![0; size];
            live.read(range.start, &mut bytes).expect("known");
            file.write_all_at(&bytes, length).expect("space");
        }
        let size = range.end - range.start;
        pieces.push((range, FileOffset(length)));
        length += size;
    }
    file.set_len(length).expect("a sparse file");
    let place = |at: u64| {
        let behind = pieces.partition_point(|(range, _)| range.start <= at);
        let (range, offset) = &pieces[behind - 1];
        offset.0 + at - range.start
    };
    live.for_each_chunk(&mut |at, bytes| {
        file.write_all_at(bytes, place(at)).expect("space");
        ControlFlow::Continue(())
    })
    .expect("known");
    let pid = live.pid();
    let read = |name: &str| fs::read(format!("/proc/{pid}/{name}")).expect("it stands still");
    let parts = Parts {
        pid,
        maps: read("maps"),
        auxv: read("auxv"),
        memory: Memory::Kept { file, pieces },
        pagemap: None,
        threads: live.threads().to_vec(),
        root: PathBuf::from(format!("/proc/{pid}/root")),
    };
    Live::new(parts, &live::Options::default()).expect("an image")
}

/// A task, with what it refers to instead of numbers.
type Told = (Task, Vec<Vec<u64>>, Option<Trace>);

fn told(inventory: &Inventory) -> Vec<Told> {
    let tell = |task: &Task| {
        let leaves = task.leaves.iter();
        let leaves = leaves.map(|leaf| inventory.leaves[leaf.stack as usize].clone());
        let mut leaves: Vec<_> = leaves.collect();
        leaves.sort();
        let trace = task
            .trace
            .map(|trace| inventory.traces[trace as usize].clone());
        let bare = Task {
            leaves: Vec::new(),
            trace: None,
            ..task.clone()
        };
        (bare, leaves, trace)
    };
    inventory.tasks.iter().map(tell).collect()
}

fn check(arguments: &[&str], least: usize) {
    let directory = tempfile::tempdir().expect("a directory");
    let (running, _) = Running::start(TARGETS, arguments, directory.path());
    running.freeze();
    let path = running.gcore(directory.path());
    assert!(running.all_are('T'), "gdb has let it go");
    let core = Core::open(&path, &rtops_image::Options::default()).expect("a core");
    let of_core = Inventory::take(&core, Options::default()).expect("tasks");
    let resolved = |task: &&Task| task.unresolved.is_none() && !task.leaves.is_empty();
    let count = of_core.tasks.iter().filter(resolved).count();
    assert!(count >= least, "only {count} tasks with leaves");

    let process = live(running.pid(), &core);
    let kept = kept(&process);
    for image in [&process, &kept] {
        let gaps = image.gaps();
        assert!(gaps.is_empty(), "{gaps:?}");
        let inventory = Inventory::take(image, Options::default()).expect("tasks");
        assert_eq!(inventory.tasks.len(), of_core.tasks.len());
        for (here, there) in told(&inventory).iter().zip(told(&of_core)) {
            assert_eq!(*here, there);
        }
        assert_eq!(inventory.threads, of_core.threads);
        assert_eq!(inventory.kept, of_core.kept);
        assert_eq!(inventory.copies, of_core.copies);
        let resumed = |inventory: &Inventory| -> Vec<Tid> {
            inventory
                .resumed
                .iter()
                .map(|resumed| resumed.tid)
                .collect()
        };
        assert_eq!(resumed(&inventory), resumed(&of_core));
    }
}

#[test]
fn all_ways_to_wait_on_workers() {
    check(&["unwrapped", "multi"], 50);
}

#[test]
fn all_ways_to_wait_on_one_thread() {
    check(&["unwrapped", "current"], 50);
}
