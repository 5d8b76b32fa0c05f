//! The holders of the locks that somebody waits for, as records of the protocol.

use std::{collections::HashSet, time::Duration};

use rtops_protocol::{Claim, ClaimMode, ClaimRole, Resource, ResourceKind};
use rtops_sync::{Contended, Kind, Mode};
use rtops_tasks::{Entry, Monotonic, Probed, ProbedState, Wakers, entries_with};

use crate::send::{Texts, location};

/// The maximum number of holders and waiters in a dump: 12 MiB.
const MAX_CLAIMS: usize = 200_000;

/// Drops locks beyond the limit. Returns the number of holders and waiters that are left out.
pub(super) fn cap(contended: &mut Vec<Contended>) -> usize {
    let mut left_out = 0;
    let mut kept = 0;
    contended.retain_mut(|lock| {
        left_out += lock.left_out;
        let claims = lock.holders.len() + lock.waiters.len();
        if kept + claims > MAX_CLAIMS {
            left_out += claims;
            return false;
        }
        kept += claims;
        true
    });
    left_out
}

/// Returns the holders that came after the dump had begun. Holders without a record can then
/// be taken to have ended.
pub(super) fn new_holders(contended: &[Contended], probed: &[Probed]) -> Vec<Probed> {
    let holders = contended.iter().flat_map(|lock| &lock.holders);
    let mut ids: HashSet<u64> = holders.map(|claim| claim.task).collect();
    if ids.is_empty() {
        return Vec::new();
    }
    for task in probed {
        ids.remove(&task.entry.id().get());
    }
    ids.remove(&0);
    let entries = if ids.is_empty() {
        Vec::new()
    } else {
        entries_with(&ids)
    };
    let records = entries.into_iter().map(|entry| Probed {
        state: state(&entry),
        in_state_for: entry.in_state_for(),
        age: entry.age(),
        entry,
        wakers: Wakers::NotKnown,
        lost_wakers: false,
        is_inside: false,
    });
    records.collect()
}

fn state(entry: &Entry) -> ProbedState {
    match entry.polled_by() {
        Some(tid) => ProbedState::Running(tid),
        None if entry.polls() == 0 => ProbedState::New,
        None => ProbedState::NotPolled,
    }
}

/// Returns the records for all of these locks.
pub(super) fn records(contended: &[Contended], texts: &mut Texts) -> (Vec<Resource>, Vec<Claim>) {
    let now = Monotonic::now();
    let resources = contended.iter().map(|lock| Resource {
        id: lock.id,
        kind: match lock.kind {
            Kind::Mutex => ResourceKind::Mutex,
            Kind::RwLock => ResourceKind::RwLock,
            Kind::Semaphore => ResourceKind::Semaphore,
            Kind::JoinSet => ResourceKind::JoinSet,
        },
        value_type: texts.id_or_none(lock.value_type),
        site: location(lock.site, texts),
    });
    let resources = resources.collect();
    let mut claims = Vec::new();
    for lock in contended {
        let holders = lock.holders.iter().map(|claim| (ClaimRole::Holder, claim));
        let waiters = lock.waiters.iter().map(|claim| (ClaimRole::Waiter, claim));
        claims.extend(holders.chain(waiters).map(|(role, claim)| Claim {
            resource: lock.id,
            role,
            task: claim.task,
            tid: claim.tid,
            since_ns: nanos(now.since(claim.since)),
            site: location(claim.site, texts),
            mode: match claim.mode {
                Mode::Exclusive => ClaimMode::Exclusive,
                Mode::Shared => ClaimMode::Shared,
            },
            permits: claim.permits,
        }));
    }
    (resources, claims)
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::panic::Location;

    use super::{Contended, Kind, MAX_CLAIMS, Mode, Monotonic, cap};

    fn contended(waiters: usize, left_out: usize) -> Contended {
        let site = Location::caller();
        let waiter = rtops_sync::Claim {
            task: 1,
            tid: 1,
            since: Monotonic::now(),
            site,
            mode: Mode::Shared,
            permits: 1,
        };
        Contended {
            id: 1,
            kind: Kind::Semaphore,
            value_type: "",
            site,
            holders: Vec::new(),
            waiters: vec![waiter; waiters],
            left_out,
        }
    }

    #[test]
    fn what_goes_beyond_the_limit_is_counted() {
        let mut few = vec![contended(2, 0), contended(3, 7)];
        assert_eq!((cap(&mut few), few.len()), (7, 2));
        let mut many = vec![contended(MAX_CLAIMS, 1), contended(2, 0)];
        assert_eq!((cap(&mut many), many.len()), (3, 1));
    }
}
