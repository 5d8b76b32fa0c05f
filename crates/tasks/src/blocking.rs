//! Closures on a blocking pool, which are never polled: they are queued, run and end.

use std::{panic::Location, sync::Arc};

use crate::{
    entry::{Birth, Entry, Kind, Name, Polling},
    registry,
    tracked::Registration,
};

/// Wraps a closure for a blocking pool, so that it is listed from now until it has run.
///
/// While it runs, the stack of its thread shows where it is.
pub fn track_blocking<F, R>(
    closure: F,
    name: Name,
    site: &'static Location<'static>,
) -> impl FnOnce() -> R
where
    F: FnOnce() -> R,
{
    track_blocking_entry(closure, name, site).1
}

/// Wraps a closure like [`track_blocking`], and also returns its entry.
pub fn track_blocking_entry<F, R>(
    closure: F,
    name: Name,
    site: &'static Location<'static>,
) -> (Arc<Entry>, impl FnOnce() -> R)
where
    F: FnOnce() -> R,
{
    let registration = Registration::new(Birth {
        name,
        kind: Kind::Blocking,
        future_type: std::any::type_name::<F>,
        site,
    });
    let entry = Arc::clone(&registration.0);
    let run = move || {
        let entry = &registration.0;
        entry.set_runtime(registry::runtime_here());
        let _running = Polling::begin(entry);
        closure()
    };
    (entry, run)
}
