//! The page of transcripts matches what the commands print, and contains all of them.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::tempdir;

/// Returns `rtops` as the tests of the workspace build it.
fn rtops() -> PathBuf {
    let xtask = Path::new(env!("CARGO_BIN_EXE_xtask"));
    let built = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "--package", "rtops", "--bin", "rtops"])
        .arg("--target-dir")
        .arg(xtask.ancestors().nth(2).unwrap())
        .status();
    assert!(built.unwrap().success());
    xtask.with_file_name("rtops")
}

fn headings(page: &str) -> Vec<&str> {
    let lines = page.lines();
    lines
        .filter(|line| line.starts_with("## `rtops "))
        .collect()
}

#[test]
fn the_page_has_a_section_with_output_for_each_command() {
    let place = tempdir().unwrap();
    let page = place.path().join("commands.md");
    let made = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .arg("transcripts")
        .arg(&page)
        .arg("--rtops")
        .arg(rtops())
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let page = fs::read_to_string(page).unwrap();

    for command in rtops::command().get_subcommands() {
        let name = command.get_name();
        let is_shown = page.contains(&format!("## `rtops {name} "))
            || page.contains(&format!("## `rtops {name}`"));
        let is_no_look = ["completions", "demo", "help"].contains(&name) || command.is_hide_set();
        assert!(is_shown || is_no_look, "{name}: {page}");
    }
    for (heading, section) in page
        .split("\n## ")
        .skip(2)
        .filter_map(|part| part.split_once('\n'))
    {
        assert!(section.lines().count() > 4, "{heading}: {section}");
    }
    let place = place.path().to_str().unwrap();
    assert!(!page.contains(place), "{page}");

    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operate/commands.md");
    let committed = fs::read_to_string(committed).unwrap();
    assert_eq!(
        headings(&committed),
        headings(&page),
        "`cargo xtask transcripts` makes it anew"
    );
}
