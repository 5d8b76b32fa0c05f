//! What a copy of the process shares with it, or has a copy of, and a poll can harm.
#![expect(unsafe_code, reason = "shared and private mappings")]

use std::{
    env, fs,
    io::{self, PipeReader, PipeWriter, Write, pipe},
    num::NonZero,
    os::{
        fd::{AsRawFd, OwnedFd, RawFd},
        unix::net::UnixStream,
    },
    path::PathBuf,
    ptr::NonNull,
    slice,
    sync::{Mutex, PoisonError, atomic::AtomicU64, atomic::Ordering::SeqCst},
    thread,
};

use nix::{
    libc,
    sys::{
        memfd::{MFdFlags, memfd_create},
        mman::{MapFlags, ProtFlags, mmap, mmap_anonymous},
        socket::{MsgFlags, recv},
    },
    unistd::ftruncate,
};

use crate::settle::settlement;

const PAGE: NonZero<usize> = NonZero::new(4096).expect("it is not zero");
const FILLED: u8 = 0xab;
const QUEUED: &[u8] = b"five!";
const CONTENT: &str = "not to be removed";

pub(super) struct Resources {
    /// A word that another process can see.
    shared: NonNull<AtomicU64>,
    _memory: OwnedFd,
    /// A page that contains only [`FILLED`].
    page: NonNull<u8>,
    /// Has [`QUEUED`] to be read.
    pub(super) socket: UnixStream,
    /// The end that wrote it.
    _peer: UnixStream,
    /// A socket that nothing was written to: it has neither data nor an end.
    pub(super) silent: UnixStream,
    silent_peer: UnixStream,
    /// Contains [`QUEUED`].
    pipe: PipeReader,
    pub(super) into_pipe: PipeWriter,
    pub(super) file: PathBuf,
    /// Held by a thread forever.
    pub(super) lock: &'static Mutex<()>,
}

// SAFETY: the shared word is atomic, and nobody writes to the page before the process ends.
unsafe impl Send for Resources {}
// SAFETY: see above.
unsafe impl Sync for Resources {}

impl Resources {
    /// Makes resources that live as long as the process.
    pub(super) fn make() -> io::Result<&'static Self> {
        let (socket, mut peer) = UnixStream::pair()?;
        peer.write_all(QUEUED)?;
        let (silent, silent_peer) = UnixStream::pair()?;
        silent_peer.set_nonblocking(true)?;
        let (pipe, mut into_pipe) = pipe()?;
        into_pipe.write_all(QUEUED)?;
        let memory = memfd_create("shared", MFdFlags::MFD_CLOEXEC)?;
        ftruncate(&memory, 4096)?;
        let both = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: no address is requested, and the file is as long as the mapping.
        let shared = unsafe { mmap(None, PAGE, both, MapFlags::MAP_SHARED, &memory, 0) }?;
        // SAFETY: no address is requested.
        let page = unsafe { mmap_anonymous(None, PAGE, both, MapFlags::MAP_PRIVATE) }?.cast();
        // SAFETY: the page was just mapped for writing, and nobody else uses it.
        unsafe { page.write_bytes(FILLED, PAGE.get()) };
        let program = env::current_exe()?;
        let file = program.with_file_name(format!("victim of {}", std::process::id()));
        fs::write(&file, CONTENT)?;
        let resources = Self {
            shared: shared.cast(),
            _memory: memory,
            page,
            socket,
            _peer: peer,
            silent,
            silent_peer,
            pipe,
            into_pipe,
            file,
            lock: held_for_ever(),
        };
        Ok(Box::leak(Box::new(resources)))
    }

    pub(super) fn shared_word(&self) -> &AtomicU64 {
        // SAFETY: the mapping is aligned, stays, and is used only as an atomic word.
        unsafe { self.shared.as_ref() }
    }

    /// Returns the page that a hostile poll unmaps.
    pub(super) fn page(&self) -> (NonNull<u8>, usize) {
        (self.page, PAGE.get())
    }

    /// Returns the state of all resources: each value is 0 or the number of unchanged bytes.
    pub(super) fn state(&self) -> String {
        // SAFETY: the page stays mapped in this process, or the test finds that it is gone.
        let page = unsafe { slice::from_raw_parts(self.page.as_ptr(), PAGE.get()) };
        let page = page.iter().filter(|byte| **byte == FILLED).count();
        let mut queued = [0; 16];
        let peek = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        let queued = match recv(self.socket.as_raw_fd(), &mut queued, peek) {
            Ok(length) if &queued[..length] == QUEUED => length,
            _ => 0,
        };
        // Neither bytes nor an end have arrived there.
        let silent = recv(self.silent_peer.as_raw_fd(), &mut [0], peek);
        let silent = u8::from(silent == Err(nix::errno::Errno::EAGAIN));
        let content = fs::read_to_string(&self.file);
        format!(
            "shared={} page={page} queued={queued} silent={silent} pipe={} file={}",
            self.shared_word().load(SeqCst),
            readable(self.pipe.as_raw_fd()),
            content.map_or(0, |content| if content == CONTENT {
                content.len()
            } else {
                0
            }),
        )
    }
}

/// Returns how many bytes a pipe contains.
fn readable(pipe: RawFd) -> i32 {
    let mut bytes = 0;
    // SAFETY: FIONREAD writes one int.
    unsafe { libc::ioctl(pipe, libc::FIONREAD, &raw mut bytes) };
    bytes
}

/// Returns a lock whose holder never releases it.
fn held_for_ever() -> &'static Mutex<()> {
    static LOCK: Mutex<()> = Mutex::new(());
    let (pending, settlement) = settlement();
    thread::spawn(move || {
        let _held = LOCK.lock().unwrap_or_else(PoisonError::into_inner);
        drop(pending);
        loop {
            thread::park();
        }
    });
    settlement.wait();
    &LOCK
}
