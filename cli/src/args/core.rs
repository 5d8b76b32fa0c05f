//! Which core file a command is about.

use std::path::PathBuf;

use clap::{Args, ValueHint};

/// A core file, and where the files are that it does not hold.
#[derive(Args, Debug)]
pub struct CoreArgs {
    /// Read a core file: FILE, or the newest of a PID or NAME
    ///
    /// For a PID or the name of a program, rtops reads the newest core file that
    /// systemd-coredump has stored. The file may come from another host.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub core: Option<PathBuf>,
    /// The program that wrote the core file
    ///
    /// By default rtops looks for it at the path it ran from. rtops does not use
    /// another build of it.
    #[arg(long, value_name = "FILE", requires = "core", value_hint = ValueHint::FilePath,
          hide_short_help = true)]
    pub exe: Option<PathBuf>,
    /// Look for the program and its libraries below DIR
    ///
    /// DIR is a copy of the file system of the host or container that it ran in.
    #[arg(long, value_name = "DIR", requires = "core", value_hint = ValueHint::DirPath,
          hide_short_help = true)]
    pub sysroot: Option<PathBuf>,
}
