//! `rtops memstats` and `rtops trim`.

use std::thread;

use nix::sys::signal::Signal;

use crate::{
    memstats::{MIB, Memstats, Side},
    support::{Build, Target, rtops},
};

#[test]
fn the_kernel_and_glibc_tell_of_the_same_process() {
    let target = Target::start(Build::Dev, &["memory"]);
    let before = target.memstats(&[]);
    assert_eq!(
        (before.process.pid, &*before.process.name),
        (target.pid, "targets")
    );
    let memory = &before.memory;
    assert_eq!(memory.missing, None);
    assert_eq!(
        memory.private_bytes.unwrap() + memory.shared_bytes.unwrap(),
        memory.rss_bytes
    );
    assert!(memory.pss_bytes.unwrap() <= memory.rss_bytes, "{memory:#?}");
    assert!(memory.anonymous_bytes > 0 && memory.file_bytes > 0);
    assert!(before.counted.is_none() && before.watched_seconds.is_none());
    let names: Vec<&str> = before
        .heap()
        .allocators
        .iter()
        .map(|one| &*one.name)
        .collect();
    assert_eq!(names, ["glibc malloc"]);

    // Mapped separately and never touched: in use, but not resident.
    target.told("hold 100 1000000");
    let after = target.memstats(&[]);
    let grown = after.heap().in_use_bytes.unwrap() - before.heap().in_use_bytes.unwrap();
    assert!((100_000_000..110_000_000).contains(&grown), "{grown}");
    assert!(
        after.memory.rss_bytes < memory.rss_bytes + 50 * MIB,
        "{after:#?}"
    );
    // Small blocks that are written to are resident, and most are freed again.
    target.told("fragment 64");
    let after = target.memstats(&[]);
    assert!(
        after.memory.rss_bytes > memory.rss_bytes + 60 * MIB,
        "{after:#?}"
    );
    assert!(after.memory.peak_rss_bytes >= after.memory.rss_bytes - MIB);
    let heap = after.heap().allocator("glibc malloc");
    assert!(heap.kept_bytes.unwrap() > 55 * MIB, "{heap:#?}");
    assert_eq!(
        heap.held_bytes.unwrap(),
        heap.in_use_bytes.unwrap() + heap.kept_bytes.unwrap()
    );
    let units: Vec<_> = heap
        .figures
        .iter()
        .map(|figure| (&*figure.name, &*figure.unit))
        .collect();
    assert!(units.contains(&("free pieces", "count")), "{units:?}");
}

#[test]
fn text_and_json_say_the_same() {
    let target = Target::start(Build::Dev, &["memory"]);
    target.told("fragment 64");
    target.told("hold 3 50000000");
    let json = target.memstats(&[]);
    let text = target.memstats_run(&[]).success().stdout;
    let first = text.lines().next().unwrap();
    let title = format!("targets (pid {}), up ", target.pid);
    assert!(
        first.starts_with(&title) && first.contains("rtops-agent"),
        "{text}"
    );
    // Rounded to megabytes, which no client of the agent changes.
    let megabytes = |bytes: u64| format!("{} MB", bytes / 1_000_000);
    let glance = format!(
        "in use {}, free but kept {} (not all of it in memory), of RSS ",
        megabytes(json.heap().in_use_bytes.unwrap()),
        megabytes(json.heap().kept_bytes.unwrap()),
    );
    assert!(
        text.lines().any(|line| line.starts_with(&glance)),
        "{glance}: {text}"
    );
    for section in ["process", "heap of glibc malloc"] {
        assert!(text.lines().any(|line| line == section), "{text}");
    }
    for key in ["RSS", "PSS", "anonymous", "files", "swap", "in use", "held"] {
        let indented = format!("  {key} ");
        assert!(
            text.lines().any(|line| line.starts_with(&indented)),
            "{text}"
        );
    }
}

