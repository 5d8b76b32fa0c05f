//! Small programs, built by rustc, that print where they are.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use rtops_symbols::{Address, LackReason, Module, ModuleKind, Options, Symbol, Symbols};
use tempfile::TempDir;

/// A running program, which ends when this is dropped.
pub struct Target {
    pub child: Child,
    pub dir: TempDir,
    pub name: &'static str,
    /// The address that it prints.
    pub address: u64,
}

impl Target {
    /// Builds a program from these sources, the last of which is its root, and starts it.
    pub fn start(name: &'static str, sources: &[(&str, &str)], flags: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in sources {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let (root, _) = sources.last().unwrap();
        let built = Command::new(std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned()))
            .args([
                "--edition=2024",
                "-Copt-level=2",
                "-Cforce-frame-pointers=yes",
                "-Clink-arg=-Wl,--build-id",
                "--crate-name",
                name,
                "-o",
                name,
                root,
            ])
            .args(flags)
            .current_dir(dir.path())
            .status();
        assert!(built.unwrap().success());
        Self::run(dir, name)
    }

    /// Starts the program with this name in a directory.
    pub fn run(dir: TempDir, name: &'static str) -> Self {
        let mut child = Command::new(dir.path().join(name))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        Self {
            child,
            dir,
            name,
            address: line.trim().parse().unwrap(),
        }
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join(self.name)
    }

    /// Returns the module as the agent would describe it, from /proc/PID/maps.
    pub fn module(&self, kind: ModuleKind) -> Module {
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.child.id())).unwrap();
        let name = format!("/{}", self.name);
        let lines: Vec<&str> = maps.lines().filter(|line| line.contains(&name)).collect();
        let range = |line: &str| {
            let (start, rest) = line.split_once('-').unwrap();
            let end = rest.split(' ').next().unwrap();
            u64::from_str_radix(start, 16).unwrap()..u64::from_str_radix(end, 16).unwrap()
        };
        let code = lines.iter().find(|line| line.contains("r-xp")).unwrap();
        Module {
            path: self.path().to_str().unwrap().to_owned(),
            build_id: build_id(&format!("/proc/{}/exe", self.child.id())),
            load_bias: range(lines.first().unwrap()).start,
            code: range(code),
            kind,
        }
    }

    pub fn options(&self) -> Options {
        Options {
            pid: Some(self.child.id().try_into().unwrap()),
            symbol_dirs: Vec::new(),
            ..Options::default()
        }
    }

    pub fn frames(&self, module: Module, options: Options) -> (Vec<Arc<Symbol>>, Vec<LackReason>) {
        let mut symbols = Symbols::new(vec![module], options);
        let address = Address::ReturnAddress(self.address);
        let frames = symbols.resolve(&[address]).remove(&address).unwrap().frames;
        let lacks = symbols.lacks().into_iter().map(|lack| lack.reason);
        (frames, lacks.collect())
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // It may have ended on its own, which is fine.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Reads a build-id with the platform's tool, not with the code under test.
fn build_id(path: &str) -> Vec<u8> {
    let output = Command::new("readelf").args(["-n", path]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let hex = text
        .split("Build ID: ")
        .nth(1)
        .unwrap()
        .split_whitespace()
        .next()
        .unwrap();
    let digits: Vec<char> = hex.chars().collect();
    let bytes = digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap());
    bytes.collect()
}
