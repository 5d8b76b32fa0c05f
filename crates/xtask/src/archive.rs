//! Packs a directory as a `.tar.gz` that depends on nothing but names and contents.

use std::{
    env,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

/// The time of all files, unless `SOURCE_DATE_EPOCH` sets another: the year 2000.
const TIME: u64 = 946_684_800;

/// Packs the contents of `directory` under its name.
///
/// # Errors
/// If something can't be read, or the archive can't be written.
pub fn pack(directory: &Path, archive: &Path) -> io::Result<()> {
    let name = directory.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    // The gzip header has no time and no name.
    let file = GzBuilder::new().write(File::create(archive)?, Compression::default());
    let mut builder = Builder::new(file);
    append(&mut builder, directory, Path::new(name), time())?;
    builder.into_inner()?.finish()?;
    Ok(())
}

fn append(
    builder: &mut Builder<impl io::Write>,
    from: &Path,
    name: &Path,
    time: u64,
) -> io::Result<()> {
    let metadata = fs::metadata(from)?;
    let mut header = Header::new_gnu();
    header.set_mtime(time);
    header.set_uid(0);
    header.set_gid(0);
    if !metadata.is_dir() {
        header.set_size(metadata.len());
        header.set_mode(mode(&metadata));
        return builder.append_data(&mut header, name, File::open(from)?);
    }
    header.set_entry_type(EntryType::Directory);
    header.set_size(0);
    header.set_mode(0o755);
    builder.append_data(&mut header, name, io::empty())?;
    let entries = fs::read_dir(from)?.map(|entry| Ok(entry?.file_name()));
    let mut entries: Vec<_> = entries.collect::<io::Result<_>>()?;
    entries.sort();
    for entry in entries {
        append(builder, &from.join(&entry), &name.join(&entry), time)?;
    }
    Ok(())
}

/// Returns a mode that says whether it is a program, independent of the packer's umask.
fn mode(metadata: &fs::Metadata) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    if metadata.permissions().mode() & 0o100 == 0 {
        0o644
    } else {
        0o755
    }
}

fn time() -> u64 {
    let chosen = env::var("SOURCE_DATE_EPOCH").ok();
    chosen.and_then(|time| time.parse().ok()).unwrap_or(TIME)
}

/// Returns the path of the archive of a directory.
pub fn beside(directory: &Path) -> PathBuf {
    let mut name = directory.as_os_str().to_owned();
    name.push(".tar.gz");
    name.into()
}
