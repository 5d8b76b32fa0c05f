//! Dumps that are saved, shown elsewhere, and compared with later ones.

use std::{collections::BTreeSet, fs, path::Path, process::Command, sync::Arc};

use rtops_protocol::Reply;
use tempfile::tempdir;

use crate::{
    reply::Stack,
    support::{Build, Target, rtops},
};

const RTOPS: &str = env!("CARGO_BIN_EXE_rtops");

fn saved(target: &Target, file: &Path) -> Stack {
    target.stack(&["--save", file.to_str().unwrap()])
}

fn from(file: &Path, arguments: &[&str]) -> Stack {
    let file = ["--from", file.to_str().unwrap()];
    let run = rtops(None, &[&["stack", "--json"], &file[..], arguments].concat());
    run.success().json()
}

/// Returns the data of each group of tasks in a dump, without addresses.
fn groups(stack: &Stack) -> Vec<String> {
    let mut groups: Vec<String> = stack
        .task_groups()
        .iter()
        .map(|group| {
            let frames = group.stacks.iter().flat_map(|chain| &chain.frames);
            let frames: Vec<_> = frames.map(|frame| (&frame.name, frame.line)).collect();
            format!(
                "{} {:?} {:?} {frames:?}",
                group.count, group.name, group.waits
            )
        })
        .collect();
    groups.sort_unstable();
    groups
}

#[test]
fn a_saved_dump_shows_the_same_where_the_process_is_gone() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("dump");
    let program = folder.path().join("program");
    fs::copy(Build::Dev.path(), &program).unwrap();
    let directory = Arc::new(tempdir().unwrap());
    let target = Target::start_in(directory, &program, &["awaits", "multi"]);
    let live = saved(&target, &file);
    drop(target);
    // On the same machine, the program is found at its path.
    assert_eq!(groups(&from(&file, &[])), groups(&live));
    let elsewhere = tempdir().unwrap();
    fs::rename(&program, elsewhere.path().join("program")).unwrap();
    let symbols = elsewhere.path().to_str().unwrap();
    assert_eq!(groups(&from(&file, &["--symbols", symbols])), groups(&live));
    // Without the program's symbols, only addresses are shown, and the reason is given.
    let bare = from(&file, &[]);
    assert!(bare.complete);
    let says_how = |lack: &String| lack.contains("not here; give a directory");
    assert!(bare.lacks.iter().any(says_how), "{:?}", bare.lacks);
    // The location of a spawn needs no symbols.
    assert!(bare.group("sleep").site.is_some());
    let names: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(names.len(), 1, "{names:?}");
}

#[test]
fn a_saved_dump_says_how_often_each_thread_ran() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("dump");
    let target = Target::start(Build::Dev, &["herd", "3"]);
    let live = saved(&target, &file);
    let saved = fs::read(&file).unwrap();
    let mut rest = saved.as_slice();
    let mut ran = BTreeSet::new();
    while !rest.is_empty() {
        if let Reply::Threads(threads) = Reply::receive(&mut rest).unwrap() {
            let runs = threads.iter().filter(|thread| thread.timeslices > Some(0));
            ran.extend(runs.map(|thread| thread.tid));
        }
    }
    let groups = live.thread_groups().iter();
    let mut tids = groups
        .flat_map(|group| &group.threads)
        .map(|thread| thread.tid);
    assert!(tids.all(|tid| ran.contains(&tid)), "{ran:?}");
}

#[test]
fn what_is_no_saved_dump_is_refused_with_the_way_out() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("dump");
    let target = Target::start(Build::Dev, &["herd", "3"]);
    saved(&target, &file);
    let whole = fs::read(&file).unwrap();
    let bad: [&[u8]; 4] = [
        b"",
        b"no dump",
        &whole[12..],
        &[&whole[..40], &[0xff; 400]].concat(),
    ];
    for bytes in bad {
        fs::write(&file, bytes).unwrap();
        for command in ["stack", "leaks"] {
            let run = rtops(None, &[command, "--from", file.to_str().unwrap()]).exits(1);
            assert!(
                run.stderr.contains("rtops stack TARGET --save FILE"),
                "{run}"
            );
            assert!(!run.stderr.contains("peer"), "{run}");
        }
    }
    let json = target.rtops(&["stack", "targets", "--json", "-o", file.to_str().unwrap()]);
    json.success();
    let run = rtops(None, &["stack", "--from", file.to_str().unwrap()]).exits(1);
    assert!(run.stderr.contains("what `--json` prints"), "{run}");
    // A dump that was cut short is shown as incomplete.
    fs::write(&file, &whole[..whole.len() - 1]).unwrap();
    let run = rtops(None, &["stack", "--from", file.to_str().unwrap()]).exits(6);
    assert!(run.stdout.contains("incomplete: "), "{run}");
    let run = target.rtops(&[
        "stack",
        &target.pid.to_string(),
        "--save",
        "/nowhere/at/all",
    ]);
    assert!(run.exits(1).stderr.contains("can't create"));
}

#[test]
fn a_baseline_must_be_of_the_same_process() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("dump");
    let file = file.to_str().unwrap();
    let target = Target::start(Build::Dev, &["herd", "3"]);
    let other = target.start_beside(Build::Dev, &["herd", "3"]);
    saved(&other, Path::new(file));
    let leaks = |pid: i32| target.rtops(&["leaks", &pid.to_string(), "--baseline", file]);
    leaks(other.pid).success();
    let run = leaks(target.pid).exits(1);
    assert!(run.stderr.contains("save a new one"), "{run}");
}

#[test]
fn a_dump_goes_through_a_pipe() {
    let target = Target::start(Build::Dev, &["herd", "3"]);
    let folder = tempdir().unwrap();
    let text = folder.path().join("text");
    // With `-o`, the text goes to a file.
    for text_to in [String::new(), format!("-o {}", text.display())] {
        let script = format!(
            "RTOPS_DIR={} {RTOPS} stack {} --save - {text_to} --timeout 60s | {RTOPS} stack --from - --json",
            target.directory().display(),
            target.pid,
        );
        let piped = Command::new("sh").args(["-c", &script]).output().unwrap();
        assert!(piped.status.success(), "{piped:?}");
        let piped: Stack = serde_json::from_slice(&piped.stdout).unwrap();
        assert_eq!(groups(&piped), groups(&target.stack(&[])));
    }
    assert!(fs::read_to_string(&text).unwrap().contains("3 tasks"));
}

#[test]
fn a_dump_for_which_the_agent_is_asked_twice_goes_through_a_pipe_once() {
    let target = Target::start(Build::Dev, &["smol"]);
    let script = format!(
        "RTOPS_DIR={} {RTOPS} stack {} --tasks --save - --timeout 60s",
        target.directory().display(),
        target.pid,
    );
    let piped = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert!(piped.status.success(), "{piped:?}");
    let mut rest = piped.stdout.as_slice();
    let mut heads = 0;
    while !rest.is_empty() {
        heads += usize::from(matches!(
            Reply::receive(&mut rest).unwrap(),
            Reply::Saved(_)
        ));
    }
    assert_eq!(heads, 1);
}
