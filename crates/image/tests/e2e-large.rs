//! Tests that a large image costs little memory. This is a separate test program, because the peak
//! is that of the whole process.

mod common;

use std::{
    fs,
    ops::{ControlFlow, Range},
    process::Command,
};

use common::{
    Program,
    live::{From, image, parts},
    no_kernel_core,
};
use rtops_image::{Core, Image, Options};

const SIZE: u64 = 1500 << 20;

#[test]
fn a_large_image_costs_little_memory() {
    let program = Program::build(&[]);
    let victim = program.start_with(&[&SIZE.to_string()]);
    let sparse = victim.place("sparse");
    // It writes nothing more.
    look_at(&image(parts(victim.pid(), From::Process)), &sparse);
    let Some(path) = victim.die('s') else {
        return no_kernel_core();
    };
    assert!(fs::metadata(&path).expect("the core").len() > SIZE);
    let packed = path.with_extension("zst");
    let status = Command::new("zstd")
        .args(["-q", "-1"])
        .arg(&path)
        .arg("-o")
        .arg(&packed)
        .status();
    assert!(status.expect("this test needs zstd: install it").success());
    for path in [path, packed] {
        let core = Core::open(&path, &Options::default()).expect("a core");
        look_at(&core, &sparse);
    }
}

fn look_at(image: &dyn Image, sparse: &Range<u64>) {
    let mut pages = 0;
    image
        .for_each_chunk(&mut |start, bytes| {
            for (index, page) in bytes.chunks(4096).enumerate() {
                let at = (start + 4096 * index as u64).wrapping_sub(sparse.start);
                if at < SIZE && at.is_multiple_of(1 << 20) {
                    assert_eq!(page[..8], (at + 1).to_le_bytes());
                    pages += 1;
                }
            }
            ControlFlow::Continue(())
        })
        .expect("all of it");
    assert_eq!(pages, SIZE >> 20);
    let peak = peak();
    assert!(peak < 32 << 20, "{peak} bytes");
}

/// Returns the peak memory of this process, in bytes.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .expect("a peak");
    let number = line
        .trim()
        .trim_end_matches(" kB")
        .parse::<u64>()
        .expect("a number");
    number << 10
}