#[test]
fn blocks_are_counted_by_size() {
    let target = Target::start(Build::Counting, &["memory"]);
    let before = target.memstats(&["--for=0"]);
    assert_eq!(before.watched_seconds, None);
    target.told("hold 100 300000");
    target.told("hold 7 5000000");
    target.told("turn 30 40000000");
    let after = target.memstats(&["--for=0"]);
    let size = |up_to| {
        let (before, after) = (before.class(up_to), after.class(up_to));
        (
            after.live_blocks - before.live_blocks,
            after.live_bytes - before.live_bytes,
            after.blocks - before.blocks,
        )
    };
    assert_eq!(size(512 << 10), (100, 30_000_000, 100));
    assert_eq!(size(8 << 20), (7, 35_000_000, 7));
    assert_eq!(size(64 << 20), (0, 0, 30));
    let counted = after.counted();
    assert!(
        counted.live_bytes > 65_000_000 && counted.live_bytes < 75_000_000,
        "{counted:#?}"
    );
    // Sums over all sizes; the thread that serves a client comes and goes meanwhile.
    assert!(
        counted.allocations - counted.frees >= counted.live_blocks - 100,
        "{counted:#?}"
    );
    // glibc counts them, too, and its overhead for them.
    assert!(
        after.heap().in_use_bytes.unwrap() >= counted.live_bytes,
        "{after:#?}"
    );
    target.told("free");
    let freed = target.memstats(&["--for=0"]);
    assert_eq!(
        freed.class(512 << 10).live_blocks,
        before.class(512 << 10).live_blocks
    );
}

#[test]
fn rates_are_those_of_the_time_that_is_watched() {
    let target = Target::start(Build::Counting, &["memory"]);
    let quiet = target.memstats(&[]);
    assert!(quiet.watched_seconds.unwrap() >= 1.0);
    assert!(quiet.rss_change_bytes.is_some());
    assert_eq!(quiet.class(64 << 20).blocks_per_second.unwrap_or(0.0), 0.0);

    let (directory, pid) = (target.directory(), target.pid.to_string());
    let (run, turned) = thread::scope(|scope| {
        let arguments = ["memstats", &pid, "--json", "--for=2s", "--timeout=60s"];
        let watched = scope.spawn(move || rtops(Some(directory), &arguments));
        let mut turned = 0_u32;
        while !watched.is_finished() {
            target.told("turn 10 40000000");
            turned += 10;
        }
        (watched.join().unwrap(), turned)
    });
    let busy: Memstats = run.success().json();
    let class = busy.class(64 << 20);
    let (rate, seconds) = (
        class.blocks_per_second.unwrap(),
        busy.watched_seconds.unwrap(),
    );
    assert!(
        rate > 0.0 && rate * seconds * 0.9 <= f64::from(turned),
        "{rate} {turned}"
    );
    assert!(
        busy.counted().allocations_per_second.unwrap() >= rate,
        "{busy:#?}"
    );
    let after = target.memstats(&["--for=0"]);
    assert_eq!(after.class(64 << 20).live_blocks, 0, "{after:#?}");
    let text = target.memstats_run(&["--for=100ms"]).success().stdout;
    assert!(
        text.contains("BLOCKS/S") && text.contains("blocks as counted"),
        "{text}"
    );
}

#[test]
fn trim_gives_memory_of_glibc_back() {
    let target = Target::start(Build::Dev, &["memory"]);
    target.told("fragment 64");
    let trimmed = target.trim();
    let freed = trimmed
        .before
        .memory
        .rss_bytes
        .checked_sub(trimmed.after.memory.rss_bytes);
    // One of 16 pieces stays, and keeps the pages that it shares with its free neighbours.
    assert!(freed.unwrap() > 40 * MIB, "{trimmed:#?}");
    let calls: Vec<_> = trimmed
        .calls
        .iter()
        .map(|call| (&*call.allocator, &*call.call))
        .collect();
    assert_eq!(calls, [("glibc malloc", "malloc_trim(0)")]);
    assert_eq!(trimmed.calls[0].failed, None);
    let in_use = |side: &Side| side.heap.in_use_bytes.unwrap();
    assert!(
        in_use(&trimmed.before).abs_diff(in_use(&trimmed.after)) < MIB,
        "{trimmed:#?}"
    );
    // Only what stays is left, and the process goes on with it.
    target.told("free");
    target.told("fragment 64");
    let text = target.trim_run(&[]).success().stdout;
    assert!(
        text.contains(": gave back ") && text.contains("malloc_trim(0) of glibc"),
        "{text}"
    );
    for row in ["  RSS ", "  in use ", "  free "] {
        assert!(text.lines().any(|line| line.starts_with(row)), "{text}");
    }
    target.stack(&[]);
}

