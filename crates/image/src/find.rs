//! Finds the cores that systemd-coredump keeps, by PID or program name.

use std::{
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// Where systemd-coredump keeps cores.
pub const SYSTEMD_DIRECTORY: &str = "/var/lib/systemd/coredump";

/// The number of bytes of a process's name that the kernel keeps.
const MAX_NAME: usize = 15;

/// A core that systemd-coredump keeps. All fields but the path are parsed from its file name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Stored {
    /// The file.
    pub path: PathBuf,
    /// The name of the process, at most 15 bytes.
    pub program: OsString,
    /// Its PID.
    pub pid: u32,
    /// The ID of its user.
    pub uid: u32,
    /// The boot during which it ran: 32 hexadecimal digits.
    pub boot_id: String,
    /// When it died.
    pub time: SystemTime,
}

/// Returns the newest core in a directory of a process with this PID or
/// of a program with this name.
///
/// # Errors
///
/// If the directory can't be read; it does not exist if systemd-coredump never ran.
pub fn newest(directory: &Path, wanted: &OsStr) -> io::Result<Option<Stored>> {
    let mut newest: Option<Stored> = None;
    for entry in fs::read_dir(directory)? {
        let Some(stored) = Stored::parse(&entry?.path()) else {
            continue;
        };
        let order = |stored: &Stored| (stored.time, stored.pid);
        if stored.is(wanted)
            && newest
                .as_ref()
                .is_none_or(|best| order(best) < order(&stored))
        {
            newest = Some(stored);
        }
    }
    Ok(newest)
}

impl Stored {
    /// Parses the name of a file: `core.PROGRAM.UID.BOOT.PID.MICROSECONDS`, optionally followed by
    /// `.zst`, `.lz4` or `.xz`. `None` if the name has another form.
    #[must_use]
    pub fn parse(path: &Path) -> Option<Self> {
        let name = path.file_name()?.as_bytes();
        let packed = [&b".zst"[..], b".lz4", b".xz"];
        let name = packed
            .iter()
            .find_map(|end| name.strip_suffix(*end))
            .unwrap_or(name);
        // Dots in the program's name are escaped.
        let parts: Vec<_> = name.split(|byte| *byte == b'.').collect();
        let [b"core", program, uid, boot, pid, time] = parts.as_slice() else {
            return None;
        };
        let is_boot = boot.len() == 32 && boot.iter().all(u8::is_ascii_hexdigit);
        let since = Duration::from_micros(number(time)?);
        Some(Self {
            path: path.to_owned(),
            program: OsString::from_vec(unescape(program)),
            pid: u32::try_from(number(pid)?).ok()?,
            uid: u32::try_from(number(uid)?).ok()?,
            boot_id: is_boot.then(|| String::from_utf8_lossy(boot).into_owned())?,
            time: SystemTime::UNIX_EPOCH.checked_add(since)?,
        })
    }

    /// Returns whether it has this PID, or this name as far as the kernel keeps it.
    #[must_use]
    pub fn is(&self, wanted: &OsStr) -> bool {
        let wanted = wanted.as_bytes();
        let kept = wanted.get(..MAX_NAME).unwrap_or(wanted);
        number(wanted) == Some(u64::from(self.pid)) || self.program.as_bytes() == kept
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    let is_number = digits.first().is_some_and(u8::is_ascii_digit);
    let digits = std::str::from_utf8(digits).ok().filter(|_| is_number)?;
    digits.parse().ok()
}

/// Undoes systemd's escapes: it writes `\xNN` for dots, slashes, spaces, backslashes, and bytes
/// that are not printable ASCII.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut rest = text;
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        let code = behind
            .strip_prefix(b"x")
            .and_then(|behind| behind.split_at_checked(2));
        let byte = code.and_then(|(digits, behind)| {
            let digits = std::str::from_utf8(digits).ok()?;
            Some((u8::from_str_radix(digits, 16).ok()?, behind))
        });
        match byte.filter(|_| *first == b'\\') {
            Some((byte, behind)) => {
                plain.push(byte);
                rest = behind;
            }
            None => plain.push(*first),
        }
    }
    plain
}
