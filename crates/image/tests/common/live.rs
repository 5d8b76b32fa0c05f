//! Images of processes that stand still.

use std::{
    fs::{self, File},
    ops::Range,
    os::unix::fs::FileExt as _,
    path::PathBuf,
};

use rtops_image::{
    Registers, Thread,
    live::{Live, Memory, Options, Parts},
};

/// Where the memory of an image is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum From {
    /// In the process, with its page map.
    Process,
    /// The same without the page map.
    Blind,
    /// In a file.
    Kept,
}

/// All that is said of a process that stands still.
pub fn parts(pid: i32, from: From) -> Parts {
    let read = |name: &str| fs::read(format!("/proc/{pid}/{name}")).expect("it is there");
    let open = |name: &str| File::open(format!("/proc/{pid}/{name}")).expect("the right to look");
    let maps = read("maps");
    Parts {
        pid,
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

/// A thread of which only this is known.
pub fn thread(tid: i32, registers: &nix::libc::user_regs_struct) -> Thread {
    Thread {
        tid,
        signal: 0,
        registers: Registers {
            rip: registers.rip,
            rsp: registers.rsp,
            rbp: registers.rbp,
            fs_base: registers.fs_base,
            orig_rax: registers.orig_rax,
            ..Registers::default()
        },
        vectors: None,
    }
}

/// Reads all private memory that was touched, and the first pages of files. What was not touched is a hole.
fn keep(maps: &[u8], memory: &File, pagemap: &File) -> Memory {
    let file = tempfile::tempfile().expect("a file");
    let mut pieces: Vec<(Range<u64>, u64)> = Vec::new();
    let mut length = 0;
    for map in String::from_utf8_lossy(maps).lines().map(super::Map::parse) {
        let is_first = map.offset == 0 && map.path.starts_with('/');
        let is_own = map.access.ends_with('p') && !map.access.contains('x');
        let is_kernels = map.path.starts_with("[v");
        let range = match (is_own || map.path == "[vdso]", is_first) {
            (true, _) if !is_kernels || map.path == "[vdso]" => map.range.clone(),
            (false, true) => map.range.start..map.range.start + 4096,
            _ => continue,
        };
        let touched = touched(pagemap, &range);
        for (at, is_touched) in range.clone().step_by(4096).zip(touched) {
            let mut page = [0; 4096];
            // A file may end before its mapping.
            let is_there =
                (is_touched || map.is_file()) && memory.read_exact_at(&mut page, at).is_ok();
            if is_there {
                let place = length + at - range.start;
                file.write_all_at(&page, place).expect("space");
            }
        }
        let size = range.end - range.start;
        pieces.push((range, length));
        length += size;
        file.set_len(length).expect("a sparse file");
    }
    Memory::Kept { file, pieces }
}

/// Which pages of a range there are.
fn touched(pagemap: &File, range: &Range<u64>) -> Vec<bool> {
    let pages = (range.end - range.start) / 4096;
    let mut entries = vec![0; usize::try_from(pages * 8).expect("small")];
    let place = range.start / 4096 * 8;
    pagemap.read_exact_at(&mut entries, place).expect("entries");
    let entries = entries.as_chunks().0.iter();
    let entries = entries.map(|entry| u64::from_le_bytes(*entry));
    entries.map(|entry| entry >> 62 != 0).collect()
}
