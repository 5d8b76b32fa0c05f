//! A look from outside changes nothing in the process, whatever the polls of its tasks
//! would do, and its copy does not outlive it.

use nix::sys::signal::Signal;

use crate::{
    load::Load,
    support::{Build, eventually},
    watched::{HOSTILE, Watched, expect_neighbours},
};

#[test]
fn dumps_under_load_change_nothing_in_a_release_build() {
    expect_nothing_changes(Build::Release, 8);
}

#[test]
fn dumps_under_load_change_nothing_with_jemalloc() {
    expect_nothing_changes(Build::Jemalloc, 2);
}

fn expect_nothing_changes(build: Build, dumps: usize) {
    let watched = Watched::start(build, "all");
    let load = Load::start(&watched.target);
    load.expect_progress();
    // The first dump leaves memory of the allocator behind, which the following ones use again.
    watched.dump();
    watched.expect_no_copy();
    let before = watched.facts();
    for _ in 0..dumps {
        expect_neighbours(&watched.dump());
        watched.expect_no_copy();
        load.expect_progress();
        watched.target.expect_progress();
        watched.expect(&before);
    }
    watched.expect_pokes_to_be_counted(before);
    assert!(load.stop() > 0);
    assert_eq!(watched.target.log(), "");
}

#[test]
fn no_hostile_poll_reaches_the_process() {
    for kind in HOSTILE {
        let watched = Watched::start(Build::Release, kind);
        watched.dump();
        let before = watched.facts();
        expect_neighbours(&watched.dump());
        watched.expect_no_copy();
        watched.target.expect_progress();
        watched.expect(&before);
        assert_eq!(watched.target.log(), "", "{kind}");
    }
}

#[test]
fn children_of_the_process_itself_end_as_they_did() {
    let watched = Watched::start(Build::Release, "all");
    let mut ended = 0;
    for _ in 0..2 {
        let mut dump = watched.start_dump();
        // At least one child, and as many as there is time for.
        loop {
            assert_eq!(watched.target.command("child"), "exit status: 7");
            ended += 1;
            if dump.try_wait().unwrap().is_some() {
                break;
            }
        }
        watched.expect_no_copy();
    }
    let state = watched.state();
    assert_eq!((state["children"], state["signals"]), (ended, ended));
}

#[test]
fn a_copy_is_gone_soon_after_its_process() {
    for kind in ["none", "endless", "sleep"] {
        let mut watched = Watched::start(Build::Release, kind);
        let mut dump = watched.dump_in_the_middle();
        watched.target.signal(Signal::SIGKILL);
        watched.target.wait();
        eventually("the copy is gone, too", || watched.copies().is_empty());
        eventually("the client notices", || dump.try_wait().unwrap().is_some());
    }
}

#[test]
fn a_copy_is_gone_soon_after_the_client_for_whom_it_was_made() {
    for kind in ["none", "endless", "sleep"] {
        let watched = Watched::start(Build::Release, kind);
        watched.dump();
        let before = watched.facts();
        let mut dump = watched.dump_in_the_middle();
        dump.kill().unwrap();
        dump.wait().unwrap();
        eventually("the copy is gone, too", || watched.copies().is_empty());
        watched.expect(&before);
        expect_neighbours(&watched.dump());
        watched.target.expect_progress();
    }
}
