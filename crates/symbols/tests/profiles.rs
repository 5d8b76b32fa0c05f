//! What a dump can say about a program, by its profile: the table in `docs/operate/outside.md`.
#![allow(clippy::unwrap_used)]

#[path = "common/target.rs"]
mod target;

use std::path::Path;

use rtops_symbols::{Function, LackReason, ModuleKind, Symbol, display_name};
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
/// Keeps a copy of that `async fn` that is called.
const SPARE: &str = r#"
pub fn spare() -> Pin<Box<dyn Future<Output = ()>>> {
    Box::pin(serve())
}
"#;
/// Replaces any offset in the table.
const OFFSET: &str = "0x7a3c10";

/// Returns the innermost frame of a program with this profile, as it is shown, and what is lacking.
fn shown(flags: &[&str]) -> (String, Vec<LackReason>) {
    shown_of(CONN, MAIN, flags)
}

fn shown_of(conn: &str, main: &str, flags: &[&str]) -> (String, Vec<LackReason>) {
    let sources = [("src/conn.rs", conn), ("src/main.rs", main)];
    let target = Target::start("gateway", &sources, flags);
    let module = target.module(ModuleKind::MainExecutable);
    let (frames, lacks) = target.frames(module, target.options());
    (text(&frames[0]), lacks)
}

fn text(frame: &Symbol) -> String {
    let name = match &frame.function {
        Function::Named(name) => display_name(name),
        Function::ModuleOffset { module, .. } => format!("{module}+{OFFSET}"),
        Function::Unmapped(address) => panic!("{address:#x}"),
    };
    match &frame.place {
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
            ", where an `async fn` is inlined and no copy of it is called",
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

#[test]
fn what_is_inlined_has_the_name_of_the_copy_that_is_called() {
    let flags = ["-Cdebuginfo=line-tables-only"];
    let conn = format!("{CONN}{SPARE}");
    let main = MAIN.replace(
        "let mut future",
        "drop(std::hint::black_box(conn::spare()));\n    let mut future",
    );
    let named = "`gateway::conn::serve  src/conn.rs:12:13`".to_owned();
    assert_eq!(shown_of(&conn, &main, &flags), (named, Vec::new()));

    // A macro makes two of them on one line, and nothing tells which of the two it is.
    let twins = conn.replace(
        "async fn serve() {\n    Request.await;\n}",
        "macro_rules! request { ($($name:ident $number:literal)*) => {
            $(async fn $name() { std::hint::black_box($number); Request.await; })*
        } }
        request! { serve 1 twin 2 }",
    );
    let twins = twins.replace(
        "Box::pin(serve())",
        "let twin: Pin<Box<dyn Future<Output = ()>>> = Box::pin(twin());
        drop(std::hint::black_box(twin));
        Box::pin(serve())",
    );
    let (shown, lacks) = shown_of(&twins, &main, &flags);
    let nameless = "`gateway::conn::{async fn}  src/conn.rs:12:";
    assert!(shown.starts_with(nameless), "{shown}");
    assert_eq!(lacks.len(), 1);
}
