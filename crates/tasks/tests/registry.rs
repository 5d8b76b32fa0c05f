//! What the registry says about futures without a probe: their scopes, and what has ended.
#![allow(clippy::unwrap_used)]

mod common;

use std::future::pending;

use rtops_tasks::{ScopeId, Track, ended_sites, entries_of};

use common::{runtime, wait_until};

#[test]
fn scopes_are_inherited_by_what_is_spawned_and_keep_out_the_rest() {
    let runtime = runtime();
    let [ours, theirs] = [ScopeId::fresh(), ScopeId::fresh()];
    let spawn_nested = |scope: ScopeId, name: &'static str| {
        let _inside = scope.enter();
        let _context = runtime.enter();
        tokio::spawn(
            async move {
                tokio::spawn(pending::<()>().tracked(name));
                pending::<()>().await;
            }
            .tracked(name),
        );
    };
    spawn_nested(ours, "ours");
    spawn_nested(theirs, "theirs");
    assert_eq!(ScopeId::current(), ScopeId::NONE);
    let names = |scope| {
        let entries = entries_of(scope);
        let names = entries.iter().map(|entry| entry.name().map(str::to_owned));
        names.collect::<Vec<_>>()
    };
    let two = |name: &str| vec![Some(name.to_owned()); 2];
    wait_until("all are spawned", || {
        names(ours) == two("ours") && names(theirs) == two("theirs")
    });
}

#[test]
fn what_ended_is_counted_by_where_it_was_made() {
    let runtime = runtime();
    let line = line!() + 1;
    let make = || async {}.tracked("ends");
    let tasks: Vec<_> = (0..5).map(|_| runtime.spawn(make())).collect();
    for task in tasks {
        runtime.block_on(task).unwrap();
    }
    let ended = || {
        let sites = ended_sites().into_iter();
        let here = sites.filter(|one| one.site.file() == file!() && one.site.line() == line);
        here.map(|one| one.ended).sum::<u64>()
    };
    wait_until("all have ended", || ended() == 5);
}
