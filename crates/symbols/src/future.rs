//! Finds the type of a future from the names in the function that polls it.
//!
//! tokio polls a task with a function specific to the type of its future, and only the type's name
//! tells it from others. Linkage names of the older kind leave the type out, and the function is
//! often only a jump. But debug info has the type in what is inlined at the target of the jump.

use rtops_types::Svma;

use crate::names;

/// The modules of tokio's functions that are specific to the type of a future, which is
/// their first generic argument.
const MODULES: [&str; 3] = [
    "tokio::runtime::task::raw",
    "tokio::runtime::task::harness",
    "tokio::runtime::task::core",
];
/// The names of these functions.
const FUNCTIONS: [&str; 3] = ["poll", "poll_inner", "poll_future"];
/// The type in which tokio wraps a closure that runs on its blocking pool.
const BLOCKING: &str = "tokio::runtime::blocking::task::BlockingTask";

/// A function that polls futures of one type.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Poller {
    /// The type, as debug info names it; for a closure on a blocking pool, that of the closure.
    pub future_type: Option<String>,
    /// Where in memory the code begins: the target of the jump, if the function is only a jump.
    pub entry: u64,
    /// The module, and where the function is in its ELF file.
    pub module_offset: String,
}

/// A function, as a module names it.
pub(crate) struct Named {
    /// The full name, as in [`Function::Named`](crate::Function::Named).
    pub name: String,
    /// The name in debug info: without a path, with generic arguments.
    pub bare: Option<String>,
}

impl Named {
    /// Returns the type of the future that this function of tokio's polls, by debug info;
    /// `None` if it is no such function.
    pub(crate) fn type_by_debug_info(&self) -> Option<String> {
        let bare = self.bare.as_deref()?;
        self.is_tokios().then(|| future_type(bare)).flatten()
    }

    /// Returns the same type by the linkage name, which calls everything async a closure. A
    /// name of the older kind has only the names of type parameters.
    pub(crate) fn type_by_name(&self) -> Option<String> {
        self.is_tokios().then(|| future_type(&self.name)).flatten()
    }

    fn is_tokios(&self) -> bool {
        let path = names::segments(&self.name);
        let Some((last, module)) = path.split_last() else {
            return false;
        };
        // The method's type may be in between, as in `harness::Harness::poll_inner`.
        let module = module.join("::");
        let is_in = |known: &str| {
            let rest = module.strip_prefix(known);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        };
        FUNCTIONS.contains(&last.as_str()) && MODULES.into_iter().any(is_in)
    }
}

fn future_type(function: &str) -> Option<String> {
    let found = names::first_argument(function)?;
    let is_closure = found.starts_with(BLOCKING);
    let closure = is_closure.then(|| names::first_argument(found)).flatten();
    let found = closure.unwrap_or(found);
    found.contains("::").then(|| found.to_owned())
}

/// Returns the target of the jump that a function begins with, if it does.
pub(crate) fn jump_target(address: Svma, code: &[u8]) -> Option<Svma> {
    match code {
        [0xe9, a, b, c, d, ..] => {
            let distance = i32::from_le_bytes([*a, *b, *c, *d]);
            let next = address.0.wrapping_add(5);
            Some(Svma(next.wrapping_add_signed(i64::from(distance))))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, bare: Option<&str>) -> Option<String> {
        let named = Named {
            name: name.to_owned(),
            bare: bare.map(str::to_owned),
        };
        named.type_by_debug_info().or_else(|| named.type_by_name())
    }

    #[test]
    fn the_first_argument_of_a_poll_of_tokios_is_the_future() {
        let bare = "poll_inner<app::f::{async_fn_env#0}<u8, app::A>, alloc::sync::Arc<app::H>>";
        for name in [
            "tokio::runtime::task::harness::Harness<T,S>::poll_inner",
            "tokio::runtime::task::harness::poll_inner<app::f::{async_fn_env#0}<u8, app::A>, H>",
        ] {
            assert_eq!(
                found(name, Some(bare)).as_deref(),
                Some("app::f::{async_fn_env#0}<u8, app::A>")
            );
        }
        // The newer linkage names have the arguments themselves.
        for name in [
            "tokio::runtime::task::raw::poll::<<app::Srv>::serve::{closure#0}, Arc<Handle>>",
            "<tokio::runtime::task::harness::Harness<<app::Srv>::serve::{closure#0}, H>>::poll",
        ] {
            assert_eq!(
                found(name, None).as_deref(),
                Some("<app::Srv>::serve::{closure#0}")
            );
        }
    }

    #[test]
    fn the_closure_of_a_blocking_pool_stands_for_its_task() {
        let bare = "poll<tokio::runtime::blocking::task::BlockingTask<app::f::{closure_env#0}>, S>";
        assert_eq!(
            found("tokio::runtime::task::raw::poll", Some(bare)).as_deref(),
            Some("app::f::{closure_env#0}")
        );
    }

    #[test]
    fn other_functions_tell_nothing() {
        for (name, bare) in [
            (
                "tokio::runtime::task::harness::Harness<T,S>::poll_inner",
                None,
            ),
            ("tokio::runtime::task::raw::poll", None),
            (
                "tokio::runtime::task::state::fetch_update_action",
                Some("fetch_update_action<app::f::{closure_env#0}, app::R>"),
            ),
            ("app::poll", Some("poll<app::f::{async_fn_env#0}>")),
            (
                "tokio::runtime::task::rawer::poll",
                Some("poll<app::F, app::S>"),
            ),
        ] {
            assert_eq!(found(name, bare), None, "{name}");
        }
    }

    #[test]
    fn a_jump_leads_forwards_or_backwards() {
        assert_eq!(
            jump_target(Svma(0x1000), &[0xe9, 0x10, 0, 0, 0, 0xcc]),
            Some(Svma(0x1015))
        );
        let back = [0xe9, 0xfb, 0xff, 0xff, 0xff];
        assert_eq!(jump_target(Svma(0x1000), &back), Some(Svma(0x1000)));
        assert_eq!(jump_target(Svma(0x1000), &[0x55, 0x48]), None);
        assert_eq!(jump_target(Svma(0x1000), &[0xe9, 0x10]), None);
    }
}
