//! The processes in a JSON document: a list or a tree.

use serde_json::Value;

/// Returns the record of a process.
pub fn record(document: &Value, pid: i32) -> Option<&Value> {
    records(document).find(|process| process["pid"] == pid)
}

/// Returns the PIDs of all processes.
pub fn pids(document: &Value) -> Vec<i64> {
    let pids = records(document).map(|process| process["pid"].as_i64().unwrap());
    pids.collect()
}

pub fn records(document: &Value) -> impl Iterator<Item = &Value> {
    document["processes"].as_array().unwrap().iter()
}
