//! The path of an agent's socket.
//!
//! `$RTOPS_DIR`, else `/tmp/rtops-<euid>`, holds one `<pid>-<starttime>.sock` per process. `TMPDIR`
//! and `XDG_RUNTIME_DIR` are ignored: a service and an ops shell seldom agree on them.

use std::{
    env,
    path::{Path, PathBuf},
};

use nix::unistd::Uid;

/// The prefix of the default directories of all users.
const PREFIX: &str = "rtops-";

/// Returns the name of the default directory of a user, below `/tmp`.
#[must_use]
pub fn directory_name(user: Uid) -> String {
    format!("{PREFIX}{user}")
}

/// Returns the directory for the sockets of a user: `$RTOPS_DIR` if it is set and not empty, else
/// `/tmp/rtops-<euid>`.
#[must_use]
pub fn socket_directory(user: Uid) -> PathBuf {
    env::var_os("RTOPS_DIR")
        .filter(|directory| !directory.is_empty())
        .map_or_else(
            || Path::new("/tmp").join(directory_name(user)),
            PathBuf::from,
        )
}

/// The name of a socket file, which says whose it is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct SocketFile {
    /// The process id in the process's own PID namespace.
    pub pid: u32,
    /// The start of the process, in clock ticks after boot.
    pub start_time: u64,
}

impl SocketFile {
    /// Returns `<pid>-<starttime>.sock`.
    #[must_use]
    pub fn name(self) -> String {
        format!("{}-{}.sock", self.pid, self.start_time)
    }

    /// Parses a file name; returns `None` if the file is not an agent's socket.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let (pid, start_time) = name.strip_suffix(".sock")?.split_once('-')?;
        let file = Self {
            pid: pid.parse().ok()?,
            start_time: start_time.parse().ok()?,
        };
        (file.name() == name).then_some(file)
    }
}
