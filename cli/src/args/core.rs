//! Which core file a command is about.

use std::path::PathBuf;

use clap::{Args, ValueHint};

/// A core file, and where the files are that it does not hold.
#[derive(Args, Debug)]
pub struct CoreArgs {
    /// Show what a core file holds: FILE, or the newest of a PID or NAME
    ///
    /// A PID or the name of a program stands for the newest core file that
    /// systemd-coredump keeps of it. The file may be of another host.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub core: Option<PathBuf>,
    /// The program that the core file is of
    ///
    /// By default it is looked for where it ran. Another build of it is not used.
    #[arg(long, value_name = "FILE", requires = "core", value_hint = ValueHint::FilePath,
          hide_short_help = true)]
    pub exe: Option<PathBuf>,
    /// Look for the program and its libraries below DIR
    ///
    /// As in a copy of the file system of the host or container that it ran in.
    #[arg(long, value_name = "DIR", requires = "core", value_hint = ValueHint::DirPath,
          hide_short_help = true)]
    pub sysroot: Option<PathBuf>,
}
