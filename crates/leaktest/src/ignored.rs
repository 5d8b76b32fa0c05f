//! What may still be alive after a test.

use std::panic::Location;

/// Ignored names, functions and sites; each matches as a whole and never part of a word, so that a
/// rule for one task does not hide another.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ignored {
    pub(crate) names: Vec<String>,
    pub(crate) functions: Vec<String>,
    pub(crate) sites: Vec<String>,
}

impl Ignored {
    /// Whether a task or thread of this name is ignored.
    pub(crate) fn has_name(&self, name: &str) -> bool {
        self.names.iter().any(|rule| match rule.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => name == rule,
        })
    }

    /// Whether what was created at this site is ignored.
    pub(crate) fn has_site(&self, site: &Location<'_>) -> bool {
        self.sites.iter().any(|rule| match line(rule) {
            Some((file, line)) => line == site.line() && is_end(file, site.file()),
            None => is_end(rule, site.file()),
        })
    }

    /// Whether what is inside this function is ignored.
    pub(crate) fn has_function(&self, function: &str) -> bool {
        let path: Vec<&str> = function.split("::").collect();
        self.functions.iter().any(|rule| {
            let rule: Vec<&str> = rule.split("::").collect();
            path.windows(rule.len()).any(|part| part == rule)
        })
    }
}

/// Splits `src/pool.rs:41`.
fn line(rule: &str) -> Option<(&str, u32)> {
    let (file, line) = rule.rsplit_once(':')?;
    Some((file, line.parse().ok()?))
}

/// Whether a path ends in these whole components.
fn is_end(rule: &str, path: &str) -> bool {
    path.strip_suffix(rule)
        .is_some_and(|before| before.is_empty() || before.ends_with('/'))
}

#[cfg(test)]
mod tests {
    use std::panic::Location;

    use super::Ignored;

    fn rules(rules: &[&str]) -> Vec<String> {
        rules.iter().map(|rule| (*rule).to_owned()).collect()
    }

    #[test]
    fn names_match_whole_or_to_the_asterisk() {
        let ignored = Ignored {
            names: rules(&["pool", "conn *"]),
            ..Ignored::default()
        };
        let found = ["pool", "pools", "conn 7", "conn", "a conn 7"].map(|n| ignored.has_name(n));
        assert_eq!(found, [true, false, true, false, false]);
    }

    #[test]
    fn functions_match_by_whole_parts_of_their_path() {
        let ignored = Ignored {
            functions: rules(&["pool::reap", "watch"]),
            ..Ignored::default()
        };
        let found = [
            "app::pool::reap",
            "pool::reap::{async block}",
            "app::watch",
            "app::pool::reap_all",
            "app::whirlpool::reap",
            "app::reap",
            "",
        ];
        assert_eq!(
            found.map(|function| ignored.has_function(function)),
            [true, true, true, false, false, false, false]
        );
    }

    #[test]
    fn sites_match_by_the_end_of_their_path_and_the_line() {
        let site = Location::caller();
        let matches = |rule: String| {
            let ignored = Ignored {
                sites: vec![rule],
                ..Ignored::default()
            };
            ignored.has_site(site)
        };
        assert!(matches("ignored.rs".to_owned()));
        assert!(matches("src/ignored.rs".to_owned()));
        assert!(matches(site.file().to_owned()));
        assert!(matches(format!("src/ignored.rs:{}", site.line())));
        assert!(!matches(format!("src/ignored.rs:{}", site.line() + 1)));
        assert!(!matches("nored.rs".to_owned()));
        assert!(!matches("other.rs".to_owned()));
    }
}
