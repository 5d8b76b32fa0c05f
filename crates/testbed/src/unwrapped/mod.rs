//! More ways to wait, for untracked tasks; marked like those of [`awaits`](crate::awaits).

mod containers;
mod io;
mod wakerless;
mod wrappers;

use crate::awaits::Spawner;

pub(crate) fn spawn(tasks: &Spawner) {
    io::spawn(tasks);
    wrappers::spawn(tasks);
    containers::spawn(tasks);
    wakerless::spawn(tasks);
}
