//! Tests that cores hold what the process had: its memory, its threads, and its modules.

mod common;

use std::{fs, os::unix::fs::FileExt as _, path::Path};

use common::{Program, Victim, no_kernel_core};
use nix::sys::signal::Signal;
use rtops_image::{
    Absence, Contents, Core, Gap, Image, ModuleKind, Options, Origin, Unreadable, Writer,
};

fn open(path: &Path) -> Core {
    Core::open(path, &Options::default()).expect("a core")
}

/// The state of a stopped process: all its memory, and its threads' registers.
struct Seen {
    memory: Vec<(common::Map, Vec<u8>)>,
    registers: Vec<(i32, nix::libc::user_regs_struct)>,
}

/// Stops a program, reads all of its state, and has the kernel write a core.
fn look_and_die(victim: &mut Victim, signal: Signal) -> Option<(Seen, Core)> {
    let stopped = victim.stop(signal);
    let maps = stopped.maps();
    let readable = maps.into_iter().filter(|map| map.access.starts_with('r'));
    let seen = Seen {
        memory: readable
            .filter_map(|map| Some((map.clone(), stopped.read(map.range)?)))
            .collect(),
        registers: (stopped.tids.iter())
            .map(|tid| (tid.as_raw(), stopped.registers(*tid)))
            .collect(),
    };
    Some((seen, open(&stopped.die()?)))
}

/// Returns whether a core with the usual filter has this mapping, or finds it in a file.
fn is_expected(map: &common::Map, victim: &Victim) -> bool {
    let is_hidden = map.range.contains(&victim.place("hidden").start);
    let is_kernel = map.path.starts_with("[v") && map.path != "[vdso]";
    !is_hidden && !is_kernel && !map.path.ends_with("/mapped")
}

/// Compares page by page, and counts the equal bytes.
fn compare(core: &Core, seen: &Seen, victim: &Victim) -> usize {
    let mut equal = 0;
    for (map, bytes) in &seen.memory {
        for (index, page) in bytes.chunks(4096).enumerate() {
            let address = map.range.start + 4096 * index as u64;
            let mut got = vec![0xaa; page.len()];
            match core.read(address, &mut got) {
                Ok(()) => assert!(got == page, "{address:#x} in {map:?} differs"),
                Err(why) => {
                    assert!(!is_expected(map, victim), "{map:?}: {why}");
                    continue;
                }
            }
            equal += page.len();
        }
    }
    equal
}

#[test]
fn memory_is_what_the_process_had() {
    for flags in [&[][..], &["-no-pie"], &["-static"], &["-static-pie"]] {
        let program = Program::build(flags);
        let mut victim = program.start();
        let gdb = open(&victim.gcore());
        let Some((seen, kernel)) = look_and_die(&mut victim, Signal::SIGSEGV) else {
            return no_kernel_core();
        };
        for core in [&kernel, &gdb] {
            let bytes = compare(core, &seen, &victim);
            assert!(bytes > 400_000, "only {bytes} bytes");
            // A read that crosses regions returns all bytes.
            let data = victim.place("data");
            let mut crossing = vec![0; 3 * 4096];
            core.read(data.start, &mut crossing).expect("data");
            assert!(crossing.starts_with(b"data of the file"), "{flags:?}");
            let text = core.read_c_string(data.start, 1000).expect("a string");
            assert_eq!(text, b"data of the file");
            let main = core
                .modules()
                .iter()
                .find(|m| m.kind == ModuleKind::MainExecutable);
            let main = main.expect("the program");
            assert_eq!(&*main.path, program.path);
            assert_eq!(
                main.load_bias == 0,
                flags == ["-no-pie"] || flags == ["-static"]
            );
            assert!(main.tls.is_some_and(|tls| tls.size >= 64), "{:?}", main.tls);
            let vdso = core.modules().iter().find(|m| m.kind == ModuleKind::Vdso);
            assert!(
                vdso.is_some_and(|vdso| !vdso.build_id.is_empty()),
                "{vdso:?}"
            );
            let files: Vec<_> = core
                .gaps()
                .iter()
                .filter(|gap| !matches!(gap, Gap::LeftOut { .. }))
                .collect();
            assert!(files.is_empty(), "{flags:?}: {files:?}");
        }
        let mapped = victim.place("mapped").start;
        let changeable = Unreadable::Absent(mapped, Absence::Data);
        assert_eq!(kernel.read_u64(mapped), Err(changeable));
        assert_eq!(kernel.head().writer, Some(Writer::Kernel));
        assert_eq!(gdb.head().writer, Some(Writer::Gdb));
        let hidden = victim.place("hidden").start;
        let absent = Unreadable::Absent(hidden, Absence::LeftOut);
        assert_eq!(kernel.read_u64(hidden), Err(absent));
        let nothing = kernel.read_u64(0x1000);
        assert_eq!(nothing, Err(Unreadable::NotMapped(0x1000)));
    }
}

