//! Source locations as links that a terminal can open.

use std::path::Path;

use crate::{
    support::{Build, Target},
    terminal::{Size, Terminal},
};

const SIZE: Size = Size {
    columns: 100,
    rows: 40,
};

/// Returns the bytes that `rtops stack` writes to a terminal.
fn written(target: &Target, options: &[&str]) -> String {
    let arguments = [
        "stack",
        "targets",
        "--tasks",
        "--no-pager",
        "--max-pause=10s",
    ];
    let rtops = target.command_line(&[&arguments, options].concat());
    let mut terminal = Terminal::run(SIZE, &rtops);
    assert!(terminal.wait().success(), "{:#?}", terminal.lines());
    terminal.written()
}

#[test]
fn places_in_files_that_are_there_are_links() {
    let target = Target::start(Build::Dev, &["herd", "3"]);
    let text = written(
        &target,
        &["--all-frames", "--hyperlink-format=editor:{path}?{line}"],
    );
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let own = root.join("crates/testbed/src/herd.rs");
    let own = format!("\x1b]8;;editor:{}?", own.display());
    assert!(text.contains(&own), "{own} in {text}");
    // For a dependency, only part of the path is shown.
    let link = text
        .split("\x1b]8;;editor:")
        .find(|link| link.contains("tokio-1"));
    let (address, shown) = link.unwrap().split_once("\x1b\\").unwrap();
    let (path, _) = address.split_once('?').unwrap();
    assert!(Path::new(path).is_file(), "{path}");
    assert!(shown.starts_with("\x1b[2mtokio-1"), "{shown}");

    for options in [
        &["--hyperlink-format=none"][..],
        &["--hyperlink-format=vscode", "--color=never"],
        &[],
    ] {
        assert!(!written(&target, options).contains("\x1b]8"), "{options:?}");
    }
    let arguments = ["--hyperlink-format=vscode", "--color=always"];
    let piped = target.stack_text(&arguments);
    assert!(
        piped.contains("\x1b[") && !piped.contains("\x1b]8"),
        "{piped}"
    );
}

#[test]
fn a_format_that_is_none_is_refused() {
    let target = Target::start(Build::Dev, &["herd", "1"]);
    let run = target.rtops(&["stack", "targets", "--hyperlink-format=vscodes"]);
    assert!(run.stderr.contains("kitty, macvim, none"), "{run}");
    run.exits(2);
}
