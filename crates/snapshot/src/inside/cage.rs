//! The filter that keeps system calls of polled code from being made.
#![expect(unsafe_code, reason = "prctl and seccomp take pointers")]

use libc::sock_filter;

use super::syscall::{gate, syscall};

/// What is let through from anywhere: it concerns the copy's private memory, or only tells something.
const HARMLESS: [libc::c_long; 14] = [
    libc::SYS_rt_sigreturn,
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    libc::SYS_sched_getaffinity,
];

/// Of `madvise`: nothing that reaches the file behind a shared mapping, as MADV_REMOVE does.
const ADVICE: [libc::c_int; 2] = [libc::MADV_DONTNEED, libc::MADV_FREE];

/// Of `mmap`: only new private memory, at a place of the kernel's choice.
const MMAP_FLAGS: u32 =
    (libc::MAP_SHARED | libc::MAP_PRIVATE | libc::MAP_FIXED | libc::MAP_ANONYMOUS) as u32;
const MMAP_WANTED: u32 = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as u32;

/// `AUDIT_ARCH_X86_64`.
const ARCH: u32 = 0xc000_003e;

/// Offsets in `seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const INSTRUCTION: u32 = 8;
const ARGUMENTS: u32 = 16;

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

const LONGEST: usize = 64;

/// A filter program.
struct Program {
    code: [sock_filter; LONGEST],
    len: usize,
}

impl Program {
    fn add(&mut self, code: u16, jt: u8, jf: u8, k: u32) {
        if let Some(place) = self.code.get_mut(self.len) {
            *place = sock_filter { code, jt, jf, k };
            self.len += 1;
        }
    }

    /// Lets the call through if what was loaded is `value`.
    fn allow_if(&mut self, value: u32) {
        self.add(IF_EQUAL, 0, 1, value);
        self.add(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW);
    }

    /// Loads the low half of an argument.
    fn load_argument(&mut self, index: u32) {
        self.add(LOAD, 0, 0, ARGUMENTS + 8 * index);
    }

    fn new(gate: u64) -> Self {
        let nothing = sock_filter {
            code: RETURN,
            jt: 0,
            jf: 0,
            k: libc::SECCOMP_RET_TRAP,
        };
        let mut this = Self {
            code: [nothing; LONGEST],
            len: 0,
        };
        this.add(LOAD, 0, 0, ARCHITECTURE);
        this.add(IF_EQUAL, 1, 0, ARCH);
        this.add(RETURN, 0, 0, libc::SECCOMP_RET_KILL_PROCESS);
        this.add(LOAD, 0, 0, INSTRUCTION);
        this.add(IF_EQUAL, 0, 3, gate as u32);
        this.add(LOAD, 0, 0, INSTRUCTION + 4);
        this.allow_if((gate >> 32) as u32);
        this.add(LOAD, 0, 0, NUMBER);
        for number in HARMLESS {
            this.allow_if(number as u32);
        }
        this.add(IF_EQUAL, 0, 4, libc::SYS_mmap as u32);
        this.load_argument(3);
        this.add(AND, 0, 0, MMAP_FLAGS);
        this.allow_if(MMAP_WANTED);
        this.add(LOAD, 0, 0, NUMBER);
        this.add(IF_EQUAL, 0, 5, libc::SYS_madvise as u32);
        this.load_argument(2);
        for advice in ADVICE {
            this.allow_if(advice as u32);
        }
        this.add(RETURN, 0, 0, libc::SECCOMP_RET_TRAP);
        this
    }
}

/// Puts the filter in force, for this process and all that it clones.
pub(super) fn close() -> Option<()> {
    let mut program = Program::new(gate()?);
    let filter = libc::sock_fprog {
        len: u16::try_from(program.len).ok()?,
        filter: program.code.as_mut_ptr(),
    };
    // SAFETY: neither call touches memory of ours but to read the program.
    let result = unsafe {
        let one = libc::PR_SET_NO_NEW_PRIVS as usize;
        if syscall(libc::SYS_prctl, one, 1, 0, 0, 0, 0) != 0 {
            return None;
        }
        syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER as usize,
            0,
            (&raw const filter).addr(),
            0,
            0,
            0,
        )
    };
    (result == 0).then_some(())
}
