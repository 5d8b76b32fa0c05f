//! Man pages, generated from the definitions of the commands.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use clap::{Arg, Command};
use clap_mangen::{
    Man,
    roff::{Roff, bold, roman},
};

/// Writes `rtops.1`, and `rtops-stack.1` and so on for the other commands.
///
/// # Errors
/// If a file can't be written.
pub fn pages(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    // `rtops help` would repeat what the pages say.
    let mut command = rtops::command().disable_help_subcommand(true);
    command.build();
    page_and_those_below(&command, directory)
}

fn page_and_those_below(command: &Command, directory: &Path) -> io::Result<()> {
    for below in command.get_subcommands() {
        page_and_those_below(below, directory)?;
    }
    let shown = command
        .clone()
        .mut_args(with_help)
        .subcommand_value_name("command")
        .subcommand_help_heading("COMMANDS");
    let man = Man::new(shown).source(concat!("rtops ", env!("CARGO_PKG_VERSION")));
    let mut file = File::create(directory.join(man.get_filename()))?;
    man.render_title(&mut file)?;
    man.render_name_section(&mut file)?;
    man.render_synopsis_section(&mut file)?;
    man.render_description_section(&mut file)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut file)?;
    }
    man.render_options_section(&mut file)?;
    let mut roff = Roff::new();
    if let Some(text) = command.get_after_long_help() {
        sections(&mut roff, &text.to_string());
    }
    if command.get_name() != "rtops" {
        roff.control("SH", ["SEE ALSO"]);
        roff.text([bold("rtops"), roman("(1)")]);
    }
    roff.to_writer(&mut file)
}

/// Adds a long help: without one, clap_mangen skips the help of an option that `-h` leaves out.
fn with_help(argument: Arg) -> Arg {
    match argument.get_help().cloned() {
        Some(help) if argument.get_long_help().is_none() => argument.long_help(help),
        _ => argument,
    }
}

/// Writes what `--help` prints below the options. Examples and lists keep their
/// lines, which clap_mangen itself would fill.
fn sections(roff: &mut Roff, text: &str) {
    let mut notes = false;
    for block in text.split("\n\n") {
        match block.split_once(":\n") {
            Some((title, lines)) if lines.starts_with("  ") => {
                roff.control("SH", [title.to_uppercase().as_str()]);
                // As in `--help`, which is up to 80 columns wide.
                roff.control("in", ["3n"]);
                roff.control("nf", []);
                for line in lines.lines() {
                    roff.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
                }
                roff.control("fi", []);
                notes = false;
            }
            _ => {
                if notes {
                    roff.control("PP", []);
                } else {
                    roff.control("SH", ["NOTES"]);
                }
                notes = true;
                roff.text([roman(block)]);
            }
        }
    }
}
