//! Finds the cores that systemd-coredump keeps, by their names.

use std::{
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt as _,
    path::Path,
    time::{Duration, SystemTime},
};

use rtops_image::find::{Stored, newest};

const BOOT: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn names_are_taken_apart() {
    let path = format!(
        "/d/core.my\\x2eservice\\x20a\\x5cb\\xc3\\xa9.1000.{BOOT}.4242.1700000000123456.zst"
    );
    let stored = Stored::parse(Path::new(&path)).expect("a core");
    assert_eq!(stored.program.as_bytes(), "my.service a\\bé".as_bytes());
    assert_eq!(
        (stored.uid, stored.pid, stored.boot_id.as_str()),
        (1000, 4242, BOOT)
    );
    let since = Duration::from_micros(1_700_000_000_123_456);
    assert_eq!(stored.time, SystemTime::UNIX_EPOCH + since);
    for name in [
        "core",
        "core.4242",
        "core.a.b.c.d.e",
        &format!("core.a.0.{BOOT}.1.2.3"),
        &format!("core.a.0.{BOOT}.1.2.gz"),
        &format!("core.a.0.{BOOT}.-1.2"),
        &format!("core.a.0.{BOOT}.1.99999999999999999999"),
        &format!("core.a.0.{}.1.2", &BOOT[1..]),
        &format!(".#core.a.0.{BOOT}.1.2.zst"),
    ] {
        assert_eq!(Stored::parse(Path::new(name)), None, "{name}");
    }
}

#[test]
fn the_newest_of_a_pid_or_name() {
    let directory = tempfile::tempdir().expect("a directory");
    let names = [
        format!("core.web.0.{BOOT}.100.1700000000000000.zst"),
        format!("core.web.0.{BOOT}.101.1700000002000000.lz4"),
        format!("core.web.0.{BOOT}.102.1700000001000000"),
        format!("core.other.0.{BOOT}.101.1600000000000000.zst"),
        format!("core.name-of-fifteen.0.{BOOT}.7.1.xz").replace("fifteen", "15by"),
        format!("core.300.0.{BOOT}.9.1.xz"),
        "unrelated".to_owned(),
    ];
    for name in &names {
        fs::write(directory.path().join(name), "").expect("written");
    }
    let find = |wanted: &str| {
        let found = newest(directory.path(), OsStr::new(wanted)).expect("a directory");
        found.and_then(|stored| names.iter().position(|name| stored.path.ends_with(name)))
    };
    assert_eq!(find("web"), Some(1));
    assert_eq!(find("100"), Some(0));
    assert_eq!(find("101"), Some(1));
    assert_eq!(find("other"), Some(3));
    assert_eq!(find("name-of-15by"), Some(4));
    // A program's name may be a number.
    assert_eq!(find("300"), Some(5));
    for nothing in ["we", "webs", "", "1", "unrelated"] {
        assert_eq!(find(nothing), None, "{nothing}");
    }
    assert!(newest(&directory.path().join("none"), OsStr::new("web")).is_err());
}

#[test]
fn a_name_is_compared_as_far_as_the_kernel_keeps_it() {
    let path = format!("core.a-long-service-.0.{BOOT}.7.1.zst");
    let stored = Stored::parse(Path::new(&path.replace("service-", "servic"))).expect("a core");
    assert_eq!(stored.program, "a-long-servic");
    let cut =
        Stored::parse(Path::new(&format!("core.fifteen-letters.0.{BOOT}.7.1"))).expect("a core");
    assert!(cut.is(OsStr::new("fifteen-letters")));
    assert!(cut.is(OsStr::new("fifteen-letters-and-more")));
    assert!(!cut.is(OsStr::new("fifteen-letter")));
}
