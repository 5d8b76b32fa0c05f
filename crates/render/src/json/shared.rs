//! What tasks and threads wait for, and who else has its address in memory, as JSON.

use rtops_protocol::{Party, Shared, SharedKind};
use rtops_report::{dump::Dump, shared::Parties};
use serde::Serialize;

/// Something that tasks or threads wait for.
#[derive(Serialize)]
pub(super) struct SharedPart {
    address: String,
    kind: &'static str,
    waiters: Vec<PartyPart>,
    others: Vec<PartyPart>,
    holders: Vec<PartyPart>,
    /// Whether no one else has its address.
    complete: bool,
}

#[derive(Serialize)]
struct PartyPart {
    /// `null` for a thread.
    task: Option<u64>,
    /// `null` for a task.
    tid: Option<i32>,
}

/// Returns everything in a dump that tasks or threads wait for.
pub(super) fn shared(dump: &Dump) -> Vec<SharedPart> {
    let parties = Parties::of(dump);
    let shared = dump.shared.iter();
    shared.map(|one| part(dump, &parties, one)).collect()
}

fn part(dump: &Dump, parties: &Parties, shared: &Shared) -> SharedPart {
    let all = |all: &[Party]| {
        let known = all.iter().map(|party| PartyPart {
            task: parties.task(*party).map(|task| dump.number(task.key)),
            tid: match *party {
                Party::Task { .. } => None,
                Party::BlockOn { tid } | Party::Thread { tid } => Some(tid),
            },
        });
        known.collect()
    };
    SharedPart {
        address: format!("{:#x}", shared.address),
        kind: match shared.kind {
            SharedKind::Queue => "queue",
            SharedKind::Slot => "slot",
            SharedKind::Lock => "lock",
        },
        waiters: all(&shared.waiters),
        others: all(&shared.others),
        holders: all(&shared.holders),
        complete: shared.is_complete,
    }
}
