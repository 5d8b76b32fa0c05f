//! A process that makes its command line as long as it is told to, which needs no privileges; as
//! root, it also has as many groups as a process can have.
#![expect(unsafe_code, reason = "the kernel is told where the command line lies")]

use std::{fs, mem, num::NonZeroUsize, ptr};

use nix::{
    errno::Errno,
    libc,
    sys::mman::{MapFlags, ProtFlags, mmap_anonymous},
    unistd::{Gid, geteuid, setgroups},
};

use crate::{Never, control::Control};

/// The maximum number of groups of a process, `NGROUPS_MAX`.
const GROUPS: u32 = 65_536;
/// How much of the command line is written to, in bytes.
const WRITTEN: usize = 1 << 20;

/// The kernel's `prctl_mm_map`.
#[repr(C)]
struct MemoryMap {
    start_code: u64,
    end_code: u64,
    start_data: u64,
    end_data: u64,
    start_brk: u64,
    brk: u64,
    start_stack: u64,
    arg_start: u64,
    arg_end: u64,
    env_start: u64,
    env_end: u64,
    auxv: *const u64,
    auxv_size: u32,
    exe_fd: u32,
}

/// Makes the command line this many MiB long.
pub(crate) fn run(control: Control, size: Option<&str>) -> Result<Never, String> {
    let size = size.and_then(|size| size.parse::<usize>().ok());
    let size = size.and_then(|size| NonZeroUsize::new(size << 20));
    lengthen(size.ok_or("the size is a number of MiB")?)?;
    if geteuid().is_root() {
        let groups: Vec<Gid> = (0..GROUPS)
            .map(|group| Gid::from_raw(u32::MAX / 2 - group))
            .collect();
        setgroups(&groups).map_err(|error| error.to_string())?;
    }
    control.serve(|| 0)
}

fn lengthen(size: NonZeroUsize) -> Result<(), String> {
    let both = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE;
    // SAFETY: no address is requested.
    let memory = unsafe { mmap_anonymous(None, size, both, flags) };
    let memory = memory.map_err(|error| error.to_string())?.cast::<u8>();
    // SAFETY: that much was just mapped for writing, and nobody else uses it.
    unsafe { memory.write_bytes(b'A', WRITTEN.min(size.get())) };
    let stat = fs::read_to_string("/proc/self/stat").map_err(|error| error.to_string())?;
    let fields = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace();
    let fields: Vec<u64> = fields.map(|field| field.parse().unwrap_or(0)).collect();
    // Numbered as in proc(5); the first field after the name is number 3.
    let field = |number: usize| fields.get(number - 3).copied().unwrap_or(0);
    let start = memory.as_ptr().addr() as u64;
    // SAFETY: it only returns the end of the heap.
    let brk = unsafe { libc::sbrk(0) }.addr() as u64;
    let map = MemoryMap {
        start_code: field(26),
        end_code: field(27),
        start_data: field(45),
        end_data: field(46),
        start_brk: field(47),
        brk,
        start_stack: field(28),
        arg_start: start,
        arg_end: start + size.get() as u64,
        env_start: field(50),
        env_end: field(51),
        auxv: ptr::null(),
        auxv_size: 0,
        exe_fd: u32::MAX,
    };
    let length = mem::size_of::<MemoryMap>();
    let (option, sub_option) = (libc::PR_SET_MM, libc::PR_SET_MM_MAP);
    // SAFETY: the kernel copies a struct of that length, its own type, and checks the addresses.
    let set = unsafe { libc::prctl(option, sub_option, &raw const map, length, 0) };
    Errno::result(set).map_err(|error| error.to_string())?;
    Ok(())
}
