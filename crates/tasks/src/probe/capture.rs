//! The copy of a stack, made inside `Waker::clone`: no allocation, no lock, no path that panics.
#![expect(
    unsafe_code,
    reason = "the registers that a copy starts from are this thread's only by promise"
)]

use std::{iter, ptr};

use super::{
    arch::KeptRegisters,
    frame::Frame,
    list,
    session::Session,
    slots::{Extent, MAX_OWNERS, Owner},
};
use crate::{
    entry::Entry,
    local::{LOCAL, Local},
};

/// The number of stacks that are copied in one poll. Of a larger `join_all`, the
/// first ones are shown.
pub(super) const MAX_CAPTURES: u32 = 64;

/// Copies the stack of this thread if it is polling `entry` for a dump.
pub(super) fn capture(entry: &Entry, registers: Option<KeptRegisters>) {
    let Some(registers) = registers else {
        return;
    };
    let probe = ptr::from_ref(entry).addr();
    LOCAL.with(|local| {
        let mut frames = Frames::default();
        list::find(local, |frame| {
            if !frame.is_polled_for(probe) {
                return None;
            }
            if !frame.is_probe() {
                frames.add_span(frame);
                return None;
            }
            if let Some(session) = frame.session() {
                frames.copy_stack(frame, &session, registers, local);
            }
            Some(())
        });
    });
}

/// The spans between an await point and the root of the probed future, innermost first.
#[derive(Default)]
struct Frames<'a> {
    spans: [Option<&'a Frame>; MAX_OWNERS - 1],
    count: usize,
}

impl<'a> Frames<'a> {
    fn add_span(&mut self, frame: &'a Frame) {
        if let Some(place) = self.spans.get_mut(self.count) {
            *place = Some(frame);
            self.count += 1;
        }
    }

    fn copy_stack(
        &self,
        root: &'a Frame,
        session: &Session,
        registers: KeptRegisters,
        local: &Local,
    ) {
        if !root.has_room() {
            return root.note_capture();
        }
        let mut extent = Extent {
            owners: [Owner::NONE; MAX_OWNERS],
            owner_count: 0,
            end: root.base(),
        };
        let own = iter::once(root).chain(self.spans.iter().flatten().copied());
        for owner in own.clone().filter_map(Frame::owner) {
            if let Some(place) = extent.owners.get_mut(extent.owner_count) {
                *place = owner;
                extent.owner_count += 1;
            }
        }
        // SAFETY: the registers were read in `Waker::clone` on this thread, which has not returned,
        // and `own_stack` is about this thread.
        let is_copied = unsafe { session.slots.copy(registers, extent, local.own_stack.get()) };
        for frame in own {
            if is_copied {
                frame.note_capture();
            } else {
                frame.note_no_room();
            }
        }
    }
}
