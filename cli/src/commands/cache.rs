//! `rtops cache`: where looked-up functions and lines are kept, and how many there are.

use std::{
    io::{self, Write},
    path::Path,
};

use rtops_render::json;
use rtops_report::{escape::escape, format};
use rtops_symbols::cache::{self, MAX_CACHE, Store, Usage};
use serde::Serialize;

use super::{Format, Output};
use crate::{
    args::{CacheArgs, OutputArgs},
    error::Error,
};

#[derive(Serialize)]
struct Report<'a> {
    schema: u32,
    directory: &'a str,
    files: usize,
    bytes: u64,
    max_bytes: u64,
}

/// Prints the state of the cache, after clearing it if asked to.
///
/// # Errors
/// If there is no place for a cache, it can't be read or cleared, or the output can't be written.
pub fn run(args: &CacheArgs, output: &OutputArgs) -> Result<(), Error> {
    let Some(caches) = cache::user_directory() else {
        let why = "there is no cache: neither XDG_CACHE_HOME nor HOME is set";
        return Err(Error::Failed(why.to_owned()));
    };
    let name = caches.to_string_lossy();
    let failed =
        |error: io::Error| Error::Failed(format!("no cache in {}: {error}", escape(&name)));
    let store = Store::open(&caches).map_err(failed)?;
    let before = store.usage().map_err(failed)?;
    let usage = if args.clear {
        store.clear().map_err(failed)?;
        store.usage().map_err(failed)?
    } else {
        before
    };
    let mut output = Output::open(output)?;
    match output.format {
        Format::Json => write_json(&mut output.writer, store.directory(), usage)?,
        Format::Text if args.clear => write_cleared(&mut output.writer, store.directory(), before)?,
        Format::Text => write_text(&mut output.writer, store.directory(), usage)?,
    }
    output.finish()
}

fn write_json(writer: &mut impl Write, directory: &Path, usage: Usage) -> io::Result<()> {
    json::write(
        writer,
        &Report {
            schema: json::SCHEMA,
            directory: &directory.to_string_lossy(),
            files: usage.files,
            bytes: usage.bytes,
            max_bytes: MAX_CACHE,
        },
    )
}

fn write_text(writer: &mut impl Write, directory: &Path, usage: Usage) -> io::Result<()> {
    writeln!(
        writer,
        "{}: {} of {}, {}",
        escape(&directory.to_string_lossy()),
        format::bytes(usage.bytes),
        format::bytes(MAX_CACHE),
        format::count(usage.files, "file"),
    )
}

fn write_cleared(writer: &mut impl Write, directory: &Path, before: Usage) -> io::Result<()> {
    writeln!(
        writer,
        "removed {}, {}, from {}",
        format::count(before.files, "file"),
        format::bytes(before.bytes),
        escape(&directory.to_string_lossy()),
    )
}
