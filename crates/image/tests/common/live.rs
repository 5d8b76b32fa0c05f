//! Images of stopped processes.

use std::{
    fs::{self, File},
    ops::Range,
    os::unix::fs::FileExt as _,
    path::PathBuf,
};

use rtops_image::{
    FileOffset, GeneralRegisters, ImageModule, Pid, Thread, Tid,
    live::{Live, Memory, Options, Parts},
};

/// Where the memory of an image is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum From {
    /// In the process, with its page map.
    Process,
    /// In the process, without the page map.
    Blind,
    /// In a file.
    Kept,
}

/// Returns the parts of a stopped process.
pub fn parts(pid: i32, from: From) -> Parts {
    let read = |name: &str| fs::read(format!("/proc/{pid}/{name}")).expect("it is there");
    let open = |name: &str| File::open(format!("/proc/{pid}/{name}")).expect("the right to look");
    let maps = read("maps");
    Parts {
        pid: Pid::new(pid),
        auxv: read("auxv"),
        memory: match from {
            From::Kept => keep(&maps, &open("mem"), &open("pagemap")),
            _ => Memory::Process(open("mem")),
        },
        pagemap: (from == From::Process).then(|| open("pagemap")),
        threads: Vec::new(),
        root: PathBuf::from(format!("/proc/{pid}/root")),
        maps,
    }
}

pub fn image(parts: Parts) -> Live {
    Live::new(parts, &Options::default()).expect("an image")
}

/// Returns a thread of which only this is known.
pub fn thread(tid: i32, registers: &nix::libc::user_regs_struct) -> Thread {
    Thread {
        tid: Tid::new(tid),
        signal: 0,
        registers: GeneralRegisters {
            rip: registers.rip,
            rsp: registers.rsp,
            rbp: registers.rbp,
            fs_base: registers.fs_base,
            orig_rax: registers.orig_rax,
            ..GeneralRegisters::default()
        },
        vectors: None,
    }
}

/// Reads all private memory that differs from that in a named file. Untouched pages become holes.
fn keep(maps: &[u8], memory: &File, pagemap: &File) -> Memory {
    let file = tempfile::tempfile().expect("a file");
    let mut pieces: Vec<(Range<u64>, FileOffset)> = Vec::new();
    let mut length = 0;
    for map in String::from_utf8_lossy(maps).lines().map(super::Map::parse) {
        let is_kernels = map.path.starts_with("[v") && map.path != "[vdso]";
        if map.access.ends_with('s') || map.access.starts_with("---") || is_kernels {
            continue;
        }
        let is_whole = !map.is_file() || map.path.ends_with("(deleted)");
        let is_there = map.path == "[vdso]" || map.is_file() && is_whole;
        if is_whole {
            pieces.push((map.range.clone(), FileOffset(length)));
        }
        let touched = touched(pagemap, &map.range, map.is_file());
        for (at, is_touched) in map.range.clone().step_by(4096).zip(touched) {
            let mut page = [0; 4096];
            // A file may end before its mapping.
            let is_read = is_touched || is_there;
            if !is_read || memory.read_exact_at(&mut page, at).is_err() {
                continue;
            }
            let place = length + at - map.range.start;
            file.write_all_at(&page, place).expect("space");
            if !is_whole {
                pieces.push((at..at + 4096, FileOffset(place)));
            }
        }
        length += map.range.end - map.range.start;
        file.set_len(length).expect("a sparse file");
    }
    Memory::Kept { file, pieces }
}

/// Returns which pages of a range are present and not a file's.
fn touched(pagemap: &File, range: &Range<u64>, is_file: bool) -> Vec<bool> {
    let pages = (range.end - range.start) / 4096;
    let mut entries = vec![0; usize::try_from(pages * 8).expect("small")];
    let place = range.start / 4096 * 8;
    pagemap.read_exact_at(&mut entries, place).expect("entries");
    let entries = entries.as_chunks().0.iter();
    let entries = entries.map(|entry| u64::from_le_bytes(*entry));
    let is_own = |entry: u64| entry >> 62 != 0 && !(is_file && entry >> 61 & 1 == 1);
    entries.map(is_own).collect()
}

/// Returns what an image says about a module, for comparison.
pub fn said(module: &ImageModule) -> impl PartialEq + std::fmt::Debug {
    (
        module.path.clone(),
        module.build_id.clone(),
        module.load_bias,
        module.mapped.clone(),
        module.code.clone(),
        module.kind,
        module.tls,
        module.file.is_ok(),
    )
}
