//! Tests a file system that another user serves.
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs)]

use std::{fs::File, os::fd::AsRawFd, path::Path};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    unistd::geteuid,
};
use rtops_files::{NamedBy, Refusal, Regular};
use tempfile::{TempDir, tempdir};

/// Another user's FUSE that nobody serves, mounted while this lives.
struct Fuse {
    place: TempDir,
    _connection: File,
}

impl Fuse {
    fn mount() -> Self {
        let place = tempdir().unwrap();
        let connection = File::options()
            .read(true)
            .write(true)
            .open("/dev/fuse")
            .unwrap();
        let options = format!(
            "fd={},rootmode=40000,user_id=65534,group_id=65534",
            connection.as_raw_fd()
        );
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(
            Some("nobody"),
            place.path(),
            Some("fuse"),
            flags,
            Some(&*options),
        )
        .unwrap();
        Self {
            place,
            _connection: connection,
        }
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        umount2(self.place.path(), MntFlags::MNT_DETACH).ok();
    }
}

#[test]
fn a_file_system_that_another_user_serves_is_not_asked() {
    if !geteuid().is_root() || !Path::new("/dev/fuse").exists() {
        eprintln!("skipped: only root can mount a FUSE, where the kernel has that");
        return;
    }
    let fuse = Fuse::mount();
    let found = Regular::at(fuse.place.path(), NamedBy::Target);
    assert!(
        matches!(found, Err(Refusal::FileSystem("FUSE"))),
        "{found:?}"
    );
    // The user may have named it, but root may not read it.
    let found = Regular::at(fuse.place.path(), NamedBy::User);
    assert!(
        matches!(found, Err(Refusal::Io(_) | Refusal::NotRegular)),
        "{found:?}"
    );
}
