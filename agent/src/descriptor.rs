//! Descriptors that the agent keeps, in a process that may close them.
//!
//! A service that closes all descriptors that it does not know, as daemons do (`close_range`,
//! `closefrom`), also closes the agent's, and the next files that it opens get their numbers. The
//! agent notes what a number stands for when it gets it. It compares that before each use, before
//! it closes the number, and in the child of a fork, which closes what it inherited. A number that
//! stands for something else is forgotten.
//!
//! Between the check and the use, another thread may still close the number and open something
//! else. No process can close this gap from inside, but it is only a few instructions wide.
#![expect(
    unsafe_code,
    reason = "system calls that allocate nothing, in the child of a fork as well"
)]

use std::{
    fmt, io,
    mem::{self, MaybeUninit},
    os::fd::{AsFd, AsRawFd, RawFd},
    sync::atomic::{
        AtomicI32, AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
};

/// A descriptor of the agent, with its owner.
pub(crate) struct Kept<T: AsFd> {
    // Dropped before the descriptor is closed.
    _noted: Noted,
    number: RawFd,
    object: Object,
    /// Present until it is dropped.
    inner: Option<T>,
}

/// The descriptor's number now stands for something of the service's.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the service has closed a descriptor of the rtops agent")]
pub(crate) struct Lost;

impl<T: AsFd> Kept<T> {
    /// # Errors
    /// If nothing can be found out about the descriptor.
    pub(crate) fn new(inner: T) -> io::Result<Self> {
        let number = inner.as_fd().as_raw_fd();
        let object = Object::of(number).ok_or_else(io::Error::last_os_error)?;
        Ok(Self {
            _noted: Noted::new(number, object),
            number,
            object,
            inner: Some(inner),
        })
    }

    /// Returns the owner of the descriptor, for one use.
    ///
    /// # Errors
    /// If the number stands for something else by now.
    pub(crate) fn get(&self) -> Result<&T, Lost> {
        match self.object.compare(self.number) {
            // If the two can't be told apart, this is most likely still ours.
            Found::Same | Found::SameKind => self.inner.as_ref().ok_or(Lost),
            Found::Other => Err(Lost),
        }
    }
}

impl<T: AsFd> Drop for Kept<T> {
    fn drop(&mut self) {
        // Better to leave a descriptor open than to close one of the service's.
        if self.object.compare(self.number) != Found::Same {
            mem::forget(self.inner.take());
        }
    }
}

impl<T: AsFd> fmt::Debug for Kept<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl From<Lost> for io::Error {
    fn from(lost: Lost) -> Self {
        Self::other(lost)
    }
}

/// What a descriptor stands for.
#[derive(Clone, Copy)]
struct Object {
    device: u64,
    inode: u64,
    /// Tells apart objects without an inode of their own; 0 if it can't be found out.
    mark: u64,
}

/// What a number stands for now.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Found {
    Same,
    /// Something without an inode of its own, about which no more can be found out now.
    SameKind,
    Other,
}

impl Object {
    /// Returns `None` for a closed descriptor. Allocates nothing.
    fn of(number: RawFd) -> Option<Self> {
        let mut stat = MaybeUninit::<libc::stat>::uninit();
        // SAFETY: a successful call fills the structure in.
        let stat = unsafe {
            if libc::fstat(number, stat.as_mut_ptr()) != 0 {
                return None;
            }
            stat.assume_init()
        };
        let mark = match stat.st_mode & libc::S_IFMT {
            libc::S_IFSOCK | libc::S_IFDIR => OWN_INODE,
            _ => mark(number).unwrap_or(0),
        };
        Some(Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            mark,
        })
    }

    fn compare(self, number: RawFd) -> Found {
        match Self::of(number) {
            Some(now) if (now.device, now.inode) != (self.device, self.inode) => Found::Other,
            Some(now) if now.mark == 0 || self.mark == 0 => Found::SameKind,
            Some(now) if now.mark == self.mark => Found::Same,
            _ => Found::Other,
        }
    }
}

