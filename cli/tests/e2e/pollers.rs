//! The function by which tokio polls an untracked task names its future.

use std::{collections::BTreeSet, fs, path::Path};

use object::{Object, ObjectSection, ObjectSymbol};
use rtops_symbols::{Module, ModuleKind, Options, Poller, Symbols};

use crate::support::Build;

/// A part of the name of tokio's poll functions, of which there is one for each type of future.
const POLL: &str = "7runtime4task3raw4poll";

/// Returns what is known about each of these functions in a program, which need not run.
fn pollers(program: &Path) -> Vec<Poller> {
    let file = fs::read(program).unwrap();
    let elf = object::File::parse(&*file).unwrap();
    let code = elf.section_by_name(".text").unwrap();
    let module = Module {
        path: program.to_str().unwrap().to_owned(),
        build_id: elf.build_id().unwrap().unwrap().to_vec(),
        load_bias: 0,
        code: code.address()..code.address() + code.size(),
        kind: ModuleKind::MainExecutable,
    };
    let options = Options {
        pid: None,
        symbol_dirs: vec![program.parent().unwrap().to_owned()],
        ..Options::default()
    };
    let mut symbols = Symbols::new(vec![module], options);
    let polls = elf
        .symbols()
        .filter(|symbol| symbol.name().is_ok_and(|name| name.contains(POLL)));
    let polls = polls.map(|symbol| symbol.address());
    symbols.look_up([], polls).pollers.into_values().collect()
}

#[test]
fn each_type_of_future_is_named_in_every_build_with_debug_info() {
    for build in [Build::Release, Build::LtoFat, Build::Abort] {
        let pollers = pollers(build.path());
        assert!(pollers.len() > 20, "{pollers:#?}");
        let types: BTreeSet<&str> = pollers
            .iter()
            .map(|poller| poller.future_type.as_deref().unwrap())
            .collect();
        for start in [
            // The only untracked task of the scenario `joins`.
            "rtops_testbed::settle::settled::{async_fn_env#0}<core::future::pending::Pending",
            "rtops_tasks::tracked::Tracked<rtops_testbed::",
            // A worker of a runtime, and a closure of the service.
            "tokio::runtime::scheduler::multi_thread::worker::",
            "rtops_tasks::blocking::",
        ] {
            assert!(
                types.iter().any(|name| name.starts_with(start)),
                "{start} in {types:#?}"
            );
        }
    }
}

#[test]
fn without_debug_info_the_place_of_the_function_remains() {
    for poller in pollers(Build::NoDebug.path()) {
        assert_eq!(poller.future_type, None);
        assert!(poller.module_offset.starts_with("targets+0x"));
    }
}
