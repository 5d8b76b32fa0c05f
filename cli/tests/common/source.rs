//! Source lines that are marked with `// AWAIT <name>…` and `// MAYBE <name>…` in the targets, and
//! with `// LEAK <name>…` in the gallery.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// A marked line.
#[derive(Clone, Debug)]
pub struct Mark {
    /// The end of the path.
    pub file: String,
    pub line: u32,
}

/// All marks, by the names of the tasks that wait at them.
pub struct Marks(BTreeMap<String, Vec<Mark>>);

impl Marks {
    /// Reads the marks of the targets and services.
    pub fn read() -> Self {
        Self::read_in("testbed/src", "// AWAIT ")
    }

    /// Returns the marks of a source text that becomes `file` when it is built.
    pub fn of_text(text: &str, file: &str) -> Self {
        Self::signed(text, file, "// AWAIT ")
    }

    /// Returns the marks with another sign.
    pub fn signed(text: &str, file: &str, sign: &str) -> Self {
        let mut marks = Self(BTreeMap::new());
        marks.add_text(text, file, sign);
        marks
    }

    /// Reads the marks of lines that may be shown besides those of [`read`](Self::read).
    pub fn beside() -> Self {
        Self::read_in("testbed/src", "// MAYBE ")
    }

    /// Reads the marks of the gallery of leaks.
    pub fn of_leaks() -> Self {
        Self::read_in("testbed/src/gallery", "// LEAK ")
    }

    fn read_in(sources: &str, sign: &str) -> Self {
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
        let mut marks = Self(BTreeMap::new());
        marks.add(&crates, &crates.join(sources), sign);
        assert!(!marks.0.is_empty(), "{sources} has no marks");
        marks
    }

    /// Returns the lines at which the task of this name waits.
    #[track_caller]
    pub fn of(&self, name: &str) -> &[Mark] {
        let marks = self.0.get(name);
        marks.unwrap_or_else(|| panic!("no line is marked with // AWAIT {name}"))
    }

    /// Like `of`, but returns nothing if no line has this mark.
    pub fn find(&self, name: &str) -> &[Mark] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// Returns the names that occur in files below this folder.
    pub fn names_in(&self, folder: &str) -> Vec<&str> {
        let inside = |marks: &[Mark]| marks.iter().any(|mark| mark.file.contains(folder));
        let names = self.0.iter().filter(|(_, marks)| inside(marks));
        names.map(|(name, _)| name.as_str()).collect()
    }

    fn add(&mut self, crates: &Path, folder: &Path, sign: &str) {
        let entries: Vec<PathBuf> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        for path in entries {
            if path.is_dir() {
                self.add(crates, &path, sign);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let file = path.strip_prefix(crates).unwrap().display().to_string();
            self.add_text(&text, &file, sign);
        }
    }

    fn add_text(&mut self, text: &str, file: &str, sign: &str) {
        for (text, line) in text.lines().zip(1..) {
            // Only after code: comments also explain what the marks mean.
            let Some((_, names)) = text
                .split_once(sign)
                .filter(|(code, _)| !code.contains("//"))
            else {
                continue;
            };
            for name in names.split_whitespace() {
                let file = file.to_owned();
                let marks = self.0.entry(name.to_owned()).or_default();
                marks.push(Mark { file, line });
            }
        }
    }
}
