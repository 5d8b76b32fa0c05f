//! Completions on TAB, in real shells on a terminal.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use rtops::Shell;
use rtops_report::escape::escape;
use tempfile::{TempDir, tempdir};

use crate::{
    support::{Build, Run, Target, copy_program},
    terminal::{Size, Terminal},
};

/// Wide enough for the longest line of the tests.
const SIZE: Size = Size {
    columns: 200,
    rows: 50,
};

/// What a shell would run if it evaluated a name.
const ACT: &str = "touch${IFS}pwned";

/// How a shell gets rtops's completions.
#[derive(Clone, Copy, Debug)]
enum Known {
    /// It asks for the script when it starts.
    Asked,
    /// The script is in one of the shell's directories.
    Installed,
}

/// An installed shell.
struct Prompt {
    shell: Shell,
    program: PathBuf,
}

impl Prompt {
    fn of(shell: Shell) -> Option<Self> {
        let name = match shell {
            Shell::Bash => "bash",
            Shell::Zsh => "zsh",
            Shell::Fish => "fish",
        };
        let path = env::var_os("PATH")?;
        let program = env::split_paths(&path)
            .map(|directory| directory.join(name))
            .find(|program| program.is_file());
        if program.is_none() {
            eprintln!("skipped: there is no {name}");
        }
        Some(Self {
            shell,
            program: program?,
        })
    }

    /// Returns the installed shells; bash is required.
    fn all() -> Vec<Self> {
        assert!(Self::of(Shell::Bash).is_some());
        Shell::ALL.into_iter().filter_map(Self::of).collect()
    }

    /// Returns the line that registers the completions, if one is needed.
    fn register(&self, known: Known, home: &Path) -> Option<String> {
        let home = home.display();
        Some(match (self.shell, known) {
            (Shell::Bash, Known::Asked) => "source <(rtops completions bash)".to_owned(),
            (Shell::Bash, Known::Installed) => {
                let loader = "/usr/share/bash-completion/bash_completion";
                if !Path::new(loader).exists() {
                    eprintln!("skipped: there is no {loader}");
                    return None;
                }
                let to = format!("{home}/.local/share/bash-completion/completions");
                write_script(self.shell, Path::new(&to).join("rtops"));
                format!("source {loader}")
            }
            (Shell::Zsh, Known::Asked) => {
                "autoload -Uz compinit; compinit -u; source <(rtops completions zsh)".to_owned()
            }
            (Shell::Zsh, Known::Installed) => {
                let to = format!("{home}/functions");
                write_script(self.shell, Path::new(&to).join("_rtops"));
                format!("fpath=({to} $fpath); autoload -Uz compinit; compinit -u")
            }
            (Shell::Fish, Known::Asked) => "rtops completions fish | source".to_owned(),
            (Shell::Fish, Known::Installed) => {
                let to = format!("{home}/.config/fish/completions");
                write_script(self.shell, Path::new(&to).join("rtops.fish"));
                format!("set fish_complete_path {to}")
            }
        })
    }

    /// Starts a shell in this directory that finds this target.
    fn at(&self, directory: &Path, target: &Target, register: &str) -> Terminal {
        let rtops = Path::new(env!("CARGO_BIN_EXE_rtops")).parent().unwrap();
        let path = format!("{}:{}", rtops.display(), env::var("PATH").unwrap());
        let arguments: &[&str] = match self.shell {
            Shell::Bash => &["--norc", "--noprofile"],
            Shell::Zsh => &["-f"],
            Shell::Fish => &["--no-config"],
        };
        let mut shell = Command::new(&self.program);
        shell
            .args(arguments)
            .env("PATH", path)
            .env("HOME", target.directory())
            .env("XDG_CONFIG_HOME", target.directory().join(".config"))
            .env("RTOPS_DIR", target.directory());
        let mut terminal = Terminal::run(SIZE, &shell);
        if self.shell != Shell::Fish {
            terminal.keys("PS1='$ '\n");
        }
        terminal.keys(&format!("cd {}\n{register}\n", directory.display()));
        done(&mut terminal, "ready");
        terminal
    }
}

fn write_script(shell: Shell, to: PathBuf) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::write(to, shell.script("rtops")).unwrap();
}

/// Waits until the shell has done everything that was typed.
fn done(terminal: &mut Terminal, word: &str) {
    terminal.keys(&echo(word));
    terminal.expect(word);
}

/// Returns a command that prints a word without containing it as typed.
fn echo(word: &str) -> String {
    let (start, end) = word.split_at(1);
    format!("echo {start}''{end}\n")
}

