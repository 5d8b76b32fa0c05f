//! What a dump can say of a program by its profile: the table in `docs/operate/outside.md`.
#![allow(clippy::unwrap_used)]

#[path = "common/target.rs"]
mod target;

use std::path::Path;

use rtops_symbols::{Frame, Function, LackReason, ModuleKind, display_name};
use target::Target;

/// An async fn that is inlined into another, and a future that prints where it is polled from.
const CONN: &str = r#"use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

pub async fn accept() {
    serve().await;
}

async fn serve() {
    Request.await;
}

struct Request;

impl Future for Request {
    type Output = ();

    #[inline(never)]
    fn poll(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<()> {
        let address: u64;
        // SAFETY: reads the return address of a frame that has a frame pointer.
        unsafe { std::arch::asm!("mov {}, [rbp + 8]", out(reg) address) };
        println!("{}", std::hint::black_box(address));
        Poll::Pending
    }
}
"#;
const MAIN: &str = r#"mod conn;

use std::{future::Future, pin::Pin, task::{Context, Waker}};

fn main() {
    let mut future: Pin<Box<dyn Future<Output = ()>>> = Box::pin(conn::accept());
    let mut context = Context::from_waker(Waker::noop());
    assert!(std::hint::black_box(&mut future).as_mut().poll(&mut context).is_pending());
    std::io::stdin().read_line(&mut String::new()).unwrap();
}
"#;
/// What stands for any offset in the table.
const OFFSET: &str = "0x7a3c10";

/// The innermost frame of a program of this profile, as it is shown, and what is said of it.
fn shown(flags: &[&str]) -> (String, Vec<LackReason>) {
    let sources = [("src/conn.rs", CONN), ("src/main.rs", MAIN)];
    let target = Target::start("gateway", &sources, flags);
    let module = target.module(ModuleKind::MainExecutable);
    let (frames, lacks) = target.frames(module, target.options());
    (text(&frames[0]), lacks)
}

fn text(frame: &Frame) -> String {
    let name = match &frame.function {
        Function::Named(name) => display_name(name),
        Function::ModuleOffset { module, .. } => format!("{module}+{OFFSET}"),
        Function::Unmapped(address) => panic!("{address:#x}"),
    };
    match &frame.location {
        Some(place) => {
            let column = place.column.unwrap();
            format!("`{name}  {}:{}:{column}`", place.file, place.line)
        }
        None => format!("`{name}`"),
    }
}

#[test]
fn the_table_of_profiles_is_true() {
    let own = || [String::from("gateway")].into();
    let mut table = Vec::new();
    for (profile, flags, note, lack) in [
        ("`debug = \"limited\"`", "-Cdebuginfo=limited", "", None),
        (
            "`debug = \"line-tables-only\"`",
            "-Cdebuginfo=line-tables-only",
            ", where an `async fn` is inlined",
            Some(LackReason::NoInlinedNames(own())),
        ),
        (
            "`debug = 0`",
            "-Cdebuginfo=0",
            ", the outermost of the functions inlined there",
            Some(LackReason::NoLineTables(own())),
        ),
        (
            "stripped",
            "-Cstrip=symbols",
            "; `--symbols DIR` finds the file with the same build-id below it, whatever its name is",
            Some(LackReason::Stripped),
        ),
    ] {
        let (text, lacks) = shown(&[flags]);
        assert_eq!(lacks, lack.into_iter().collect::<Vec<_>>(), "{profile}");
        table.push(format!("| {profile} | {text}{note} |\n"));
    }
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operate/outside.md");
    let page = std::fs::read_to_string(page).unwrap();
    let table = table.concat();
    assert!(page.contains(&table), "{table}");
}
