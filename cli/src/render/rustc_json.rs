//! A compiler as JSON: what is known of it.

use rtops_binary::Rustc;
use serde::Serialize;

#[derive(Serialize)]
pub(super) struct RustcFields<'a> {
    rustc_version: Option<&'a str>,
    rustc_commit: Option<&'a str>,
}

impl<'a> RustcFields<'a> {
    pub(super) fn of(rustc: Option<&'a Rustc>) -> Self {
        let (version, commit) = match rustc {
            Some(Rustc::Version(version)) => (Some(version), None),
            Some(Rustc::Commit(commit)) => (None, Some(commit)),
            None => (None, None),
        };
        Self {
            rustc_version: version.map(String::as_str),
            rustc_commit: commit.map(String::as_str),
        }
    }
}
