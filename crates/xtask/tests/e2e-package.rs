//! What `cargo xtask` produces, unpacked and run.
#![allow(clippy::unwrap_used)]

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use flate2::read::GzDecoder;
use serde_json::Value;
use tar::Archive;
use tempfile::tempdir;

fn xtask(arguments: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:#?}");
    output
}

/// Collects this command and every one below it, with the words it is called by.
fn commands(command: &clap::Command, words: &str, found: &mut Vec<(String, clap::Command)>) {
    found.push((words.to_owned(), command.clone()));
    for below in command.get_subcommands().filter(|c| c.get_name() != "help") {
        commands(below, &format!("{words}-{}", below.get_name()), found);
    }
}

#[test]
fn every_command_has_a_page_with_all_its_options() {
    let directory = tempdir().unwrap();
    xtask(&["man", directory.path().to_str().unwrap()]);
    let mut command = rtops::command();
    command.build();
    let mut found = Vec::new();
    commands(&command, "rtops", &mut found);
    assert!(found.len() > 8);
    let pages = fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(pages, found.len());
    for (name, command) in found {
        let page = fs::read_to_string(directory.path().join(format!("{name}.1"))).unwrap();
        let page = page.replace("\\*(Aq", "'").replace('\\', "");
        assert!(page.contains(&format!("{name} - ")), "{page}");
        // The help of --help depends on who shows it.
        let shown = |a: &&clap::Arg| !a.is_hide_set() && a.get_id() != "help";
        for argument in command.get_arguments().filter(shown) {
            let help = argument.get_help().unwrap().to_string();
            assert!(
                page.contains(help.lines().next().unwrap()),
                "{name}: {help}"
            );
        }
        let text = command.get_after_long_help().map(ToString::to_string);
        for line in text.iter().flat_map(|text| text.lines()) {
            let title = line.strip_suffix(':').map(str::to_uppercase);
            let line = title.as_deref().unwrap_or(line).trim_start();
            assert!(page.contains(line), "{name}: {line}");
        }
    }
}

#[test]
fn the_scripts_are_what_rtops_itself_says() {
    let directory = tempdir().unwrap();
    xtask(&["completions", directory.path().to_str().unwrap()]);
    for name in ["rtops.bash", "_rtops", "rtops.fish"] {
        let script = fs::read_to_string(directory.path().join(name)).unwrap();
        assert!(script.contains("RTOPS_COMPLETE="), "{script}");
        assert!(!script.contains("/rtops"), "{script}");
    }
    let sourced = Command::new("bash")
        .args(["-c", "source ./rtops.bash && complete -p rtops"])
        .current_dir(directory.path())
        .output()
        .unwrap();
    assert!(sourced.status.success(), "{sourced:#?}");
}

#[test]
fn the_archive_unpacks_and_its_program_runs() {
    let directory = tempdir().unwrap();
    let out = directory.path().to_str().unwrap();
    let version = Command::new("rustc").arg("-vV").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.unwrap();
    let made = xtask(&["dist", "--profile", "dev", "--target", host, "--out", out]);
    let archive = PathBuf::from(String::from_utf8(made.stdout).unwrap().trim_end());
    assert_eq!(archive.parent(), Some(directory.path()));
    let name = archive.file_name().unwrap().to_str().unwrap();
    let name = name.strip_suffix(".tar.gz").unwrap();
    let version = env!("CARGO_PKG_VERSION");
    assert!(
        name.starts_with(&format!("rtops-{version}-")) && name.contains("linux"),
        "{name}"
    );

    the_sums_are_right_in(directory.path(), name);
    the_parts_are_in(&directory.path().join(format!("{name}.cdx.json")));
    nothing_of_this_machine_is_in(&archive);
    let unpacked = directory.path().join("unpacked");
    open(&archive).unpack(&unpacked).unwrap();
    let package = unpacked.join(name);
    for file in [
        "README.md",
        "CHANGELOG.md",
        "LICENSE-APACHE",
        "LICENSE-MIT",
        "docs/operate/install.md",
        "docs/operate/json.md",
        "man/rtops.1",
        "man/rtops-stack.1",
        "completions/rtops.bash",
        "completions/_rtops",
        "completions/rtops.fish",
    ] {
        assert!(package.join(file).metadata().unwrap().len() > 0, "{file}");
    }
    let run = Command::new(package.join("rtops"))
        .arg("--version")
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8(run.stdout).unwrap(),
        format!("rtops {version}\n")
    );
}

fn the_sums_are_right_in(directory: &Path, name: &str) {
    let sums = fs::read_to_string(directory.join("SHA256SUMS")).unwrap();
    assert!(sums.contains(&format!("{name}.tar.gz")), "{sums}");
    assert!(sums.contains(&format!("{name}.cdx.json")), "{sums}");
    let mut check = Command::new("sha256sum");
    check
        .args(["--check", "--strict", "SHA256SUMS"])
        .current_dir(directory);
    assert!(check.output().unwrap().status.success(), "{sums}");
}

fn the_parts_are_in(list: &Path) {
    let list: Value = serde_json::from_slice(&fs::read(list).unwrap()).unwrap();
    assert_eq!(list["bomFormat"], "CycloneDX");
    assert_eq!(list["metadata"]["component"]["name"], "rtops");
    let parts = list["components"].as_array().unwrap();
    let part = |name: &str| parts.iter().find(|part| part["name"] == name);
    assert!(part("rtops-protocol").is_some());
    let clap = part("clap").unwrap();
    assert_eq!(clap["licenses"][0]["expression"], "MIT OR Apache-2.0");
    // A dependency of the tests, but not of the program.
    assert!(part("insta").is_none());
    // Nothing refers to what is not in the list.
    let known = |reference: &Value| {
        let program = &list["metadata"]["component"]["bom-ref"];
        reference == program || parts.iter().any(|part| part["bom-ref"] == *reference)
    };
    for dependency in list["dependencies"].as_array().unwrap() {
        assert!(known(&dependency["ref"]), "{dependency}");
        let needed = dependency["dependsOn"].as_array().unwrap();
        assert!(needed.iter().all(known), "{dependency}");
    }
}

fn open(archive: &Path) -> Archive<GzDecoder<File>> {
    Archive::new(GzDecoder::new(File::open(archive).unwrap()))
}

/// Checks for names, contents and whether each is a program, in a fixed order, and nothing else.
fn nothing_of_this_machine_is_in(archive: &Path) {
    let mut names = Vec::new();
    for entry in open(archive).entries().unwrap() {
        let entry = entry.unwrap();
        let header = entry.header();
        assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
        assert_eq!(header.mtime().unwrap(), 946_684_800);
        let name = entry.path().unwrap().into_owned();
        let program = header.entry_type().is_dir() || name.ends_with("rtops");
        let mode = if program { 0o755 } else { 0o644 };
        assert_eq!(header.mode().unwrap(), mode, "{}", name.display());
        names.push(name);
    }
    assert!(names.is_sorted(), "{names:#?}");
    let gzip = fs::read(archive).unwrap();
    // The gzip header has no name and no time.
    assert_eq!(gzip[3..8], [0; 5]);
}
