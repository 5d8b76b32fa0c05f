//! A dump of what is in the memory of a process: of a core file, or of a live process that was
//! frozen for a moment, together with what its agent reports, if it has one.

mod afterwards;
pub mod core;
mod marks;
pub mod outside;
mod records;

use std::{
    collections::HashMap,
    fs::File,
    path::Path,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use rtops_cells::{Inventory, Noted};
use rtops_image::{Core, Gap, Image, Tid, Unreadable};
use rtops_protocol::{Afterwards, Outside, ProtocolError, Reply, Saved};
use rtops_report::dump::{Dump, Failure};
use rtops_types::Pid;

use self::marks::Marks;
use crate::{
    dump::{Saving, Taken, reader::SymbolReader},
    error::Error,
};

/// How much to find out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Detail {
    /// Which tasks there are.
    Census,
    /// Where they wait, as far as memory shows: no agent polls tasks or interrupts threads for it.
    InMemory,
    /// Where they wait, whatever it takes.
    Trees,
}

/// What to find out, and where to save it.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    pub detail: Detail,
    /// The time after which polls are given up.
    pub timeout: Duration,
    pub save: Option<&'a Path>,
    /// The reader that prepares to read symbols meanwhile.
    pub reader: Option<&'a SymbolReader<'a>>,
}

/// The process whose memory it is.
struct Subject<'a> {
    pid: Pid,
    name: String,
    /// The machine on which it runs or ran; empty if unknown.
    host: String,
    /// The start time in clock ticks after boot, if known.
    start_time: Option<u64>,
    origin: Origin<'a>,
    thread_names: HashMap<Tid, String>,
    /// The ids of threads in the process's own namespace, if they differ.
    inner: HashMap<Tid, i32>,
    /// What threads did after the process went on.
    afterwards: HashMap<Tid, Afterwards>,
    /// What identifies the tasks that an agent tracks.
    marks: Marks,
    gaps: &'a [Gap],
}

impl Subject<'_> {
    /// Returns the id of a thread in the process's own namespace.
    fn inner(&self, tid: Tid) -> i32 {
        self.inner.get(&tid).copied().unwrap_or(tid.as_raw())
    }
}

/// Where the memory comes from.
enum Origin<'a> {
    Core(&'a Core),
    Outside(Outside),
}

/// Finds the tasks and threads in an image. `pid` is its process, if that exists now, and `noted`
/// is where memory says which tracked futures are being polled.
fn inventory(
    image: &impl Image,
    pid: Option<Pid>,
    wanted: Wanted<'_>,
    noted: Option<Noted>,
) -> Result<Inventory, Unreadable> {
    if let Some(reader) = wanted.reader {
        reader.prepare(pid, image);
    }
    let options = rtops_cells::Options {
        trees: wanted.detail != Detail::Census,
        until: Instant::now().checked_add(wanted.timeout),
        workers: 0,
        noted,
    };
    Inventory::take(image, options)
}

/// Builds a dump from its frames, and saves them if there is a file for it.
fn dump(
    replies: Vec<Reply>,
    file: Option<&mut Saving>,
    unusable: impl Fn(&dyn ToString) -> Error,
) -> Result<Dump, Error> {
    if let Some(file) = file {
        file.restart();
        replies.iter().for_each(|reply| file.add(reply));
    }
    let mut replies = replies.into_iter();
    let dump = Dump::receive(|| replies.next().ok_or(ProtocolError::Unexpected(0)));
    dump.map_err(|failure| match failure {
        Failure::Nonsense(reason) => unusable(&reason),
        Failure::Lost(error) => unusable(&error),
        Failure::Refused(refused) => unusable(&refused.message),
    })
}

impl Wanted<'_> {
    /// Begins the file for the dump with this head, if it is to be saved.
    fn saving(&self, head: &Saved) -> Result<Option<Saving>, Error> {
        let saving = self.save.map(|path| Saving::begin(path, head.clone()));
        saving.transpose()
    }
}

/// Makes the dump of an image without an agent; `late` adds to the gaps of image and inventory.
fn alone(
    image: &impl Image,
    subject: &Subject<'_>,
    wanted: Wanted<'_>,
    inventory: Inventory,
    late: Vec<String>,
    unusable: impl Fn(&dyn ToString) -> Error,
) -> Result<Taken, Error> {
    let mut replies = vec![records::process(subject)];
    replies.extend(records::replies(image, subject, &inventory, late));
    drop(inventory);
    let at = SystemTime::now();
    let head = records::saved(subject, at);
    let mut file = wanted.saving(&head)?;
    let dump = dump(replies, file.as_mut(), unusable)?;
    file.map(Saving::finish).transpose()?;
    Ok(Taken {
        files: files(image),
        ..Taken::new(&head, subject.name.clone(), at, dump)
    })
}

/// Returns the files of the modules by path.
pub(super) fn files(image: &impl Image) -> HashMap<String, Arc<File>> {
    let files = image.modules().iter().filter_map(|module| {
        let file = module.file.as_ref().ok()?;
        let path = module.path.to_string_lossy().into_owned();
        Some((path, file.file.clone()))
    });
    files.collect()
}
