//! Describes what ended the process of a core file.

use std::time::{Duration, UNIX_EPOCH};

use nix::libc::{SI_KERNEL, SIGBUS, SIGSEGV};
use rtops_protocol::{Access, CoreHead, Leaf, Signal};

use crate::{
    dump::{Dump, leaf_of},
    escape::escape,
    frames::Frames,
};

/// An address below this is a null pointer with an offset: Linux lets nobody map the first page.
const NULL_PAGE: u64 = 4096;
/// `si_code`: no mapping at the address.
const SEGV_MAPERR: i32 = 1;
/// `si_code`: the mapping at the address does not allow the access.
const SEGV_ACCERR: i32 = 2;

/// What Rust's runtime does before it ends the process: part of a function's path, and what that
/// means. The first entry found in any frame counts.
const ENDS: [(&str, &str); 6] = [
    ("::stack_overflow::", "after a stack overflow"),
    (
        "core::panicking::panic_in_cleanup",
        "after a panic while unwinding",
    ),
    (
        "core::panicking::panic_cannot_unwind",
        "after a panic where unwinding is not allowed",
    ),
    (
        "alloc::alloc::handle_alloc_error",
        "after it ran out of memory",
    ),
    ("core::panicking::", "after a panic"),
    ("std::panicking::begin_panic", "after a panic"),
];

/// Returns the head line: which process, what ended it, when and where. `None` if the
/// dump is not from a core file.
pub fn sentence(dump: &Dump, frames: &Frames) -> Option<String> {
    let core = dump.core.as_ref()?;
    let mut text = process(core);
    match &core.signal {
        Some(signal) => {
            text = format!("{text} was killed by {}", name(signal.number));
            if let Some(cause) = cause(core, signal) {
                text = format!("{text} ({cause})");
            }
            if let Some(end) = stack(dump).and_then(|leaf| end(frames, leaf)) {
                text = format!("{text} {end}");
            }
            if let Some(thread) = core.thread {
                text = format!("{text}, in thread {thread}");
            }
        }
        None if core.was_alive => text = format!("{text} was dumped alive"),
        None => text = format!("{text}: what ended it is not known"),
    }
    if let Some(time) = core.time.and_then(utc) {
        text = format!("{text}, {time}");
    }
    if let Some(host) = &core.host {
        text = format!("{text} on {}", escape(host));
    }
    Some(text)
}

/// Returns which process it was, as far as known.
fn process(core: &CoreHead) -> String {
    let name = match core.program.as_str() {
        "" => "an unknown process".to_owned(),
        name => escape(name).into_owned(),
    };
    match core.pid {
        Some(pid) => format!("{name} (pid {pid})"),
        None => name,
    }
}

/// Returns what to say about a process that was read whole but shows no sign of tokio.
pub fn lacks_tokio(dump: &Dump) -> Option<&'static str> {
    let of_core = dump.core.as_ref().map(|core| core.has_tokio);
    let of_process = dump.outside.as_ref().map(|outside| outside.has_tokio);
    let is_known = of_core.or(of_process)? || !dump.gaps.is_empty();
    (!is_known)
        .then_some("no sign of tokio in it: tasks of other executors are not found from outside")
}

/// Returns the stack of the thread that got the signal.
pub fn stack(dump: &Dump) -> Option<Leaf> {
    let tid = dump.core.as_ref()?.thread?;
    leaf_of(dump.thread(tid)?)
}

/// Returns what the frames show about how the signal came about.
fn end(frames: &Frames, leaf: Leaf) -> Option<&'static str> {
    let has = |part: &str| {
        let mut frames = frames.of_links(frames.stack(leaf.stack));
        frames.any(|frame| frame.name.contains(part))
    };
    let end = ENDS.iter().find(|(part, _)| has(part));
    end.map(|(_, words)| *words)
}

/// Returns `SIGSEGV`, or `signal 34` if the signal has no name.
pub fn name(signal: i32) -> String {
    match nix::sys::signal::Signal::try_from(signal) {
        Ok(signal) => signal.as_str().to_owned(),
        Err(_) => format!("signal {signal}"),
    }
}

/// Returns what raised the signal, or who sent it.
fn cause(core: &CoreHead, signal: &Signal) -> Option<String> {
    if let Some(sender) = signal.sender {
        return Some(match Some(sender.pid) == core.pid {
            true => "raised by itself".to_owned(),
            false => format!("sent by process {} of user {}", sender.pid, sender.uid),
        });
    }
    if !matches!(signal.number, SIGSEGV | SIGBUS) {
        return Some(format!("at {:#x}", signal.address?));
    }
    let access = match signal.access {
        Some(Access::Read) => "read",
        Some(Access::Write) => "write",
        Some(Access::Execute) => "jump",
        None => "access",
    };
    // The processor does not report the address, which is one that the kernel can't have mapped.
    if signal.code == Some(SI_KERNEL) {
        return Some(format!("{access} at an address that no memory can have"));
    }
    let address = signal.address?;
    Some(match signal.code {
        _ if address < NULL_PAGE => format!("null {access} at {address:#x}"),
        Some(SEGV_MAPERR) if signal.number == SIGSEGV => {
            format!("{access} at {address:#x}, where nothing is mapped")
        }
        Some(SEGV_ACCERR) if signal.number == SIGSEGV => {
            format!("{access} at {address:#x}, which is not allowed")
        }
        _ => format!("{access} at {address:#x}"),
    })
}