#[test]
fn threads_are_as_the_debugger_saw_them() {
    let program = Program::build(&[]);
    let mut victim = program.start();
    let main = victim.pid();
    let Some((seen, core)) = look_and_die(&mut victim, Signal::SIGSEGV) else {
        return no_kernel_core();
    };
    assert_eq!(core.threads().len(), 3);
    assert_eq!(
        core.threads()
            .first()
            .map(|thread| (thread.tid.as_raw(), thread.signal)),
        Some((main, 11))
    );
    for (tid, seen) in &seen.registers {
        let thread = core
            .threads()
            .iter()
            .find(|thread| thread.tid.as_raw() == *tid);
        let got = thread.expect("each thread").registers;
        let names = [
            (got.rip, seen.rip),
            (got.rsp, seen.rsp),
            (got.rbp, seen.rbp),
            (got.rbx, seen.rbx),
            (got.rcx, seen.rcx),
            (got.rdx, seen.rdx),
            (got.rsi, seen.rsi),
            (got.rdi, seen.rdi),
            (got.r8, seen.r8),
            (got.r9, seen.r9),
            (got.r10, seen.r10),
            (got.r11, seen.r11),
            (got.r12, seen.r12),
            (got.r13, seen.r13),
            (got.r14, seen.r14),
            (got.r15, seen.r15),
            (got.rflags, seen.eflags),
            (got.fs_base, seen.fs_base),
            (got.gs_base, seen.gs_base),
        ];
        for (index, (got, seen)) in names.iter().enumerate() {
            assert_eq!(got, seen, "register {index} of {tid}");
        }
    }
    let gdb = open(&program.start().gcore());
    assert_eq!(gdb.threads().len(), 3);
    for core in [&core, &gdb] {
        check_known_registers(core);
    }
}

/// Checks the thread whose registers the test knows.
fn check_known_registers(core: &Core) {
    let spins = core
        .threads()
        .iter()
        .find(|t| t.registers.r12 == 0x1122_3344_5566_7788);
    let vectors = spins
        .expect("the spinning thread")
        .vectors
        .as_ref()
        .expect("its vectors");
    assert_eq!(vectors.ymm[3][..16], *b"0123456789abcdef");
    if std::is_x86_feature_detected!("avx") {
        assert_eq!(vectors.ymm[3][16..], *b"GHIJKLMNOPQRSTUV");
    }
    assert_eq!(
        vectors.avx512.is_some(),
        std::is_x86_feature_detected!("avx512f")
    );
    assert_eq!(
        (vectors.mxcsr & 0xffc0, vectors.x87.control),
        (0x1f80, 0x37f)
    );
}

#[test]
fn the_head_says_what_it_died_of() {
    let program = Program::build(&[]);
    for (order, number) in [('s', 11), ('a', 6)] {
        let victim = program.start();
        let pid = victim.pid();
        let Some(path) = victim.die(order) else {
            return no_kernel_core();
        };
        let core = open(&path);
        let head = core.head();
        assert_eq!((head.program.as_str(), head.pid), ("victim", Some(pid)));
        let path_of_program = program.path.display().to_string();
        assert!(head.arguments.starts_with(&path_of_program), "{head:?}");
        let signal = head.signal.expect("a signal");
        assert_eq!(signal.number, number);
        let uid = nix::unistd::getuid().as_raw();
        assert_eq!(head.uid, Some(uid));
        let origin = match order {
            's' => Origin::Fault { address: 0xdead000 },
            _ => Origin::Sender { pid, uid },
        };
        assert_eq!(signal.origin, origin);
        fs::remove_file(path).expect("the core");
    }
}

#[test]
fn own_memory_is_shown_whole() {
    let program = Program::build(&[]);
    let victim = program.start();
    let core = open(&victim.gcore());
    let mut own = victim.place("own");
    let mut shown = 0;
    let mut behind = 0;
    core.for_each_chunk(&mut |start, bytes| {
        assert!(start >= behind && bytes.len() <= rtops_image::MAX_CHUNK);
        behind = start + bytes.len() as u64;
        assert_ne!(start, victim.place("shared").start);
        let mut same = vec![0; bytes.len()];
        core.read(start, &mut same).expect("the same");
        assert!(same == bytes);
        if start <= own.start && own.start < behind {
            shown += behind.min(own.end) - own.start;
            own.start = behind.min(own.end);
        }
        std::ops::ControlFlow::Continue(())
    })
    .expect("all can be read");
    assert_eq!(shown, 1 << 16);
    // Reads in many threads at once, through the trait.
    let image: &dyn Image = &core;
    let data = victim.place("data").start;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..1000 {
                    let text = image.read_c_string(data, 16);
                    assert_eq!(text.as_deref(), Ok(&b"data of the file"[..]));
                }
            });
        }
    });
    let none = core.region_of(victim.place("none").start);
    assert!(
        none.is_none_or(
            |region| !region.access.write || !matches!(region.contents, Contents::Present)
        )
    );
}

/// gdb obeys the filter too.
#[test]
fn filters_of_gdb() {
    let program = Program::build(&[]);
    for filter in [0, 0x01, 0x10, 0x33, 0x7f] {
        let victim = program.start();
        victim.set_filter(filter);
        let path = victim.gcore();
        let core = Core::open(&path, &Options::default()).expect("a core");
        let memory = fs::File::open(format!("/proc/{}/mem", victim.pid())).expect("its memory");
        let mut known = 0;
        for region in core.regions().iter().filter(|region| region.access.read) {
            for start in region.range.clone().step_by(4096) {
                let (mut got, mut seen) = ([0; 4096], [0; 4096]);
                let is_stack = core
                    .threads()
                    .iter()
                    .any(|thread| core.region_of(thread.registers.rsp) == Some(region));
                // The kernel writes to the stack of a thread that gdb has stopped when it resumes.
                if is_stack || core.read(start, &mut got).is_err() {
                    continue;
                }
                if memory.read_exact_at(&mut seen, start).is_ok() {
                    assert!(
                        got == seen,
                        "filter {filter:#x}: {start:#x} in {region:?} differs"
                    );
                    known += 1;
                }
            }
        }
        assert!(known > 100, "filter {filter:#x}: {known} pages");
        let is_known = |name| core.read_u64(victim.place(name).start).is_ok();
        assert_eq!(is_known("own"), filter & 1 == 1, "{filter:#x}");
        assert!(is_known("constant"), "{filter:#x}");
    }
}
