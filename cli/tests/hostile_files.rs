//! Modules whose files are made to harm their reader: with little memory, stack and time, `rtops`
//! still shows the dump and says what it left out.
#![allow(clippy::unwrap_used)]

#[path = "../../crates/elf/tests/common/forge.rs"]
#[allow(dead_code)]
mod forge;
mod support;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use rtops_protocol::{End, Module, ModuleKind, Process, Reply, Stacks, Thread};
use rtops_report::dump::fixtures::{on, thread};
use support::{DEADLINE, assert_code, own_pid, peer_sending, stdout};
use tempfile::tempdir;

/// Where the modules are in memory, one after another.
const BASE: u64 = 0x100_0000_0000;
const DISTANCE: u64 = 1 << 32;
/// How many addresses of each module are on stacks, and how many on each stack.
const ADDRESSES: u64 = 1000;
const DEEP: u64 = 50;
/// The size of a file with a hole, in bytes.
const SPARSE: u64 = 9 << 30;
/// The limits of `rtops`, in KiB and seconds.
const LIMITS: &str = "ulimit -v 3000000; ulimit -s 1024; ulimit -t 60";

fn module(index: u64, path: &Path) -> Module {
    let bias = BASE + index * DISTANCE;
    Module {
        path: path.to_str().unwrap().to_owned(),
        build_id: forge::BUILD_ID.to_vec(),
        load_bias: bias,
        code: bias + forge::CODE.start..bias + forge::CODE.end,
        kind: ModuleKind::Library,
    }
}

/// Returns a dump of threads that run the code of these files.
fn dump(paths: &[PathBuf]) -> Vec<Reply> {
    let modules = (0..).zip(paths).map(|(index, path)| module(index, path));
    let modules: Vec<Module> = modules.collect();
    let stacks = modules.iter().flat_map(|module| {
        let step = (module.code.end - module.code.start) / ADDRESSES;
        let starts = (0..ADDRESSES).step_by(DEEP as usize);
        starts.map(move |start| {
            let places = start..start + DEEP;
            places
                .map(|place| module.code.start + place * step)
                .collect()
        })
    });
    let stacks: Vec<Vec<u64>> = stacks.collect();
    let running = |index: u32| Thread {
        state: Some('R'),
        ..thread(i32::try_from(index).unwrap() + 1, Some("thread"), on(index))
    };
    let threads = (0..u32::try_from(stacks.len()).unwrap())
        .map(running)
        .collect();
    vec![
        Reply::Process(Process {
            name: "peer".to_owned(),
            tracked_on_tokio: Some(0),
            alive_on_tokio: Some(0),
            tracking: None,
        }),
        Reply::Modules(modules),
        Reply::Stacks(Stacks(stacks)),
        Reply::Threads(threads),
        Reply::End(End { gaps: Vec::new() }),
    ]
}

/// Shows a dump of a process with these files as modules.
fn shown(paths: &[PathBuf]) -> String {
    let directory = peer_sending(dump(paths));
    let mut rtops = assert_cmd::Command::new("sh");
    rtops
        .args(["-c", &format!("{LIMITS}; exec \"$0\" \"$@\"")])
        .arg(env!("CARGO_BIN_EXE_rtops"))
        .args(["stack", &own_pid(), "--json", "--attach=never"])
        .env_clear()
        .env("RTOPS_DIR", directory.path());
    let output = rtops.timeout(DEADLINE).output().unwrap();
    assert_code(&output, 0);
    stdout(&output)
}

#[test]
fn files_that_were_made_to_harm_cost_their_names_only() {
    let place = tempdir().unwrap();
    let attacks = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/elf/tests/attacks");
    let attack = |name: &str| attacks.join(name).canonicalize().unwrap();
    let sparse = place.path().join("hollow.so");
    fs::write(&sparse, forge::sparse_note(SPARSE)).unwrap();
    let file = File::options().write(true).open(&sparse).unwrap();
    file.set_len(SPARSE).unwrap();
    let ranges = place.path().join("ranges.so");
    fs::write(&ranges, forge::shared_ranges()).unwrap();
    let good = place.path().join("good.so");
    fs::write(&good, forge::circular_names()).unwrap();
    let text = shown(&[
        attack("deep_inline.so"),
        attack("file_table.so"),
        attack("long_demangle.so"),
        sparse,
        ranges,
        good,
    ]);
    for said in [
        "deep_inline.so: it has more nested inlined functions than are read",
        "ranges.so: it has more ranges of addresses than are read",
    ] {
        assert!(text.contains(said), "{said}: {}", tail(&text));
    }
    // Intact modules have their names.
    assert!(text.contains("outer"), "{}", tail(&text));
}

#[test]
fn one_file_as_many_modules_is_read_once_for_each_and_no_more() {
    let attacks = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/elf/tests/attacks");
    let attack = attacks.join("deep_inline.so").canonicalize().unwrap();
    let text = shown(&vec![attack; 40]);
    assert!(text.contains("deep_inline.so"), "{}", tail(&text));
}

/// Returns the end of a text, so that a failed test does not print all of it.
fn tail(text: &str) -> &str {
    let start = text.char_indices().rev().nth(3000).map_or(0, |(at, _)| at);
    &text[start..]
}