fn completes(target: &Target, mut terminal: Terminal) {
    terminal.keys("rtops stack targ\t");
    terminal.expect_typed("rtops stack targets");
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

fn all_complete(known: Known) {
    for prompt in Prompt::all() {
        let target = Target::start(Build::Dev, &["herd", "3"]);
        if let Some(register) = prompt.register(known, target.directory()) {
            let home = target.directory().to_owned();
            let terminal = prompt.at(&home, &target, &register);
            completes(&target, terminal);
        }
    }
}

#[test]
fn shells_offer_what_runs() {
    all_complete(Known::Asked);
}

#[test]
fn installed_scripts_offer_what_runs() {
    all_complete(Known::Installed);
}

/// Returns names that do harm if a shell evaluates them, each with another first letter.
fn hostile_names() -> Vec<String> {
    [
        "a$(ACT).rtops",
        "b`ACT`",
        "c;ACT;",
        "d\nACT\n",
        "e|ACT",
        "f&ACT&",
        "g>pwned",
        "h'\";ACT",
        "i *?[x]{1,2}~",
        "j\\$(ACT)",
        "k:$(ACT):",
        "l=$(ACT)",
        "m\t;ACT",
        "n!!#%^",
        "o(ACT)",
    ]
    .map(|name| name.replace("ACT", ACT))
    .into()
}

/// Presses TAB and Enter, and waits until the result is complete. Everything is on one line,
/// because a terminal mixes what is typed meanwhile with the output.
fn enter(terminal: &mut Terminal, line: &str, number: usize) {
    let word = format!("entered{number}");
    terminal.keys(&format!("{line}\t"));
    terminal.keys(&format!("; {}", echo(&word)));
    terminal.expect(&word);
}

#[test]
fn a_file_of_any_name_is_completed_and_not_run() {
    for prompt in Prompt::all() {
        let target = Target::start(Build::Dev, &["herd", "3"]);
        let pid = target.pid;
        let files = tempdir().unwrap();
        let register = prompt.register(Known::Asked, files.path()).unwrap();
        let mut terminal = prompt.at(files.path(), &target, &register);
        let mut names = hostile_names();
        // fish never completes a name that contains a tab.
        names.retain(|name| prompt.shell != Shell::Fish || !name.contains('\t'));
        for name in &names {
            fs::write(files.path().join(name), "").unwrap();
        }
        let directory = files.path().join(format!("s$({ACT})"));
        fs::create_dir(&directory).unwrap();
        let dump = files.path().join(&names[0]);
        let mut number = 0;
        let mut enter = |line: &str| {
            number += 1;
            enter(&mut terminal, line, number);
            let pwned = files.path().join("pwned");
            assert!(!pwned.exists(), "{line}: {:#?}", terminal.lines());
            terminal.lines().join("\n")
        };
        for option in ["--save ", "--output ", "-o ", "--save=", "--output="] {
            fs::write(&dump, "").unwrap();
            let shown = enter(&format!("rtops stack {pid} {option}a"));
            let length = fs::metadata(&dump).unwrap().len();
            assert!(length > 0, "{:?} {option}: {shown}", prompt.shell);
        }
        // A file that is not a dump is named in the error.
        for (name, option) in names.iter().zip(["--from ", "--from="].into_iter().cycle()) {
            let letter = name.chars().next().unwrap();
            fs::write(files.path().join(name), "").unwrap();
            let shown = enter(&format!("rtops stack {option}{letter}"));
            let shown = shown.split_whitespace().collect::<String>();
            let said = format!("rtops: {} can't serve", escape(name));
            let said = said.split_whitespace().collect::<String>();
            assert!(shown.contains(&said), "{:?} {said}: {shown}", prompt.shell);
        }
        enter("clear");
        let dump = dump.to_str().unwrap();
        target.stack(&["--save", dump]);
        for (line, words) in [
            (format!("rtops leaks {pid} --baseline a"), "rtops leaks"),
            (
                format!("rtops leaks {pid} --for 0 --ignore-file b"),
                "rtops leaks",
            ),
            (format!("rtops stack {pid} --symbols s"), "rtops stack"),
            (format!("rtops stack {pid} --symbols=s"), "rtops stack"),
        ] {
            let shown = enter(&line);
            assert!(shown.contains(words), "{:?} {line}: {shown}", prompt.shell);
            assert!(
                !shown.contains("rtops: "),
                "{:?} {line}: {shown}",
                prompt.shell
            );
            enter("clear");
        }
        terminal.keys("exit\n");
        terminal.wait();
    }
}

/// Starts processes with hostile names. Also returns the directory of their programs.
fn hostile_targets() -> (TempDir, Vec<Target>) {
    let programs = tempdir().unwrap();
    let sockets = Arc::new(tempdir().unwrap());
    let names = ["t$(ACT)", "t`ACT`", "t;ACT;", "t\nACT\n", "4711", "-t*"];
    let start = |name: &str| {
        let program = programs.path().join(name.replace("ACT", ACT));
        copy_program(Build::Dev.path(), &program);
        Target::start_in(Arc::clone(&sockets), &program, &["herd", "1"])
    };
    let targets = names.map(start).into();
    (programs, targets)
}

#[test]
fn a_process_of_any_name_is_offered_by_its_number_only() {
    let (programs, targets) = hostile_targets();
    for prompt in Prompt::all() {
        let register = prompt.register(Known::Asked, programs.path()).unwrap();
        let place = tempdir().unwrap();
        let mut terminal = prompt.at(place.path(), &targets[0], &register);
        for (number, line) in ["", "stack ", "info t", "stack t", "trim ", "tree t"]
            .into_iter()
            .enumerate()
        {
            enter(&mut terminal, &format!("rtops {line}"), number);
            let left: Vec<_> = fs::read_dir(place.path()).unwrap().collect();
            assert!(left.is_empty(), "{line}: {left:?} {:#?}", terminal.lines());
        }
        let pid = targets[0].pid.to_string();
        terminal.keys(&format!("rtops stack {pid}\t"));
        terminal.expect_typed(&format!("rtops stack {pid}"));
        // A name that looks like the PID of another process.
        terminal.keys("\x15rtops stack 471\tx");
        terminal.expect_typed("rtops stack 471x");
        terminal.keys("\x15exit\n");
        terminal.wait();
    }
}

#[test]
fn a_script_of_an_earlier_build_inserts_nothing() {
    let mut rtops = Command::new(env!("CARGO_BIN_EXE_rtops"));
    rtops
        .args(["--", "rtops", "stack", ""])
        .envs([("RTOPS_COMPLETE", "bash"), ("_CLAP_IFS", "\u{b}")]);
    assert_eq!(Run::of(rtops).success().stdout, "");
}
