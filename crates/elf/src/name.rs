//! Readable names of functions.

use std::fmt::{self, Write};

/// The maximum length of a name, in bytes. A longer one is useless to a reader, and a few bytes may
/// expand to gigabytes.
pub(crate) const MAX_NAME: u64 = 64 << 10;

/// Returns the readable form of a Rust linkage name, without the hash; `None` for any other name,
/// and for one that is too long.
///
/// ```
/// use rtops_elf::demangle;
/// assert_eq!(demangle("_RNvCs1234_7gateway4main").as_deref(), Some("gateway::main"));
/// assert_eq!(demangle("main"), None);
/// ```
#[must_use]
pub fn demangle(linkage: &str) -> Option<String> {
    if linkage.len() as u64 > MAX_NAME {
        return None;
    }
    let name = rustc_demangle::try_demangle(linkage).ok()?;
    let mut bounded = Bounded(String::new());
    write!(bounded, "{name:#}").ok()?;
    Some(bounded.0)
}

/// A text that refuses to grow beyond [`MAX_NAME`].
struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if (self.0.len() + text.len()) as u64 > MAX_NAME {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_linkage_names_are_read() {
        let old = "_ZN7gateway4main17h87a733ee78dcc10cE";
        assert_eq!(demangle(old).as_deref(), Some("gateway::main"));
        assert_eq!(demangle("epoll_wait"), None);
    }

    #[test]
    fn a_name_that_unfolds_without_end_is_none() {
        // Each type contains the previous one twice.
        let backwards = [
            "7", "j", "r", "z", "H", "P", "X", "15", "1d", "1n", "1x", "1H", "1R", "21", "2b", "2l",
        ];
        let pairs = backwards.map(|at| format!("TB{at}_B{at}_E"));
        let name = format!("_RINvC1a1fTjjjjjjjjjjE{}E", pairs.concat());
        assert_eq!(demangle(&name), None);
        let few = format!("_RINvC1a1fTjjjjjjjjjjE{}E", pairs[..4].concat());
        assert!(demangle(&few).is_some_and(|name| name.len() > 1000));
        let long = format!("_RNvC1a{}{}", MAX_NAME, "b".repeat(1 << 16));
        assert_eq!(demangle(&long), None);
    }
}
