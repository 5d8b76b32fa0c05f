//! Puts the steps of a poll together into calls.
//!
//! A call is a call instruction followed by a lower stack pointer. It is over when the
//! stack pointer is back where it was before, be it by a return or by unwinding. Code that
//! a tail call jumps to is part of the call that jumps.

use std::collections::HashMap;

use rtops_emulate::{Flow, Step};

/// A call that a poll made.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Call {
    /// The call that made it, which comes earlier; the first call is its own caller.
    pub caller: u32,
    /// The address of the calling instruction; 0 for the first call.
    pub site: u64,
}

/// An instruction of a poll.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Visit {
    /// The call that it ran in.
    pub call: u32,
    /// Its address.
    pub ip: u64,
}

/// The order of the instructions of a trace, each of which may have run several times.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum VisitOrder {
    /// By when they first ran.
    First,
    /// By when they last ran.
    Last,
}

/// A call that has not returned.
struct Open {
    number: u32,
    /// The stack pointer before the call.
    sp: u64,
}

/// Returns the calls, and the visits in this order.
pub(crate) fn build(steps: &[Step], order: VisitOrder) -> (Vec<Call>, Vec<Visit>) {
    let mut calls = vec![Call { caller: 0, site: 0 }];
    let mut open: Vec<Open> = Vec::new();
    let mut ran: HashMap<(u32, u64), usize> = HashMap::new();
    let mut before: Option<&Step> = None;
    for (place, step) in steps.iter().enumerate() {
        while open.pop_if(|call| call.sp <= step.sp).is_some() {}
        let mut current = open.last().map_or(0, |call| call.number);
        if let Some(before) =
            before.filter(|before| before.flow == Flow::Call && step.sp < before.sp)
            && let Ok(number) = u32::try_from(calls.len())
        {
            calls.push(Call {
                caller: current,
                site: before.ip,
            });
            open.push(Open {
                number,
                sp: before.sp,
            });
            current = number;
        }
        let run = ran.entry((current, step.ip)).or_insert(place);
        if order == VisitOrder::Last {
            *run = place;
        }
        before = Some(step);
    }
    let mut visits: Vec<_> = ran.into_iter().collect();
    visits.sort_unstable_by_key(|(_, run)| *run);
    let visits = visits.into_iter().map(|((call, ip), _)| Visit { call, ip });
    (calls, visits.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of a call, and an address.
    type Pairs = Vec<(u32, u64)>;

    fn built(steps: &[(u64, u64, bool)]) -> (Pairs, Pairs) {
        let steps = steps.iter().map(|(ip, sp, is_call)| Step {
            ip: *ip,
            sp: *sp,
            flow: if *is_call { Flow::Call } else { Flow::Next },
        });
        let (calls, visits) = build(&steps.collect::<Vec<_>>(), VisitOrder::Last);
        (
            calls.iter().map(|call| (call.caller, call.site)).collect(),
            visits.iter().map(|visit| (visit.call, visit.ip)).collect(),
        )
    }

    #[test]
    fn calls_end_where_the_stack_pointer_is_back() {
        let (calls, visits) = built(&[
            (0x10, 0x100, true),
            (0x20, 0xf8, false),
            (0x21, 0xf0, true),
            (0x30, 0xe8, false),
            (0x22, 0xf0, false),
            (0x23, 0xf8, false),
            (0x11, 0x100, true),
            (0x20, 0xf8, false),
            (0x12, 0x100, false),
        ]);
        assert_eq!(calls, [(0, 0), (0, 0x10), (1, 0x21), (0, 0x11)]);
        let ran = [
            (0, 0x10),
            (1, 0x20),
            (1, 0x21),
            (2, 0x30),
            (1, 0x22),
            (1, 0x23),
            (0, 0x11),
            (3, 0x20),
            (0, 0x12),
        ];
        assert_eq!(visits, ran);
    }

    #[test]
    fn an_instruction_stands_where_it_last_ran() {
        let (_, visits) = built(&[
            (1, 0x100, false),
            (2, 0x100, false),
            (3, 0x100, false),
            (2, 0x100, false),
        ]);
        assert_eq!(visits, [(0, 1), (0, 3), (0, 2)]);
    }

    #[test]
    fn unwinding_ends_several_calls_at_once() {
        let (calls, visits) = built(&[
            (1, 0x100, true),
            (2, 0xf8, true),
            (3, 0xf0, true),
            (4, 0xe8, false),
            (5, 0x100, false),
        ]);
        assert_eq!(calls, [(0, 0), (0, 1), (1, 2), (2, 3)]);
        assert_eq!(visits.last(), Some(&(0, 5)));
    }

    #[test]
    fn a_step_that_was_missed_behind_a_call_loses_no_call() {
        let (calls, _) = built(&[(1, 0x100, true), (0x21, 0xe0, false), (2, 0x100, false)]);
        assert_eq!(calls, [(0, 0), (0, 1)]);
        let (calls, _) = built(&[(1, 0x100, true), (2, 0x100, false)]);
        assert_eq!(calls, [(0, 0)]);
    }
}
