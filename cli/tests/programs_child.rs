//! The process that reads programs: it reports what they contain, and if it fails,
//! only what it had not yet reported is lost.
#![allow(clippy::unwrap_used)]

#[path = "common/symbols.rs"]
#[allow(dead_code, reason = "some of it is for the other tests")]
mod symbols;

use std::{
    fs::File,
    path::PathBuf,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use rtops_binary::{Built, Details, child};
use symbols::{Reader, SOON};

fn reader(program: PathBuf) -> child::Reader {
    child::Reader::new(Some(program), SOON)
}

fn own() -> File {
    File::open(env!("CARGO_BIN_EXE_rtops")).unwrap()
}

#[test]
fn what_it_tells_is_what_is_read_here() {
    let mut reader = reader(env!("CARGO_BIN_EXE_rtops").into());
    let built = reader.built(&own());
    assert!(built.is_some());
    assert_eq!(built, Built::read(&own()).unwrap());
    let details = reader.details(&own()).unwrap();
    assert_eq!(
        format!("{details:?}"),
        format!("{:?}", Details::read(&own()).unwrap())
    );
    // A file that is not a program counts as one of another language, not as a failure.
    let text = File::open("Cargo.toml").unwrap();
    assert_eq!(reader.built(&text), None);
    assert_eq!(
        reader.details(&text).unwrap_err(),
        "it is no 64-bit ELF file"
    );
    assert_eq!(reader.failure(), None);
}

#[test]
fn one_that_fails_is_said_and_the_next_program_is_read_by_another() {
    for (first, expected) in [
        (
            "kill -SEGV $$",
            "the process that reads programs crashed (SIGSEGV)",
        ),
        ("exit 0", "the process that reads programs ended early"),
        (
            "echo nonsense, as long as a header >&0; exec sleep 1000",
            "the process that reads programs told what makes no sense",
        ),
    ] {
        // The first process leaves a mark that tells the next one that it is not the first.
        let script = Reader::script(&format!(
            "[ -e $0.again ] && exec {} \"$@\"; : > $0.again; {first}",
            env!("CARGO_BIN_EXE_rtops"),
        ));
        let mut reader = reader(script.path());
        assert_eq!(reader.built(&own()), None, "{first}");
        let failure = reader.failure().unwrap().to_owned();
        assert!(failure.starts_with(expected), "{failure}");
        assert!(reader.built(&own()).is_some(), "{first}");
        // Data is missing from this look, but from the next one nothing.
        assert_eq!(reader.failure(), Some(failure.as_str()));
        reader.renew();
        assert_eq!(reader.failure(), None);
    }
}

#[test]
fn one_that_hangs_is_given_up_and_ended() {
    let program = Reader::new();
    let mut hanging = child::Reader::new(Some(program.path()), Duration::from_secs(4));
    assert!(hanging.built(&own()).is_some());
    program.signal(Signal::SIGSTOP);
    let begin = Instant::now();
    let error = hanging.details(&own()).unwrap_err();
    assert!(
        error.contains("was not done within 4s; try a longer --timeout"),
        "{error}"
    );
    assert!(begin.elapsed() < SOON);
    assert_eq!(program.process(), None);
}
