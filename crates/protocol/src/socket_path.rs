//! Where an agent's socket lies.
//!
//! `$RTOPS_DIR`, else `/tmp/rtops-<euid>`, holds one `<pid>-<starttime>.sock` a process. `TMPDIR`
//! and `XDG_RUNTIME_DIR` are not looked at: a service and an ops shell seldom agree on them.

use std::{
    env,
    path::{Path, PathBuf},
};

use nix::unistd::Uid;

/// What the default directories of all users begin with.
const PREFIX: &str = "rtops-";

/// The name of the default directory of a user, below `/tmp`.
#[must_use]
pub fn directory_name(user: Uid) -> String {
    format!("{PREFIX}{user}")
}

/// The directory for the sockets of a user: `$RTOPS_DIR` if it is set and not empty, else
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

/// The name of a socket file: whose it is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct SocketFile {
    /// The process id in the process's own PID namespace.
    pub pid: u32,
    /// The start of the process, in clock ticks after boot.
    pub start_time: u64,
}

impl SocketFile {
    /// `<pid>-<starttime>.sock`.
    #[must_use]
    pub fn name(self) -> String {
        format!("{}-{}.sock", self.pid, self.start_time)
    }

    /// Reads a file name back; `None` for a file that is no agent's.
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
