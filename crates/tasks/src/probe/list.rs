//! The probed polls under way on each thread, innermost first.
#![expect(
    unsafe_code,
    reason = "a list that a waker's clone may read at any time, in a thread-local without destructor"
)]

use std::{ptr, sync::Arc};

use super::frame::Frame;
use crate::local::{LOCAL, Local};

/// How far out a thread searches its list.
const MAX_DEPTH: usize = 64;

/// A place in a thread's list. The list owns it, and only its thread touches it.
///
/// Polls on coroutines end in any order, on any thread or never. So a place keeps its frame alive.
/// It is removed when its poll ends on the same thread, or else when the thread next makes a place
/// after the poll has ended or its dump is over. What is in the list when the thread ends is
/// leaked: at most a frame, and only if a coroutine was left in the middle of a probed poll.
pub(crate) struct Place {
    frame: Arc<Frame>,
    outer: *mut Self,
}

/// Keeps a frame in this thread's list until it is dropped, which may be on another thread.
pub(super) struct Listed<'a>(&'a Arc<Frame>);

impl<'a> Listed<'a> {
    pub(super) fn new(frame: &'a Arc<Frame>) -> Self {
        LOCAL.with(|local| {
            remove(local, |listed| listed.is_over());
            let place = Place {
                frame: Arc::clone(frame),
                outer: local.probes.get(),
            };
            local.probes.set(Box::into_raw(Box::new(place)));
        });
        Self(frame)
    }
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        let was_here = LOCAL.with(|local| remove(local, |listed| ptr::eq(listed, &**self.0)));
        self.0.end(was_here);
    }
}

/// Removes the places of matching frames from the list. Returns whether there were any.
fn remove(local: &Local, is_one: impl Fn(&Frame) -> bool) -> bool {
    let mut found = false;
    let mut inner: *mut Place = ptr::null_mut();
    let mut at = local.probes.get();
    while !at.is_null() {
        // SAFETY: all places in the list are boxes that it owns. Only this thread reaches them, no
        // reference from `find` is held here, and nothing called here looks at the list.
        unsafe {
            let outer = (*at).outer;
            if is_one(&(*at).frame) {
                found = true;
                match inner.as_mut() {
                    Some(inner) => inner.outer = outer,
                    None => local.probes.set(outer),
                }
                drop(Box::from_raw(at));
            } else {
                inner = at;
            }
            at = outer;
        }
    }
    found
}

/// Calls `look` with the frames of this thread, innermost first, until it returns something.
///
/// Runs inside `Waker::clone`: no allocation, no lock, no path that panics.
pub(super) fn find<'a, R>(
    local: &'a Local,
    mut look: impl FnMut(&'a Frame) -> Option<R>,
) -> Option<R> {
    let mut at = local.probes.get();
    for _ in 0..MAX_DEPTH {
        // SAFETY: the list owns the place, and changes only in `Listed`, on this thread, which is
        // here and calls nothing that makes or drops one.
        let place = unsafe { at.as_ref() }?;
        if let Some(found) = look(&place.frame) {
            return Some(found);
        }
        at = place.outer;
    }
    None
}
