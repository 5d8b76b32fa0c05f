//! Reads the extended attributes that systemd-coredump adds to the file of a core.

use std::{
    fs::File,
    time::{Duration, SystemTime},
};

/// The longest value that is read, in bytes; host names have 64 at most.
const MAX_VALUE: usize = 256;

/// Returns the name of the machine on which the process ran.
pub(super) fn host(core: &File) -> Option<String> {
    let host = value(core, "user.coredump.hostname")?;
    Some(String::from_utf8_lossy(&host).into_owned())
}

/// Returns when the process died.
pub(super) fn time(core: &File) -> Option<SystemTime> {
    let value = value(core, "user.coredump.timestamp")?;
    let microseconds = std::str::from_utf8(&value).ok()?.parse().ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_micros(microseconds))
}

fn value(core: &File, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; MAX_VALUE];
    let length = rustix::fs::fgetxattr(core, name, &mut value[..]).ok()?;
    value.truncate(length);
    (!value.is_empty()).then_some(value)
}
