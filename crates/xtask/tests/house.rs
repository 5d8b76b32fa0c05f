//! What a reader of the tree relies on: the pages name what exists, and imports look alike.
#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeSet, HashSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

use regex::Regex;

/// The hand-written files of the workspace, by their paths in it.
static FILES: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    let mut files = BTreeSet::new();
    collect(&workspace(), &mut files);
    assert!(files.contains("README.md"), "{files:?}");
    files
});

fn workspace() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.join("../..").canonicalize().unwrap()
}

fn collect(directory: &Path, files: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy();
        let is_ours = !name.starts_with('.') || name == ".ci";
        if is_ours && path.is_dir() && !path.join("CACHEDIR.TAG").exists() {
            collect(&path, files);
        } else if path.is_file() {
            let inner = path.strip_prefix(workspace()).unwrap();
            files.insert(inner.to_str().unwrap().to_owned());
        }
    }
}

/// Returns the text of all files with this ending, with their paths.
fn texts(extension: &str) -> impl Iterator<Item = (&'static String, String)> {
    let files = FILES.iter().filter(move |file| file.ends_with(extension));
    files.map(|file| (file, fs::read_to_string(workspace().join(file)).unwrap()))
}

/// Returns the pages, without blocks of program output or of a service's code.
fn pages() -> impl Iterator<Item = (&'static String, String)> {
    let fenced = Regex::new(r"(?ms)^ *```.*?^ *```").unwrap();
    texts(".md").map(move |(page, text)| (page, fenced.replace_all(&text, "").into_owned()))
}

/// Returns the pieces of a page between single backticks.
fn quoted(text: &str) -> Vec<&str> {
    let quoted = Regex::new(r"`([^`\n]+)`").unwrap();
    let found = quoted.captures_iter(text);
    found.map(|found| found.get(1).unwrap().as_str()).collect()
}

/// Expands `a/{b,c}.rs` into two files.
fn expanded(path: &str) -> Vec<String> {
    let parts = path
        .split_once('{')
        .and_then(|(before, rest)| Some((before, rest.split_once('}')?)));
    match parts {
        Some((before, (names, after))) => names
            .split(',')
            .map(|name| format!("{before}{name}{after}"))
            .collect(),
        None => vec![path.to_owned()],
    }
}

/// Whether a path ends like this; most pages leave out `crates/`. A `*` stands for anything.
fn is_there(path: &str) -> bool {
    let pattern = regex::escape(path.trim_end_matches('/')).replace(r"\*", "[^/]*");
    let pattern = Regex::new(&format!("(^|/){pattern}(/|$)")).unwrap();
    FILES.iter().any(|file| pattern.is_match(file))
}

#[test]
fn files_that_the_pages_name_are_there() {
    let path = Regex::new(r"^[\w.{},*/-]+$").unwrap();
    let file = Regex::new(r"[\w}]\.(rs|md|toml)$").unwrap();
    let directory = Regex::new(r"^(agent|cli|crates|docs)/").unwrap();
    let mut missing = Vec::new();
    let mut named = 0;
    for (page, text) in pages() {
        let words = quoted(&text).into_iter().flat_map(str::split_whitespace);
        // A plain file of `src` belongs to a service, to tokio, or to the crate at hand.
        let paths = words.filter(|word| {
            let is_ours = file.is_match(word) && !word.starts_with("src/");
            path.is_match(word) && (is_ours || directory.is_match(word))
        });
        for path in paths.flat_map(expanded) {
            named += 1;
            if !is_there(&path) {
                missing.push(format!("{page}: {path}"));
            }
        }
    }
    assert!(named > 100, "{named}");
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn links_between_the_pages_lead_somewhere() {
    let link = Regex::new(r"\]\(([^)#\s:]+)(#[^)]*)?\)").unwrap();
    let mut missing = Vec::new();
    for (page, text) in pages() {
        // This page is written into another directory.
        let home = match page.as_str() {
            "crates/xtask/src/commands.md" => "docs/operate/commands.md",
            page => page,
        };
        let home = workspace().join(home);
        for found in link.captures_iter(&text) {
            if !home.with_file_name(&found[1]).exists() {
                missing.push(format!("{page}: {}", &found[1]));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn tests_and_packages_that_the_pages_name_are_there() {
    // Only tests have names of this many words.
    let test = Regex::new(r"^[a-z0-9]+(_[a-z0-9]+){3,}$").unwrap();
    let target = Regex::new(r"(?:--test|--bin|-p|--package) ([a-z][\w-]*)").unwrap();
    let code: String = texts(".rs").chain(texts(".toml")).map(|it| it.1).collect();
    let word = Regex::new(r"[\w-]+").unwrap();
    let known: HashSet<&str> = word.find_iter(&code).map(|found| found.as_str()).collect();
    let mut missing = Vec::new();
    for (page, text) in texts(".md") {
        let tests = quoted(&text).into_iter().filter(|word| test.is_match(word));
        let targets = target.captures_iter(&text);
        let targets = targets.map(|found| found.get(1).unwrap().as_str());
        for name in tests.chain(targets) {
            if !known.contains(name) && !is_there(&format!("tests/{name}.rs")) {
                missing.push(format!("{page}: {name}"));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn tasks_that_the_pages_name_are_there() {
    let help = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .arg("--help")
        .output()
        .unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let tasks: HashSet<&str> = help
        .lines()
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .collect();
    let task = Regex::new(r"cargo xtask ([a-z][a-z0-9-]*)").unwrap();
    for (page, text) in texts(".md") {
        for found in task.captures_iter(&text) {
            assert!(tasks.contains(&found[1]), "{page}: {}", &found[0]);
        }
    }
}

/// rustfmt formats a tree of imports, but does not merge two of them.
#[test]
fn imports_of_one_root_are_one_tree() {
    let import = Regex::new(r"(?m)^( *)((?:pub(?:\([^)]*\))? )?)use (\w+)[^;]*;\n").unwrap();
    let comment = Regex::new(r"(?m)^\s*//.*$").unwrap();
    let mut twice = Vec::new();
    for (file, text) in texts(".rs") {
        let mut seen = HashSet::new();
        let mut end = 0;
        for found in import.captures_iter(&text) {
            let whole = found.get(0).unwrap();
            let between = &text[end..whole.start()];
            end = whole.end();
            if !comment.replace_all(between, "").trim().is_empty() {
                // Another module, or the item that an attribute is for.
                seen.clear();
            }
            let key = [1, 2, 3].map(|part| found[part].to_owned());
            if !seen.insert(key) {
                twice.push(format!("{file}: {}", &found[3]));
            }
        }
    }
    assert!(twice.is_empty(), "{twice:#?}");
}