/// The mark of an object with an inode of its own.
const OWN_INODE: u64 = 1;

/// Returns what tells an inotify descriptor from others and from everything else that has no inode
/// of its own: its first watch, which the agent adds only for this. `None` if it can't be read,
/// because the process has no descriptors left or no /proc. Allocates nothing.
fn mark(number: RawFd) -> Option<u64> {
    let mut text = [0_u8; 1024];
    let path = fdinfo_path(number)?;
    // SAFETY: the path ends with a zero byte, and the kernel writes no more than the length of the
    // buffer. The closed descriptor was opened here.
    let length = unsafe {
        let info = libc::open(path.as_ptr().cast(), libc::O_RDONLY | libc::O_CLOEXEC);
        if info < 0 {
            return None;
        }
        let length = libc::read(info, text.as_mut_ptr().cast(), text.len());
        libc::close(info);
        length
    };
    let text = text.get(..usize::try_from(length).ok()?)?;
    let first = text
        .split(|byte| *byte == b'\n')
        .find(|line| line.starts_with(b"inotify wd:1 "));
    // FNV-1a. Having no watch at all also gets a hash, which differs from that of any watch.
    let hash = first
        .unwrap_or_default()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3_u64)
        });
    Some(hash.max(OWN_INODE + 1))
}

/// Returns `/proc/self/fdinfo/NUMBER` and a zero byte.
fn fdinfo_path(number: RawFd) -> Option<[u8; 40]> {
    use std::io::Write;

    let mut path = [0; 40];
    // Leaves the last byte zero. Writing an integer allocates nothing.
    let mut room = path.get_mut(..39)?;
    write!(room, "/proc/self/fdinfo/{number}").ok()?;
    Some(path)
}

/// Listener, inotify, stop, directory and the clients, with room to spare.
const MAX_DESCRIPTORS: usize = 32;
/// In place of a descriptor number.
const FREE: i32 = -1;
const CLAIMED: i32 = -2;

static PLACES: [Place; MAX_DESCRIPTORS] = [const { Place::free() }; MAX_DESCRIPTORS];

/// A descriptor that a forked child has to close.
struct Place {
    number: AtomicI32,
    device: AtomicU64,
    inode: AtomicU64,
    mark: AtomicU64,
}

impl Place {
    const fn free() -> Self {
        Self {
            number: AtomicI32::new(FREE),
            device: AtomicU64::new(0),
            inode: AtomicU64::new(0),
            mark: AtomicU64::new(0),
        }
    }
}

/// Keeps a descriptor noted while it lives.
struct Noted(Option<&'static Place>);

impl Noted {
    fn new(number: RawFd, object: Object) -> Self {
        let claim = |place: &&Place| {
            let claimed = place
                .number
                .compare_exchange(FREE, CLAIMED, Acquire, Relaxed);
            claimed.is_ok()
        };
        let place = PLACES.iter().find(claim);
        if let Some(place) = place {
            place.device.store(object.device, Relaxed);
            place.inode.store(object.inode, Relaxed);
            place.mark.store(object.mark, Relaxed);
            place.number.store(number, Release);
        }
        Self(place)
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        if let Some(place) = self.0 {
            place.number.store(FREE, Release);
        }
    }
}

/// Closes the descriptors of the parent's agent, in the child of a fork. Uses only
/// atomics and system calls.
pub(crate) fn close_in_child() {
    for place in &PLACES {
        let number = place.number.swap(FREE, Acquire);
        let object = Object {
            device: place.device.load(Relaxed),
            inode: place.inode.load(Relaxed),
            mark: place.mark.load(Relaxed),
        };
        if number >= 0 && object.compare(number) == Found::Same {
            // SAFETY: the parent's agent opened it, and nothing in this child owns it: the owners
            // live on the stacks of threads that were not copied, or in a state that `start` and
            // `stop` refuse to touch in a forked child.
            unsafe { libc::close(number) };
        }
    }
}
