//! Tests that the image of a stopped process equals that of its core.

mod common;

use std::ops::ControlFlow;

use common::{
    Program, Victim,
    live::{From, image, parts, said, thread},
};
use nix::sys::signal::Signal;
use rtops_image::{Contents, Core, Image, ModuleKind, Options, live::Live};

const ALL: [From; 3] = [From::Process, From::Blind, From::Kept];

fn gcore(victim: &Victim) -> Core {
    Core::open(&victim.gcore(), &Options::default()).expect("a core")
}

fn compare_modules(live: &Live, core: &Core) {
    let of_live: Vec<_> = live.modules().iter().map(said).collect();
    let of_core: Vec<_> = core.modules().iter().map(said).collect();
    assert_eq!(of_live, of_core);
    let program = live.program().expect("the program");
    let file = program.file.as_ref().expect("its file");
    let root = format!("/proc/{}/root", live.pid());
    assert!(file.path.starts_with(root), "{file:?}");
    assert!(program.tls.is_some(), "{program:?}");
    let mut kinds = live.modules().iter().map(|module| module.kind);
    assert!(kinds.any(|kind| kind == ModuleKind::Vdso));
}

/// Returns all pages that the process may have written, except for those that are zeros.
fn own(image: &dyn Image) -> Vec<(u64, Vec<u8>)> {
    let mut pages = Vec::new();
    let mut end = 0;
    image
        .for_each_chunk(&mut |start, bytes| {
            assert!(start >= end && !bytes.is_empty() && bytes.len() <= rtops_image::MAX_CHUNK);
            assert!(start.is_multiple_of(4096) && bytes.len().is_multiple_of(4096));
            end = start + bytes.len() as u64;
            let all = (start..).step_by(4096).zip(bytes.chunks(4096));
            let written = all.filter(|(_, page)| page.iter().any(|byte| *byte != 0));
            pages.extend(written.map(|(at, page)| (at, page.to_vec())));
            ControlFlow::Continue(())
        })
        .expect("all of it can be read");
    pages
}

/// Compares everything in one image with another, and counts the pages.
fn compare_known(live: &Live, core: &Core) -> usize {
    let mut equal = 0;
    let known = |region: &&rtops_image::Region| region.contents == Contents::Present;
    for region in live.regions().iter().filter(known) {
        for at in region.range.clone().step_by(4096) {
            let (mut here, mut there) = ([0xaa; 4096], [0xbb; 4096]);
            live.read(at, &mut here).expect("it is known");
            if core.read(at, &mut there).is_ok() {
                assert!(here == there, "{at:#x} in {region:?} differs");
                equal += 1;
            }
        }
    }
    equal
}

#[test]
fn a_stopped_process_is_as_in_its_core() {
    for flags in [&[][..], &["-no-pie"], &["-static"], &["-static-pie"]] {
        let program = Program::build(flags);
        let mut victim = program.start();
        let core = gcore(&victim);
        let (pid, hidden) = (victim.pid(), victim.place("hidden"));
        let stopped = victim.stop(Signal::SIGSEGV);
        for from in ALL {
            let mut parts = parts(pid, from);
            let tids = stopped.tids.iter();
            parts.threads = tids
                .map(|tid| thread(tid.as_raw(), &stopped.registers(*tid)))
                .collect();
            let live = image(parts);
            assert_eq!(live.gaps(), [], "{flags:?} {from:?}");
            compare_modules(&live, &core);
            let pages = compare_known(&live, &core);
            assert!(pages > 150, "{flags:?} {from:?}: only {pages} pages");
            let mut tids: Vec<_> = live.threads().iter().map(|thread| thread.tid).collect();
            let mut expected: Vec<_> = core.threads().iter().map(|thread| thread.tid).collect();
            tids.sort_unstable();
            expected.sort_unstable();
            assert_eq!(tids, expected);
            // A core does not have this memory, as the process requested.
            let is_hidden = |at: &u64| hidden.contains(at);
            let all = own(&live);
            let without: Vec<_> = all.iter().filter(|(at, _)| !is_hidden(at)).collect();
            assert_eq!(all.len() - without.len(), 16);
            let of_core = own(&core);
            let of_core: Vec<_> = of_core.iter().filter(|(at, _)| !is_hidden(at)).collect();
            check_same(&without, &of_core, &live);
        }
    }
}

/// Compares the pages of both. Pages of a file may be left out of one
/// of them if they are as in the file.
fn check_same(live: &[&(u64, Vec<u8>)], core: &[&(u64, Vec<u8>)], image: &Live) {
    let is_file = |at: u64| {
        let region = image.region_of(at).expect("mapped");
        matches!(region.backing, rtops_image::Backing::File { .. })
    };
    for (at, page) in core {
        let same = live.iter().find(|(have, _)| have == at);
        let is_same = same.map_or(is_file(*at), |(_, same)| same == page);
        assert!(is_same, "{at:#x} differs or is missing");
    }
    assert!(live.len() <= core.len(), "{} {}", live.len(), core.len());
    assert!(live.len() > 100, "only {} pages", live.len());
}
