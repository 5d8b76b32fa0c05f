//! What shells offer on TAB, in real shells on a terminal.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    support::{Build, Target},
    terminal::{Size, Terminal},
};

const SIZE: Size = Size {
    columns: 100,
    rows: 40,
};

/// A shell that knows rtops's completions, at its prompt.
fn shell(target: &Target, program: &Path, arguments: &[&str], register: &str) -> Terminal {
    let rtops = Path::new(env!("CARGO_BIN_EXE_rtops")).parent().unwrap();
    let path = format!("{}:{}", rtops.display(), env::var("PATH").unwrap());
    let mut shell = Command::new(program);
    shell
        .args(arguments)
        .env("PATH", path)
        .env("HOME", target.directory())
        .env("RTOPS_DIR", target.directory());
    let mut terminal = Terminal::run(SIZE, &shell);
    terminal.keys(&format!("{register}\n"));
    // The word is on the line that was typed in another way.
    terminal.keys("echo re''ady\n");
    terminal.expect("ready");
    terminal
}

fn installed(shell: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|directory| directory.join(shell))
        .find(|program| program.is_file())
}

fn completes(target: &Target, mut terminal: Terminal) {
    terminal.keys("rtops stack rtops-ta\t");
    terminal.expect_typed("rtops stack rtops-targets");
    // Ctrl-U clears the line.
    terminal.keys("\x15rtops sta");
    terminal.expect_typed("rtops sta");
    terminal.keys("\t\t");
    terminal.expect("stats");
    terminal.keys(&format!("\x15rtops watch stats {}\t--ev\t", target.pid));
    terminal.expect_typed(&format!("rtops watch stats {} --every", target.pid));
    terminal.keys("\x15exit\n");
    terminal.wait();
}

#[test]
fn bash_offers_what_runs() {
    let target = Target::start(Build::Dev, &["herd", "3"]);
    let bash = installed("bash").expect("bash is there");
    let register = "PS1='$ '; source <(RTOPS_COMPLETE=bash rtops)";
    let terminal = shell(&target, &bash, &["--norc", "--noprofile"], register);
    completes(&target, terminal);
}

#[test]
fn zsh_offers_what_runs() {
    let Some(zsh) = installed("zsh") else { return };
    let target = Target::start(Build::Dev, &["herd", "3"]);
    let register =
        "PS1='$ '; autoload -Uz compinit; compinit -u; source <(RTOPS_COMPLETE=zsh rtops)";
    completes(&target, shell(&target, &zsh, &["-f"], register));
}

#[test]
fn fish_offers_what_runs() {
    let Some(fish) = installed("fish") else {
        return;
    };
    let target = Target::start(Build::Dev, &["herd", "3"]);
    let register = "RTOPS_COMPLETE=fish rtops | source";
    completes(&target, shell(&target, &fish, &["--no-config"], register));
}
