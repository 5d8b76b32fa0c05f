//! A dump and what belongs to it: of a process, or from a file that an earlier dump was saved to.

pub mod agent;
pub mod image;
pub mod reader;

use std::{
    collections::HashMap,
    fs::File,
    io::{BufReader, ErrorKind, IsTerminal, Read, Write, stdin, stdout},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use nix::unistd::gethostname;
use rtops_attach::Yielding;
use rtops_protocol::{End, Hello, ProtocolError, Reply, Saved};
use rtops_report::{
    dump::{Dump, Failure},
    frames::Frames,
    view::View,
};
use rtops_types::Pid;

use self::{
    image::{Detail, core},
    reader::SymbolReader,
};
use crate::{
    args::SourceArgs,
    error::Error,
    find::target::Target,
    out::file::{OutputFile, is_dash},
};

/// The most bytes to read of a file.
const MAX_FILE: u64 = 4 << 30;

/// A dump, and the process it is of.
#[derive(Debug)]
pub struct Taken {
    pub dump: Dump,
    pub pid: Pid,
    /// The id of the process and its main thread in its own PID namespace.
    pub inner_pid: i32,
    pub name: String,
    /// `None` if no agent was asked.
    pub agent_version: Option<String>,
    /// The start time of the process in clock ticks after boot, if known.
    pub start_time: Option<u64>,
    /// When the dump was taken.
    pub at: SystemTime,
    /// Whether the process can be inspected now.
    pub is_live: bool,
    /// The files of its modules by path, if the process is not live.
    pub files: HashMap<String, Arc<File>>,
    /// While this exists, showing the dump yields to all other processes.
    pub yielding: Option<Yielding>,
}

impl Taken {
    /// Makes a dump of the process that `head` describes. Its memory
    /// and the files of its modules are gone.
    fn new(head: &Saved, name: String, at: SystemTime, dump: Dump) -> Self {
        Self {
            dump,
            pid: head.pid,
            inner_pid: head.inner_pid,
            name,
            agent_version: head.agent_version.clone(),
            start_time: head.start_time,
            at,
            is_live: false,
            files: HashMap::new(),
            yielding: None,
        }
    }

    /// Returns a view of the dump that shows nothing yet.
    pub fn view<'a>(&'a self, frames: &'a Frames) -> View<'a> {
        View {
            pid: self.pid,
            name: &self.name,
            agent_version: self.agent_version.as_deref(),
            ..View::of(&self.dump, frames)
        }
    }
}

/// Receives a dump of a process from its agent, frame by frame.
///
/// # Errors
/// If the agent gives no dump.
pub fn receive(
    target: &Target,
    next: impl FnMut() -> Result<Reply, ProtocolError>,
) -> Result<Dump, Error> {
    Dump::receive(next).map_err(|failure| match failure {
        Failure::Lost(error) => target.conversation(error),
        Failure::Refused(refused) => Error::Refused {
            pid: target.pid,
            refused,
        },
        Failure::Nonsense(reason) => target.nonsense(&reason),
    })
}

/// Returns the first frame of a saved dump that an agent gave.
pub fn saved(hello: &Hello, pid: Pid, at: SystemTime) -> Saved {
    Saved {
        taken: seconds(at),
        host: host(),
        pid,
        inner_pid: inner_pid(hello),
        start_time: Some(hello.start_time),
        agent_version: Some(hello.agent_version.clone()),
        rtops_version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// Returns the name of this machine; empty if unknown.
pub fn host() -> String {
    let host = gethostname().unwrap_or_default();
    host.to_string_lossy().into_owned()
}

/// Returns the seconds since 1970.
pub fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs())
}

/// Returns the id of the process in its own PID namespace.
pub fn inner_pid(hello: &Hello) -> i32 {
    i32::try_from(hello.pid).unwrap_or_default()
}

/// Loads the dump that the arguments name instead of a process: a saved one or a core file's.
///
/// # Errors
/// If the file can't be read or holds nothing of the kind.
pub fn of_file(
    source: &SourceArgs,
    detail: Detail,
    save: Option<&Path>,
    reader: Option<&SymbolReader<'_>>,
) -> Result<Option<Taken>, Error> {
    if let Some(path) = &source.from {
        return load(path).map(Some);
    }
    let core = core::open(&source.core)?;
    let wanted = image::Wanted {
        detail,
        timeout: source.timeout,
        save,
        reader,
    };
    core.map(|core| core::load(&core, wanted)).transpose()
}

/// Reads a saved dump, from standard input if its name is `-`.
///
/// # Errors
/// If the file can't be read or holds no dump.
pub fn load(path: &Path) -> Result<Taken, Error> {
    let unusable = |reason: String| Error::SavedDump {
        path: path.to_owned(),
        reason,
    };
    let file: Box<dyn Read> = if is_dash(path) {
        Box::new(stdin())
    } else {
        Box::new(File::open(path).map_err(|error| unusable(error.to_string()))?)
    };
    let mut file = BufReader::new(file.take(MAX_FILE));
    let dump = Dump::receive(|| Reply::receive(&mut file));
    let mut dump = dump.map_err(|failure| match failure {
        Failure::Lost(ProtocolError::Io(error)) => unusable(match error.kind() {
            ErrorKind::UnexpectedEof => "it is no dump, or is cut short".to_owned(),
            _ => error.to_string(),
        }),
        Failure::Lost(ProtocolError::NotRtops) => {
            unusable("it is none: what `--json` prints, for one, can't be read back".to_owned())
        }
        Failure::Lost(error) => unusable(error.to_string()),
        Failure::Refused(_) => unusable("it holds no dump".to_owned()),
        Failure::Nonsense(reason) => unusable(reason),
    })?;
    let saved = dump.saved.take();
    let saved = saved.ok_or_else(|| unusable("it does not say what it is a dump of".to_owned()))?;
    let at = UNIX_EPOCH.checked_add(Duration::from_secs(saved.taken));
    let at = at.unwrap_or(UNIX_EPOCH);
    Ok(Taken::new(&saved, name(&dump), at, dump))
}

fn name(dump: &Dump) -> String {
    let name = dump.process.as_ref().map(|process| &process.name);
    let name = name.or_else(|| dump.core.as_ref().map(|core| &core.program));
    name.cloned().unwrap_or_default()
}

/// A file that a dump is being saved to.
pub struct Saving {
    path: PathBuf,
    file: OutputFile,
    head: Reply,
    /// What has not been written yet.
    held: Vec<u8>,
    end: Option<End>,
    failed: Option<String>,
}

impl Saving {
    /// # Errors
    /// If the file can't be created.
    pub fn begin(path: &Path, head: Saved) -> Result<Self, Error> {
        if is_dash(path) && stdout().is_terminal() {
            return Err(Error::Usage(
                "a dump is binary, and standard output is a terminal; name a file with --save"
                    .to_owned(),
            ));
        }
        let mut this = Self {
            path: path.to_owned(),
            file: OutputFile::create(path)?,
            head: Reply::Saved(head),
            held: Vec::new(),
            end: None,
            failed: None,
        };
        this.restart();
        Ok(this)
    }

    /// Discards what is held, as another dump takes the place of the one so far.
    pub fn restart(&mut self) {
        self.held.clear();
        self.end = None;
        self.hold(&self.head.clone());
    }

    /// Adds a frame, and holds it until no other dump can take the place of this one.
    pub fn add(&mut self, reply: &Reply) {
        match reply {
            Reply::End(end) => self.end = Some(end.clone()),
            reply => self.hold(reply),
        }
    }

    /// Writes a frame as it arrives. Standard output takes nothing back, so frames for it are held.
    pub fn stream(&mut self, reply: &Reply) {
        self.add(reply);
        if !is_dash(&self.path) {
            self.write();
        }
    }

    /// Adds gaps to the dump, if its end has arrived.
    pub fn lacks(&mut self, gaps: &[String]) {
        if let Some(end) = &mut self.end {
            end.gaps.extend_from_slice(gaps);
        }
    }

    /// # Errors
    /// If the dump could not be written.
    pub fn finish(mut self) -> Result<(), Error> {
        if let Some(end) = self.end.take() {
            self.hold(&Reply::End(end));
        }
        self.write();
        let written = match self.failed {
            Some(reason) => Err(reason),
            None => self.file.finish().map_err(|error| error.to_string()),
        };
        written.map_err(|reason| Error::SaveDump {
            path: self.path,
            reason,
        })
    }

    fn hold(&mut self, reply: &Reply) {
        if self.failed.is_none() {
            let sent = reply.send(&mut self.held);
            self.failed = sent.err().map(|error| error.to_string());
        }
    }

    fn write(&mut self) {
        if self.failed.is_none() {
            let written = self.file.write_all(&self.held);
            self.failed = written.err().map(|error| error.to_string());
            self.held.clear();
        }
    }
}
