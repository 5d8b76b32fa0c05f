//! The future of an untracked task.

use rtops_symbols::{Address, LookedUp, Place};

use crate::task::Polls;

/// The future of untracked tasks that the same functions poll.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Future {
    /// Its type from debug info, else the function that polls it, else that function's address.
    pub name: String,
    /// Whether the name is more than an address.
    pub(crate) has_type: bool,
    /// If the future is a box, whose type says nothing, the place of the code inside.
    pub place: Option<Place>,
    /// The start in memory of the function that polls it.
    pub(crate) entry: u64,
}

impl Future {
    pub(crate) fn of(polls: Polls, found: &LookedUp) -> Self {
        let Some(poller) = found.pollers.get(&polls.poll).cloned() else {
            return Self::unknown(polls.poll);
        };
        let known = Self {
            has_type: poller.future_type.is_some(),
            name: poller.future_type.unwrap_or(poller.module_offset),
            place: None,
            entry: poller.entry,
        };
        let boxed = polls.boxed.filter(|_| known.is_box());
        let resolved =
            boxed.and_then(|boxed| found.resolved.get(&Address::InstructionPointer(boxed)));
        let Some(function) = resolved.and_then(|resolved| resolved.frames.last()) else {
            return known;
        };
        Self {
            name: format!("boxed {}", polled_by(&function.function.to_string())),
            has_type: true,
            place: function.place.clone(),
            ..known
        }
    }

    /// A future that was not looked up.
    fn unknown(poll: u64) -> Self {
        Self {
            name: format!("{poll:#x}"),
            has_type: false,
            place: None,
            entry: poll,
        }
    }

    /// Whether its type is a box, or unknown.
    fn is_box(&self) -> bool {
        let paths = ["alloc::boxed::Box<", "core::pin::Pin<alloc::boxed::Box<"];
        !self.has_type || paths.iter().any(|path| self.name.starts_with(path))
    }
}

/// Returns the name for a future that this function polls.
pub(crate) fn polled_by(function: &str) -> String {
    // `<app::Wait as core::future::future::Future>::poll`
    if function.starts_with('<') {
        let name = rtops_symbols::display_name(function);
        return name.strip_suffix("::poll").unwrap_or(&name).to_owned();
    }
    function
        .strip_suffix("::poll")
        .unwrap_or(function)
        .to_owned()
}
