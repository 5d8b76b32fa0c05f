//! The lines of the targets' source that are marked with `// AWAIT <name>…`.

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

/// All marks, by the names of the tasks that wait there.
pub struct Marks(BTreeMap<String, Vec<Mark>>);

impl Marks {
    pub fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/targets/src");
        let mut marks = BTreeMap::new();
        add(&root, &root, &mut marks);
        assert!(!marks.is_empty(), "{root:?} has no marks");
        Self(marks)
    }

    /// The lines at which the task of this name waits.
    #[track_caller]
    pub fn of(&self, name: &str) -> &[Mark] {
        let marks = self.0.get(name);
        marks.unwrap_or_else(|| panic!("no line is marked with // AWAIT {name}"))
    }

    /// The names that occur in files below this folder.
    pub fn names_in(&self, folder: &str) -> Vec<&str> {
        let inside = |marks: &[Mark]| marks.iter().any(|mark| mark.file.contains(folder));
        let names = self.0.iter().filter(|(_, marks)| inside(marks));
        names.map(|(name, _)| name.as_str()).collect()
    }
}

fn add(root: &Path, folder: &Path, marks: &mut BTreeMap<String, Vec<Mark>>) {
    let entries: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    for path in entries {
        if path.is_dir() {
            add(root, &path, marks);
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let file = format!("targets/src/{}", path.strip_prefix(root).unwrap().display());
        for (text, line) in text.lines().zip(1..) {
            // Behind code only: what the marks mean is told in a comment.
            let Some((_, names)) = text
                .split_once("// AWAIT ")
                .filter(|(code, _)| !code.contains("//"))
            else {
                continue;
            };
            for name in names.split_whitespace() {
                let file = file.clone();
                marks
                    .entry(name.to_owned())
                    .or_default()
                    .push(Mark { file, line });
            }
        }
    }
}