#[test]
fn a_large_heap_of_glibc_is_walked_only_if_that_is_wanted() {
    let target = Target::start(Build::Counting, &["memory"]);
    target.told("fragment 300");
    let free = |memstats: &Memstats| memstats.heap().allocator("glibc malloc").kept_bytes;
    let careful = target.memstats(&[]);
    assert_eq!(free(&careful), None, "{careful:#?}");
    assert!(
        careful.heap().allocators[0].notes[0].contains("--walk"),
        "{careful:#?}"
    );
    // The counted figures are known all the same.
    assert_eq!(
        careful.heap().in_use_bytes,
        Some(careful.counted().live_bytes)
    );
    let walked = target.memstats(&["--walk"]);
    assert!(free(&walked).unwrap() > 250 * MIB, "{walked:#?}");
    let walked = target.memstats(&["--walk", "--for=0"]);
    assert!(free(&walked).unwrap() > 250 * MIB, "{walked:#?}");
    // A trim walks no more than it must, either; once most is given back, the heap is small again.
    let trimmed = target.trim();
    assert_eq!(
        trimmed.before.heap.allocators[0].kept_bytes, None,
        "{trimmed:#?}"
    );
    assert!(trimmed.after.memory.rss_bytes < 150 * MIB, "{trimmed:#?}");
    assert!(
        trimmed.after.heap.allocators[0].kept_bytes.is_some(),
        "{trimmed:#?}"
    );
}

#[test]
fn a_service_can_switch_both_off() {
    let target = Target::start(Build::Dev, &["memory-off"]);
    let run = target.trim_run(&[]).exits(1);
    assert!(
        run.stderr.contains("switched off") && run.stdout.is_empty(),
        "{run}"
    );
    // Only the kernel's figures are left.
    let memstats = target.memstats(&[]);
    assert!(memstats.memory.rss_bytes > 0 && memstats.heap.is_none());
    assert!(memstats.heap_missing.unwrap().contains("switched off"));
}

#[test]
fn without_an_agent_the_kernel_tells() {
    let target = Target::start(Build::Dev, &["memory"]);
    assert_eq!(target.command("stop"), "stopped");
    let memstats = target.memstats(&["--for=100ms"]);
    assert_eq!(
        (memstats.process.pid, &*memstats.process.name),
        (target.pid, "targets")
    );
    assert!(memstats.memory.pss_bytes.is_some() && memstats.heap.is_none());
    assert!(memstats.watched_seconds.unwrap() >= 0.1);
    let text = target.memstats_run(&[]).success().stdout;
    assert!(text.contains("add the crate rtops-agent"), "{text}");
    target.trim_run(&[]).exits(4);
}

#[test]
fn a_process_that_hangs_is_shown_with_what_the_kernel_knows() {
    let target = Target::start(Build::Dev, &["memory"]);
    target.signal(Signal::SIGSTOP);
    let pid = target.pid.to_string();
    let run = target
        .rtops(&["memstats", &pid, "--timeout=300ms", "--json"])
        .exits(1);
    target.signal(Signal::SIGCONT);
    let memstats: Memstats = run.json();
    assert!(memstats.memory.rss_bytes > 0 && memstats.heap.is_none());
    assert!(
        memstats.heap_missing.unwrap().contains("is stopped"),
        "{run}"
    );
}
