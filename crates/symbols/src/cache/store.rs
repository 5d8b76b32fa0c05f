//! The directory of the cache.

use std::{
    fmt::Write as _,
    fs::{self, DirBuilder, DirEntry, Metadata},
    io::{self, ErrorKind, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use nix::unistd::geteuid;
use rtops_files::{NamedBy, Refusal, Regular};

use super::{
    Key,
    entry::{self, Kept, MAX_ENTRY},
};

/// The name of the cache in the user's cache directory.
const NAME: &str = "rtops";
/// The start of the name of a file that is not complete yet.
const UNFINISHED: &str = ".new-";
/// How much the cache may take, in bytes.
pub const MAX_CACHE: u64 = 200_000_000;
/// The age at which an incomplete file counts as abandoned, its writer having been killed.
const ABANDONED: Duration = Duration::from_secs(3600);
/// How often the use of a file is recorded.
const USED: Duration = Duration::from_secs(60);

/// The cache of this user.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
}

/// The size of the cache.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Usage {
    /// The number of files: up to two for each build of a module.
    pub files: usize,
    /// The size of all files, in bytes.
    pub bytes: u64,
}

impl Store {
    /// Opens the cache in the user's cache directory, and makes the directories if there are none.
    ///
    /// # Errors
    /// If the directory can't be made, or somebody else may write
    /// to it: what they wrote would be believed.
    pub fn open(caches: &Path) -> io::Result<Self> {
        make(caches)?;
        // This directory may be a link to where the user has more room.
        let metadata = fs::metadata(caches)?;
        if metadata.uid() != geteuid().as_raw() || metadata.mode() & 0o022 != 0 {
            return Err(not_private(caches));
        }
        let directory = caches.join(NAME);
        make(&directory)?;
        let metadata = fs::symlink_metadata(&directory)?;
        let is_private = metadata.is_dir()
            && metadata.uid() == geteuid().as_raw()
            && metadata.mode() & 0o077 == 0;
        match is_private {
            true => Ok(Self { directory }),
            false => Err(not_private(&directory)),
        }
    }

    /// Returns the directory of the cache.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns the size of the cache.
    ///
    /// # Errors
    /// If the directory can't be read.
    pub fn usage(&self) -> io::Result<Usage> {
        let mut usage = Usage::default();
        for (_, metadata) in self.files()? {
            usage.files += 1;
            usage.bytes += metadata.len();
        }
        Ok(usage)
    }

    /// Removes everything in the cache.
    ///
    /// # Errors
    /// If something can't be removed.
    pub fn clear(&self) -> io::Result<()> {
        for (entry, _) in self.files()? {
            match fs::remove_file(entry.path()) {
                // Another process may do the same.
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn read<T: Kept>(&self, key: &Key) -> Option<T> {
        let file = Regular::at(&self.path::<T>(key)?, NamedBy::User).ok()?;
        let mut file = file.open().ok()?;
        let kept = entry::decode(key, &mut file)?;
        let used = file.metadata().and_then(|metadata| metadata.modified());
        let used = used.ok().and_then(|used| used.elapsed().ok());
        if used.is_some_and(|used| used > USED) {
            // If this fails, the file is removed as if it had not been used.
            let _is_noted = file.set_modified(SystemTime::now());
        }
        Some(kept)
    }

    /// Writes a file completely or not at all, even if others write the same file.
    pub(super) fn write<T: Kept>(&self, key: &Key, kept: &T) -> Result<(), Refusal> {
        let entry = entry::encode(key, kept).map_err(io::Error::other)?;
        let length = entry.len() as u64;
        let path = self.path::<T>(key).ok_or(ErrorKind::InvalidInput);
        let path = path.map_err(io::Error::from)?;
        if length > MAX_ENTRY {
            return Err(io::Error::from(ErrorKind::FileTooLarge).into());
        }
        self.make_room(length)?;
        let mut builder = tempfile::Builder::new();
        let mut file = builder.prefix(UNFINISHED).tempfile_in(&self.directory)?;
        file.write_all(&entry)?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    }

    /// Removes the least recently used files until there is room for `bytes` more.
    fn make_room(&self, bytes: u64) -> io::Result<()> {
        let mut files = self.files()?;
        files.retain(|(entry, metadata)| {
            let name = entry.file_name();
            let is_abandoned = name.to_string_lossy().starts_with(UNFINISHED)
                && age(metadata).is_some_and(|age| age > ABANDONED);
            !(is_abandoned && fs::remove_file(entry.path()).is_ok())
        });
        let mut total: u64 = files.iter().map(|(_, metadata)| metadata.len()).sum();
        files.sort_by_key(|(_, metadata)| (metadata.mtime(), metadata.mtime_nsec()));
        for (entry, metadata) in files {
            if total + bytes <= MAX_CACHE {
                break;
            }
            if fs::remove_file(entry.path()).is_ok() {
                total -= metadata.len();
            }
        }
        Ok(())
    }

    fn files(&self) -> io::Result<Vec<(DirEntry, Metadata)>> {
        let entries = fs::read_dir(&self.directory)?.flatten();
        let files = entries.filter_map(|entry| {
            let metadata = entry.metadata().ok()?;
            metadata.is_file().then_some((entry, metadata))
        });
        Ok(files.collect())
    }

    /// Returns the path of a file: its name is the build-id, a hash that separates files
    /// claiming to be that build, and a suffix for what is kept.
    fn path<T: Kept>(&self, key: &Key) -> Option<PathBuf> {
        let mut name = String::new();
        for byte in &key.build_id {
            write!(name, "{byte:02x}").ok()?;
        }
        let mut encoded = Vec::new();
        rtops_protocol::send_message(&mut encoded, rtops_protocol::FrameKind::SYMBOLS, key).ok()?;
        write!(name, "-{:08x}{}", crc32fast::hash(&encoded), T::SUFFIX).ok()?;
        Some(self.directory.join(name))
    }
}

fn age(metadata: &Metadata) -> Option<Duration> {
    metadata.modified().ok()?.elapsed().ok()
}

/// Makes a directory that only this user may access, if there is none.
fn make(directory: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

fn not_private(directory: &Path) -> io::Error {
    io::Error::other(format!(
        "{} is not a directory of this user alone",
        directory.display()
    ))
}