/// Formats a time in seconds since 1970 as `2026-01-31T12:00:00Z`; `None` if it has no such form.
pub fn utc(seconds: u64) -> Option<String> {
    let time = UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?;
    let time = humantime::format_rfc3339_seconds(time);
    let mut text = String::new();
    // Years beyond 9999 fail.
    std::fmt::Write::write_fmt(&mut text, format_args!("{time}")).ok()?;
    Some(text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rtops_protocol::{End, Reply, Sender, Stacks};

    use super::*;
    use crate::{
        dump::fixtures::{end, on, receive, thread},
        frames::fixtures::frames,
    };

    fn segv(code: i32, address: u64, access: Option<Access>) -> Signal {
        Signal {
            number: SIGSEGV,
            code: Some(code),
            address: Some(address),
            access,
            sender: None,
        }
    }

    fn sent(number: i32, pid: i32) -> Signal {
        Signal {
            number,
            code: Some(-6),
            address: None,
            access: None,
            sender: Some(Sender { pid, uid: 1000 }),
        }
    }

    fn shown(signal: Option<Signal>) -> String {
        shown_at(signal, "main")
    }

    /// The same, with the thread that got the signal inside these functions.
    fn shown_at(signal: Option<Signal>, functions: &str) -> String {
        let core = CoreHead {
            program: "gate\u{7}way".to_owned(),
            arguments: String::new(),
            pid: Some(4711),
            thread: signal.map(|_| 4712),
            was_alive: signal.is_none(),
            has_tokio: true,
            signal,
            time: Some(1_769_860_800),
            host: Some("web-1".to_owned()),
        };
        shown_of(core, functions)
    }

    fn shown_of(core: CoreHead, functions: &str) -> String {
        let dump = receive(vec![
            Reply::Core(core),
            Reply::Stacks(Stacks(vec![vec![1]])),
            Reply::Threads(vec![thread(4712, None, on(0))]),
            end(),
        ]);
        sentence(&dump.unwrap(), &frames(&[functions])).unwrap()
    }

    fn nothing_known() -> CoreHead {
        CoreHead {
            program: String::new(),
            arguments: String::new(),
            pid: None,
            thread: None,
            was_alive: false,
            has_tokio: false,
            signal: None,
            time: None,
            host: None,
        }
    }

    #[test]
    fn the_head_tells_how_the_runtime_came_to_abort() {
        for (functions, expected) in [
            ("abort shop::main", "(raised by itself), in thread"),
            (
                "abort std::sys::pal::unix::stack_overflow::imp::signal_handler shop::recurse",
                "(raised by itself) after a stack overflow, in thread",
            ),
            (
                "abort core::panicking::panic_nounwind_fmt core::panicking::panic_in_cleanup drop",
                "(raised by itself) after a panic while unwinding, in thread",
            ),
            (
                "abort core::panicking::panic_fmt core::option::unwrap_failed shop::main",
                "(raised by itself) after a panic, in thread",
            ),
        ] {
            let shown = shown_at(Some(sent(6, 4711)), functions);
            assert!(shown.contains(expected), "{shown}");
        }
    }

    #[test]
    fn the_head_tells_what_ended_the_process_where_and_when() {
        insta::assert_snapshot!(shown(Some(segv(1, 0, Some(Access::Write)))), @r"gate\u{7}way (pid 4711) was killed by SIGSEGV (null write at 0x0), in thread 4712, 2026-01-31T12:00:00Z on web-1");
        insta::assert_snapshot!(shown(None), @r"gate\u{7}way (pid 4711) was dumped alive, 2026-01-31T12:00:00Z on web-1");
    }

    #[test]
    fn what_is_not_known_is_not_made_up() {
        insta::assert_snapshot!(shown_of(nothing_known(), "main"), @"an unknown process: what ended it is not known");
    }

    #[test]
    fn a_core_file_without_tokio_says_so_if_it_is_whole() {
        let note = |has_tokio, gaps: &[&str]| {
            let core = CoreHead {
                has_tokio,
                ..nothing_known()
            };
            let gaps = gaps.iter().map(|gap| (*gap).to_owned()).collect();
            let dump = receive(vec![Reply::Core(core), Reply::End(End { gaps })]);
            lacks_tokio(&dump.unwrap()).is_some()
        };
        assert!(note(false, &[]));
        assert!(!note(true, &[]));
        assert!(!note(false, &["the core file is cut short"]));
    }

    #[test]
    fn each_signal_has_its_cause() {
        let nothing = Signal {
            number: 40,
            code: None,
            address: None,
            access: None,
            sender: None,
        };
        let divided = Signal {
            number: 8,
            ..segv(1, 0x5000, None)
        };
        for (signal, expected) in [
            (segv(1, 8, None), "SIGSEGV (null access at 0x8)"),
            (
                segv(1, 0x7000, Some(Access::Read)),
                "SIGSEGV (read at 0x7000, where nothing is mapped)",
            ),
            (
                segv(2, 0x7000, Some(Access::Execute)),
                "SIGSEGV (jump at 0x7000, which is not allowed)",
            ),
            (
                segv(SI_KERNEL, 0, None),
                "SIGSEGV (access at an address that no memory can have)",
            ),
            (sent(6, 4711), "SIGABRT (raised by itself)"),
            (sent(3, 99), "SIGQUIT (sent by process 99 of user 1000)"),
            (divided, "SIGFPE (at 0x5000)"),
            (nothing, "signal 40"),
        ] {
            let shown = shown(Some(signal));
            assert!(
                shown.contains(&format!("killed by {expected}, in thread")),
                "{shown}"
            );
        }
    }

    #[test]
    fn times_that_have_no_form_are_left_out() {
        assert_eq!(utc(0).as_deref(), Some("1970-01-01T00:00:00Z"));
        for far in [u64::MAX, 1 << 40] {
            assert_eq!(utc(far), None);
        }
    }
}
