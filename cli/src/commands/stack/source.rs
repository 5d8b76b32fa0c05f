//! Lines of the sources that a target was built from, if they exist on this machine.

use std::{
    collections::{HashMap, HashSet},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use nix::unistd::geteuid;
use rtops_files::{NamedBy, Regular, bounded};
use rtops_report::{
    frame::Frame, frames::Frames, group::TaskGroup, threads::ThreadGroup, view::own_frame,
};
use rtops_symbols::Place;

/// The largest source file that is used, in bytes.
const MAX_FILE: usize = 1 << 20;
/// The most files to read.
const MAX_FILES: usize = 256;
/// The longest line to show, in bytes.
const MAX_LINE: usize = 400;

/// Where to look for sources, and which ones the target was built from.
#[derive(Debug)]
pub struct Sources {
    /// The directories that relative paths may start from.
    pub directories: Vec<PathBuf>,
    /// A file modified after this is not what the target was built from.
    pub built: SystemTime,
}

impl Sources {
    /// Returns the lines where the service's own code waits.
    pub fn lines<'g, 'a: 'g>(
        &self,
        frames: &Frames,
        tasks: impl Iterator<Item = &'g TaskGroup<'a>>,
        threads: impl Iterator<Item = &'g ThreadGroup<'a>>,
    ) -> HashMap<Place, String> {
        let own = tasks.filter_map(|group| own_frame(frames, &group.telling()));
        let own = own.chain(threads.filter_map(|group| frames.innermost_own(&group.links)));
        let place = |frame: &'_ Frame| frame.place.clone();
        let places: HashSet<Place> = own.filter_map(place).collect();
        let mut by_file: HashMap<&str, Vec<&Place>> = HashMap::new();
        for place in &places {
            by_file.entry(&place.file).or_default().push(place);
        }
        let mut lines = HashMap::new();
        for (file, places) in by_file.into_iter().take(MAX_FILES) {
            let Some(text) = self.read(file) else {
                continue;
            };
            let all: Vec<&str> = text.lines().collect();
            for place in places {
                let index = usize::try_from(place.line).unwrap_or(0).checked_sub(1);
                let line = index
                    .and_then(|index| all.get(index))
                    .map(|line| line.trim());
                // A brace says nothing.
                let tells = |line: &&str| line.contains(char::is_alphanumeric);
                let line = line.filter(|line| tells(line) && line.len() <= MAX_LINE);
                lines.extend(line.map(|line| (place.clone(), line.to_owned())));
            }
        }
        lines
    }

    /// Reads the source file at a path from debug info.
    fn read(&self, file: &str) -> Option<String> {
        let path = Path::new(file);
        // The target chose the path: show nothing but Rust sources.
        if path.extension().is_none_or(|extension| extension != "rs") {
            return None;
        }
        if path.is_absolute() {
            return self.read_at(path);
        }
        let mut places = self.directories.iter();
        places.find_map(|directory| self.read_at(&PathBuf::from(directory).join(path)))
    }

    fn read_at(&self, path: &Path) -> Option<String> {
        let file = Regular::at(path, NamedBy::Target).ok()?;
        let metadata = file.metadata();
        let is_trusted = [0, geteuid().as_raw()].contains(&metadata.uid());
        let is_same = metadata
            .modified()
            .is_ok_and(|modified| modified <= self.built);
        if !is_trusted || !is_same {
            return None;
        }
        let contents = bounded::read(file.open().ok()?, MAX_FILE).ok()?;
        let text = String::from_utf8(contents.bytes).ok();
        text.filter(|_| !contents.is_cut)
    }
}
