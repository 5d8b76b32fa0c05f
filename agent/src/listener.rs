//! The socket in the file system: created safely, watched, and removed only if it is ours.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd},
        unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

use interprocess::{
    local_socket::{GenericFilePath, ListenerOptions, ToFsName, traits::Listener as _},
    os::unix::{local_socket::ListenerOptionsExt, uds_local_socket},
};
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg, OFlag},
    sys::{
        inotify::{AddWatchFlags, InitFlags, Inotify},
        socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket},
    },
    unistd::geteuid,
};
use rtops_protocol::SocketFile;

use crate::{
    config::StartError,
    descriptor::{Kept, Lost},
};

pub(crate) use uds_local_socket::Stream;

/// The maximum number of files in the directory that are checked for sockets of dead processes.
const MAX_STALE: usize = 1024;

/// Who may connect.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Audience {
    /// The process's own user, and root.
    Own,
    /// More users, whom the agent checks individually.
    Others,
}

/// A bound socket.
pub(crate) struct Listener {
    path: PathBuf,
    inode: u64,
    audience: Audience,
    socket: Kept<uds_local_socket::Listener>,
    watch: Kept<Inotify>,
    directory: Kept<Directory>,
}

/// The directory of the socket, locked.
struct Directory(Flock<File>);

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        (*self.0).as_fd()
    }
}

impl Listener {
    /// Binds the socket of this process in `directory`.
    pub(crate) fn bind(
        directory: &Path,
        file: SocketFile,
        audience: Audience,
    ) -> Result<Self, StartError> {
        let locked = open_directory(directory, audience)?;
        remove_stale(directory);
        let path = directory.join(file.name());
        let socket_error = |source| StartError::Socket {
            path: path.clone(),
            source,
        };
        let socket = bind(&path, audience)
            .and_then(Kept::new)
            .map_err(socket_error)?;
        let inode = fs::symlink_metadata(&path).map_err(socket_error)?.ino();
        let watch = watch(directory).and_then(Kept::new).map_err(socket_error)?;
        Ok(Self {
            path,
            inode,
            audience,
            socket,
            watch,
            directory: locked,
        })
    }

    /// Binds the socket again in the same place.
    pub(crate) fn rebind(&self, file: SocketFile) -> Result<Self, StartError> {
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        Self::bind(directory, file, self.audience)
    }

    pub(crate) fn accept(&self) -> io::Result<Kept<Stream>> {
        Kept::new(self.socket.get()?.accept()?)
    }

    /// Returns two descriptors: the first is readable when a client connects, the second when
    /// something has happened to the directory.
    ///
    /// # Errors
    /// If the service has closed any descriptor of the listener.
    pub(crate) fn sources(&self) -> Result<[BorrowedFd<'_>; 2], Lost> {
        self.directory.get()?;
        Ok([self.socket.get()?.as_fd(), self.watch.get()?.as_fd()])
    }

    /// Consumes the events of the directory. Returns whether the socket is still there.
    pub(crate) fn is_in_place(&self) -> bool {
        // The exact events do not matter: the check of the path below decides.
        if let Ok(watch) = self.watch.get() {
            drop(watch.read_events());
        }
        self.is_ours()
    }

    fn is_ours(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode)
    }

    /// Closes the socket and removes it, unless another one has taken its place.
    pub(crate) fn remove(self) {
        if !self.is_ours() {
            return;
        }
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "the rtops socket stays");
        }
    }
}

fn bind(path: &Path, audience: Audience) -> io::Result<uds_local_socket::Listener> {
    // The name is neither taken from another process nor removed on drop, which would also happen
    // in a forked child: a stale one is removed before, our own in `remove`.
    let socket = ListenerOptions::new()
        .name(path.to_fs_name::<GenericFilePath>()?)
        .nonblocking(interprocess::local_socket::ListenerNonblockingMode::Accept)
        .reclaim_name(false)
        .try_overwrite(false)
        .mode(0o600)
        .create_sync_as::<uds_local_socket::Listener>()?;
    if audience == Audience::Others {
        // Only now, as the umask applies to the mode at creation. Nobody else can put another file
        // in its place, as they can't write to the directory.
        fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
    }
    Ok(socket)
}

/// Opens the directory, creating it if needed, if nobody else can tamper with it. The shared lock
/// tells systemd-tmpfiles to leave it alone.
fn open_directory(path: &Path, audience: Audience) -> Result<Kept<Directory>, StartError> {
    let refuse = |reason: String| StartError::Directory {
        path: path.to_owned(),
        reason,
    };
    let mode = match audience {
        Audience::Own => 0o700,
        Audience::Others => 0o755,
    };
    match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(refuse(error.to_string()));
        }
        _ => {}
    }
    // O_NOFOLLOW and fstat, not lstat and open: what is checked must be what is used.
    let directory = OpenOptions::new()
        .read(true)
        .custom_flags((OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC).bits())
        .open(path)
        .map_err(|error| refuse(format!("it is no directory that can be opened ({error})")))?;
    let found = directory
        .metadata()
        .map_err(|error| refuse(error.to_string()))?;
    if found.uid() != geteuid().as_raw() {
        return Err(refuse(format!("it belongs to user {}", found.uid())));
    }
    if found.mode() & 0o022 != 0 {
        return Err(refuse("others may write to it".to_owned()));
    }
    if audience == Audience::Others && found.mode() & 0o055 != 0o055 {
        directory
            .set_permissions(fs::Permissions::from_mode(0o755))
            .map_err(|error| refuse(error.to_string()))?;
    }
    let locked = Flock::lock(directory, FlockArg::LockSharedNonblock)
        .map_err(|(_, error)| refuse(format!("it is locked ({error})")))?;
    Kept::new(Directory(locked)).map_err(|error| refuse(error.to_string()))
}

fn watch(directory: &Path) -> io::Result<Inotify> {
    let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
    // Only lets `Kept` recognize this inotify, even when the directory is gone. The root is never
    // deleted or moved, so no other inotify has this as its first watch.
    let never = AddWatchFlags::IN_DELETE_SELF | AddWatchFlags::IN_MOVE_SELF;
    if let Err(error) = watch.add_watch("/", never) {
        tracing::debug!(%error, "the rtops agent knows its inotify by the watch of its directory");
    }
    watch.add_watch(
        directory,
        AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_ONLYDIR,
    )?;
    Ok(watch)
}

/// Removes the sockets that dead processes left, which nobody listens on.
///
/// Asks the socket, not /proc, whether a process is alive: the directory may be shared with
/// containers whose processes have other PIDs here.
fn remove_stale(directory: &Path) {
    let Ok(files) = fs::read_dir(directory) else {
        return;
    };
    for file in files.flatten().take(MAX_STALE) {
        let is_socket = file.file_type().is_ok_and(|kind| kind.is_socket());
        let is_agents = file
            .file_name()
            .to_str()
            .is_some_and(|name| SocketFile::parse(name).is_some());
        if is_socket && is_agents && is_refused(&file.path()) {
            // Another process may have been faster.
            drop(fs::remove_file(file.path()));
        }
    }
}

fn is_refused(path: &Path) -> bool {
    // Nonblocking: the full backlog of a hung process would hang this one's start.
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let Ok(probe) = socket(AddressFamily::Unix, SockType::Stream, flags, None) else {
        return false;
    };
    UnixAddr::new(path)
        .is_ok_and(|address| connect(probe.as_raw_fd(), &address) == Err(Errno::ECONNREFUSED))
}
