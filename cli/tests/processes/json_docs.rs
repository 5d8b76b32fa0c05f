//! `docs/operate/json.md` names every field of every document.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;

use crate::support::{Build, Target};

/// Objects whose keys are data.
const MAPS: [&str; 2] = ["threads_by_name", "worker_threads"];

/// Adds the names of all fields in a document.
fn collect(value: &Value, fields: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (field, value) in object {
                fields.insert(field.clone());
                if !MAPS.contains(&field.as_str()) {
                    collect(value, fields);
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, fields)),
        _ => {}
    }
}

/// Returns all text between backticks in the page.
fn documented() -> BTreeSet<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operate/json.md");
    let page = fs::read_to_string(page).unwrap();
    let quoted = page.split('`').skip(1).step_by(2);
    quoted.map(str::to_owned).collect()
}

#[test]
fn every_field_of_every_command_is_documented() {
    let target = Target::start(Build::Dev, &["locks"]);
    let lost = target.start_beside(Build::Dev, &["wakerless"]);
    let (pid, lost) = (target.pid.to_string(), lost.pid.to_string());
    let folder = tempfile::tempdir().unwrap();
    let saved = folder.path().join("dump").display().to_string();
    target.stack_text(&["--save", &saved]);
    let lines: [&[&str]; 15] = [
        &["list", "--all"],
        &["list", "--watch", "--count=1"],
        &["tree", "--all"],
        &["info", &pid],
        &["version", &pid, "--dependencies"],
        &["stats", &pid],
        &["stats", &pid, "--watch=100ms", "--count=1"],
        &["stack", &pid, "--all-frames"],
        &["stack", &lost, "--timeout=60s"],
        &["stack", &pid, "no-such-process"],
        &["diff", &saved, &lost, "--max-pause=10s"],
        &["leaks", &lost, "--for=0", "--timeout=60s"],
        &["leaks", &pid, "--for=0", "--min-age=0"],
        &["memstats", &pid],
        &["trim", &pid],
    ];
    let documented = documented();
    for line in lines {
        let run = target.rtops(&[line, &["--json"]].concat());
        let document: Value = run.json();
        assert_eq!(document["schema"], 1, "{run}");
        let mut fields = BTreeSet::new();
        collect(&document, &mut fields);
        assert!(fields.len() > 3, "{run}");
        let missing: Vec<_> = fields.difference(&documented).collect();
        assert!(missing.is_empty(), "{line:?} has {missing:?}");
    }
}
