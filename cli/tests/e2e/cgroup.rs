//! Limits of memory for processes that tests start.

use std::{
    fs,
    path::{Path, PathBuf},
    process, thread,
    time::Instant,
};

use crate::support::DEADLINE;

/// A cgroup with a limit of memory, removed when this is dropped.
pub struct Cgroup {
    directory: PathBuf,
    limit: &'static str,
}

impl Cgroup {
    /// Of the first or the second version, whichever rules the memory here.
    pub fn make(name: &str) -> Option<Self> {
        let name = format!("rtops-test-{name}-{}", process::id());
        let versions = [("memory", "memory.limit_in_bytes"), ("", "memory.max")];
        versions.into_iter().find_map(|(mount, limit)| {
            let directory = Path::new("/sys/fs/cgroup").join(mount).join(&name);
            fs::create_dir(&directory).ok()?;
            let this = Self { directory, limit };
            this.directory.join(limit).exists().then_some(this)
        })
    }

    pub fn adopt(&self, pid: i32) {
        fs::write(self.directory.join("cgroup.procs"), pid.to_string()).unwrap();
    }

    pub fn limit(&self, bytes: u64) {
        fs::write(self.directory.join(self.limit), bytes.to_string()).unwrap();
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // The last process in it may need a moment to be gone.
        let end = Instant::now() + DEADLINE;
        while fs::remove_dir(&self.directory).is_err() && Instant::now() < end {
            thread::yield_now();
        }
    }
}
