//! Golden text of `rtops memstats`.

use rtops_protocol::Figure;

use rtops_types::Pid;

use super::*;
use crate::proc::memory::Rollup;

fn resident(rss: u64) -> Resident {
    Resident {
        rss,
        peak: Some(180_000_000),
        anonymous: Some(120_000_000),
        file: Some(20_000_000),
        shmem: Some(0),
        swap: Some(4096),
        rollup: Ok(Rollup {
            pss: 132_000_000,
            private: 128_000_000,
            shared: 12_000_000,
            huge: 4 << 20,
            locked: 0,
        }),
    }
}

fn counted(times: u64) -> Counted {
    let class = |up_to, live_blocks, live_bytes| SizeClass {
        up_to,
        live_blocks,
        live_bytes,
        blocks: live_blocks * times,
        bytes: live_bytes * times,
    };
    Counted {
        allocations: 140_000 * times,
        frees: 138_000 * times,
        reallocations: 512,
        classes: vec![
            class(64, 1000, 60_000),
            class(1 << 16, 1200, 70_000_000),
            class(u64::MAX, 1, 9_000_000_000),
        ],
    }
}

fn memory(times: u64) -> Memory {
    Memory {
        clock_ns: 1_000_000_000 * times,
        allocators: vec![Allocator {
            name: "glibc\u{1b}[2J malloc".to_owned(),
            held: Some(115_000_000),
            in_use: Some(84_000_000),
            kept: Some(31_000_000),
            figures: vec![Figure {
                name: "free pieces".to_owned(),
                unit: Unit::Count,
                value: 1204,
            }],
            notes: vec!["a note\u{1b}[2J".to_owned()],
            took_ns: 12_000_000,
        }],
        counted: Some(counted(times)),
    }
}

fn sample(at: Instant, rss: u64, times: u64) -> Sample {
    Sample {
        at,
        resident: resident(rss),
        agent: Ok(Agent {
            name: "gateway".to_owned(),
            version: "0.1.0".to_owned(),
            memory: memory(times),
        }),
    }
}

fn report() -> Report {
    let at = Instant::now();
    Report {
        figures: Figures {
            pid: Pid::new(4711),
            ppid: Pid::new(1),
            user: "api".to_owned(),
            threads: 9,
            cpu_time: Duration::ZERO,
            rss_bytes: 0,
            uptime: Duration::from_secs(1000),
            command: "/srv/gateway".to_owned(),
            name: "gateway".to_owned(),
        },
        now: sample(at + Duration::from_secs(1), 140_000_000, 2),
        earlier: Some(sample(at, 138_000_000, 1)),
    }
}

fn shown(report: &Report, width: Option<usize>) -> String {
    let mut style = Style::PLAIN;
    style.width = width;
    let mut written = Vec::new();
    text(&mut written, style, report).unwrap();
    String::from_utf8(written).unwrap()
}

#[test]
fn a_file_and_80_columns_get_all_of_it() {
    let text = shown(&report(), None);
    assert_eq!(shown(&report(), Some(80)), text);
    insta::assert_snapshot!(text, @r#"
    gateway (pid 4711), up 16m 40s, rtops-agent 0.1.0

    in use 84 MB, free but kept 31 MB, of RSS 140 MB

    process
      RSS         140 MB (+2.0 MB in 1.0 s)
      peak RSS    180 MB
      PSS         132 MB
      private     128 MB
      shared      12 MB
      anonymous   120 MB
      files       20 MB
      shmem       0 B
      swap        4.0 kB
      huge pages  4.1 MB

    heap of glibc\u{1b}[2J malloc
      in use         84 MB
      free but kept  31 MB
      held           115 MB
      free pieces    1204
      answered in    12 ms
      a note\u{1b}[2J

    blocks as counted
      live           9.0 GB in 2201 blocks
      asked for      18 GB (9.0 GB/s)
      allocations    280000 (140000.0/s)
      frees          276000 (138000.0/s)
      reallocations  512 (0.0/s)

       UP TO  LIVE   BYTES  BLOCKS/S  BYTES/S
        64 B  1000   60 kB    1000.0    60 kB
      64 KiB  1200   70 MB    1200.0    70 MB
         any     1  9.0 GB       1.0   9.0 GB
    "#);
}

#[test]
fn forty_columns_are_enough() {
    let text = shown(&report(), Some(40));
    let tables = text.lines().skip(3);
    for line in tables {
        assert!(line.chars().count() <= 40, "{line}");
    }
    let table = text.lines().skip_while(|line| !line.contains("UP TO"));
    insta::assert_snapshot!(table.collect::<Vec<_>>().join("\n"), @r#"
     UP TO  LIVE   BYTES  BLOCKS/S
      64 B  1000   60 kB    1000.0
    64 KiB  1200   70 MB    1200.0
       any     1  9.0 GB       1.0
    "#);
}

#[test]
fn without_an_agent_the_kernel_has_the_word() {
    let mut report = report();
    report.earlier = None;
    report.now.agent = Err("process 4711 (gateway) has no rtops agent".to_owned());
    report.now.resident.rollup = Err("not visible to this user");
    insta::assert_snapshot!(shown(&report, Some(80)), @r#"
    gateway (pid 4711), up 16m 40s

    RSS 140 MB

    process
      RSS        140 MB
      peak RSS   180 MB
      PSS        not visible to this user
      anonymous  120 MB
      files      20 MB
      shmem      0 B
      swap       4.0 kB

    heap not known: process 4711 (gateway) has no rtops agent
    "#);
}

#[test]
fn one_line_relates_the_heap_to_what_is_in_memory() {
    let sums = |held, in_use, kept| Sums { held, in_use, kept };
    for (sums, expected) in [
        (
            sums(Some(115_000_000), Some(84_000_000), Some(31_000_000)),
            "in use 84 MB, free but kept 31 MB, of RSS 140 MB",
        ),
        (
            sums(Some(1_084_000_000), Some(84_000_000), Some(1_000_000_000)),
            "in use 84 MB, free but kept 1.0 GB (not all of it in memory), of RSS 140 MB",
        ),
        (
            sums(None, Some(84_000_000), None),
            "in use 84 MB, of RSS 140 MB",
        ),
        (
            sums(Some(84_000_000), None, None),
            "heap 84 MB, of RSS 140 MB",
        ),
        (Sums::default(), "RSS 140 MB"),
    ] {
        assert_eq!(glance(sums, 140_000_000), expected);
    }
}

#[test]
fn sizes_of_blocks_are_binary() {
    assert_eq!(up_to(8), "8 B");
    assert_eq!(up_to(1 << 10), "1 KiB");
    assert_eq!(up_to(1 << 33), "8 GiB");
    assert_eq!(up_to(u64::MAX), "any");
}
