//! Who holds what and who waits for it, as JSON.

use rtops_protocol::{Claim, ClaimMode, Resource};
use rtops_report::{dump::Dump, holders::Holders, task::Task, words};
use rtops_symbols::Place;
use serde::Serialize;

/// The most holders printed for each wait; all waiters for a lock have the same ones.
const MAX_HOLDERS: usize = 16;

/// What a task waits for, with its holders.
#[derive(Serialize)]
pub(super) struct WaitPart<'a> {
    #[serde(flatten)]
    resource: ResourcePart<'a>,
    #[serde(flatten)]
    claim: ClaimPart,
    holders: Vec<ClaimPart>,
}

/// What a task holds that others wait for.
#[derive(Serialize)]
pub(super) struct HoldPart<'a> {
    #[serde(flatten)]
    resource: ResourcePart<'a>,
    #[serde(flatten)]
    claim: ClaimPart,
    waiters: usize,
}

#[derive(Serialize)]
pub(super) struct ResourcePart<'a> {
    resource: u64,
    kind: &'static str,
    value_type: Option<&'a str>,
    made_at: Option<Place>,
}

#[derive(Serialize)]
pub(super) struct ClaimPart {
    /// `null` outside of all tracked tasks.
    task: Option<u64>,
    tid: i32,
    since_ns: u64,
    site: Option<Place>,
    mode: &'static str,
    permits: u32,
}

/// Returns what a task waits for, as far as the holders are known.
pub(super) fn waits_for<'a>(holders: &Holders<'a>, task: &Task) -> Vec<WaitPart<'a>> {
    let dump = holders.dump;
    let waits = holders.waits(task.key).iter().filter_map(|claim| {
        let lock = holders.lock(claim)?;
        let holders = lock.holders.iter().take(MAX_HOLDERS);
        Some(WaitPart {
            resource: resource_part(dump, lock.resource),
            claim: claim_part(dump, claim),
            holders: holders.map(|holder| claim_part(dump, holder)).collect(),
        })
    });
    waits.collect()
}

/// Returns what a task holds that others wait for.
pub(super) fn holds<'a>(holders: &Holders<'a>, task: &Task) -> Vec<HoldPart<'a>> {
    let holds = holders.holds(task.key).iter().filter_map(|claim| {
        let lock = holders.lock(claim)?;
        Some(HoldPart {
            resource: resource_part(holders.dump, lock.resource),
            claim: claim_part(holders.dump, claim),
            waiters: lock.waiters.len(),
        })
    });
    holds.collect()
}

pub(super) fn resource_part<'a>(dump: &'a Dump, resource: &Resource) -> ResourcePart<'a> {
    let Resource {
        id,
        kind,
        value_type,
        site,
    } = resource;
    ResourcePart {
        resource: *id,
        kind: words::resource(*kind),
        value_type: dump.string(*value_type),
        made_at: dump.place(*site),
    }
}

pub(super) fn claim_part(dump: &Dump, claim: &Claim) -> ClaimPart {
    ClaimPart {
        task: Some(claim.task).filter(|task| *task != 0),
        tid: claim.tid,
        since_ns: claim.since_ns,
        site: dump.place(claim.site),
        mode: match claim.mode {
            ClaimMode::Exclusive => "exclusive",
            ClaimMode::Shared => "shared",
        },
        permits: claim.permits,
    }
}
