//! Without a former handler, traps of others do what they would have done without us.
#![allow(clippy::unwrap_used)]
#![expect(unsafe_code, reason = "traps and signals")]

mod common;

use std::arch::asm;

use common::{in_child, role, stepper, still_works};

fn ignore() {
    // SAFETY: ignoring a signal has no preconditions.
    unsafe { libc::signal(libc::SIGTRAP, libc::SIG_IGN) };
}

fn raise() {
    // SAFETY: raise has no preconditions.
    unsafe { libc::raise(libc::SIGTRAP) };
}

fn breakpoint() {
    // SAFETY: it ends the process, or doesn't.
    unsafe { asm!("int3") };
}

fn trap_flag() {
    // SAFETY: it ends the process, or doesn't.
    unsafe { asm!("pushfq", "or qword ptr [rsp], 0x100", "popfq") };
}

#[test]
fn a_foreign_trap_has_its_former_effect() {
    type Trap = (&'static str, fn(), fn(), Option<i32>);
    let traps: [Trap; 5] = [
        // What a step left behind in registers that were saved meanwhile.
        ("stale flag", || {}, trap_flag, None),
        ("default raise", || {}, raise, Some(libc::SIGTRAP)),
        ("default int3", || {}, breakpoint, Some(libc::SIGTRAP)),
        ("ignored raise", ignore, raise, None),
        ("ignored int3", ignore, breakpoint, Some(libc::SIGTRAP)),
    ];
    let role = role();
    for (name, prepare, trap, ends_by) in traps {
        match role.as_deref() {
            None => {
                for with_us in ["without", "with", "inside"] {
                    let role = format!("{name} {with_us}");
                    let ends_by = match role.as_str() {
                        "stale flag without" => Some(libc::SIGTRAP),
                        _ => ends_by,
                    };
                    assert_eq!(in_child(&role), ends_by, "{role}");
                }
            }
            Some(role) if role.starts_with(name) => {
                prepare();
                if role.ends_with("without") {
                    return trap();
                }
                let stepper = stepper();
                still_works(&stepper);
                if role.ends_with("inside") {
                    assert_eq!(stepper.step(7, trap).1, Ok(()));
                } else {
                    trap();
                }
                return;
            }
            Some(_) => {}
        }
    }
}
