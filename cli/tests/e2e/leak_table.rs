//! `rtops leaks` on each case of the gallery: every leak is found, by the evidence and at the
//! line that it is meant to be found by, and cases that only look like leaks are not
//! reported. Makes the table of `docs/operate/leaks.md`.

use std::{
    env,
    fmt::Write,
    fs,
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use tempfile::tempdir;

use crate::{
    reply::Leaks,
    source::Marks,
    support::{Build, DEADLINE, Target},
};

/// How many cases run at once. They wait most of the time.
const AT_ONCE: usize = 4;

/// Set to write the table instead of comparing it.
const UPDATE: &str = "RTOPS_UPDATE_DOCS";

/// A line of `gallery --list`.
#[derive(Clone, Debug)]
struct Case {
    name: String,
    kind: String,
    runs: String,
    evidence: String,
    form: String,
    origin: String,
}

#[test]
fn every_leak_is_found_and_every_healthy_case_is_silent() {
    let queue = Mutex::new(cases());
    let marks = Marks::of_leaks();
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(case) = { queue.lock().unwrap().pop() } {
                    if let Err(failure) = judge(&case, &marks) {
                        failures.lock().unwrap().push(failure);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// The test above checks each row of the table.
#[test]
fn the_documents_have_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operate/leaks.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once("<!-- table:begin -->\n").unwrap();
    let (_, after) = rest.split_once("<!-- table:end -->").unwrap();
    let table = table(&cases());
    let wanted = format!("{before}<!-- table:begin -->\n{table}<!-- table:end -->{after}");
    if env::var_os(UPDATE).is_some() {
        fs::write(&path, wanted).unwrap();
    } else {
        assert!(
            text == wanted,
            "docs/operate/leaks.md is old; run this test with {UPDATE}=1"
        );
    }
}

fn cases() -> Vec<Case> {
    let output = Command::new(Build::gallery())
        .arg("--list")
        .output()
        .unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let cases = lines.lines().map(|line| {
        let fields: Vec<String> = line.split('\t').map(str::to_owned).collect();
        let [name, kind, runs, evidence, form, origin] = fields.try_into().unwrap();
        Case {
            name,
            kind,
            runs,
            evidence,
            form,
            origin,
        }
    });
    cases.collect()
}

/// Returns an error unless the case is found as it is meant to be.
fn judge(case: &Case, marks: &Marks) -> Result<(), String> {
    let directory = Arc::new(tempdir().unwrap());
    let target = Target::start_in(directory, Build::gallery(), &[&case.name]);
    if case.evidence == "silent" {
        return judge_healthy(case, &target);
    }
    let marks = marks.of(&case.name);
    let end = Instant::now() + DEADLINE;
    loop {
        let leaks = leaks(&target, arguments(case));
        let found = leaks.findings.iter().any(|finding| {
            // If one look proves that a task is stuck forever, it is reported as a deadlock.
            let is_proven = case.evidence == "stuck" && finding.evidence == "deadlock";
            (finding.evidence == case.evidence || is_proven)
                && finding.hint == (case.evidence == "orphaned")
                && finding.has_any_line(marks)
        });
        if found {
            return Ok(());
        }
        if Instant::now() > end {
            let Case { name, evidence, .. } = case;
            return Err(format!(
                "{name} is not found as {evidence} at {marks:?}: {leaks:#?}"
            ));
        }
    }
}

fn judge_healthy(case: &Case, target: &Target) -> Result<(), String> {
    // Longer than `--min-age`, so that idle tasks are old enough to be suspicious.
    thread::sleep(HEALTHY_AGE + Duration::from_millis(500));
    let leaks = leaks(target, HEALTHY);
    if leaks.complete && leaks.findings.is_empty() && leaks.verdicts.is_empty() {
        return Ok(());
    }
    Err(format!("{} is healthy: {leaks:#?}", case.name))
}

/// Returns the arguments that are needed to find a case.
fn arguments(case: &Case) -> &'static [&'static str] {
    match (&*case.runs, &*case.evidence) {
        ("threads", _) | (_, "growing") => &["--for", "2s", "--every", "500ms", "--min-age", "1s"],
        (_, "stuck" | "orphaned") => &["--for", "0", "--min-age", "1s"],
        _ => &["--for", "0", "--min-age", "1h"],
    }
}

/// The least age in [`HEALTHY`].
const HEALTHY_AGE: Duration = Duration::from_secs(4);
const HEALTHY: &[&str] = &["--for", "2s", "--every", "500ms", "--min-age", "4s"];

fn leaks(target: &Target, arguments: &[&str]) -> Leaks {
    let pid = target.pid.to_string();
    let run = target.rtops(&[&["leaks", &pid, "--json", "--timeout=60s"], arguments].concat());
    run.json()
}

fn table(cases: &[Case]) -> String {
    let mut table = String::new();
    for (kind, heading) in [
        ("leak", "Forms of leaks"),
        ("kernel", "Leaks of the field"),
        ("healthy", "Healthy look-alikes"),
    ] {
        let of_kind = cases.iter().filter(|case| case.kind == kind);
        let count = of_kind.clone().count();
        write!(table, "\n### {heading}: {count}\n\n").unwrap();
        table.push_str(
            "| case | what | runs in | found | by | after |\n|---|---|---|---|---|---|\n",
        );
        for case in of_kind {
            table.push_str(&row(case));
        }
    }
    table.push('\n');
    table
}

fn row(case: &Case) -> String {
    let Case {
        name,
        form,
        runs,
        evidence,
        origin,
        ..
    } = case;
    let what = match origin.as_str() {
        "" => form.clone(),
        origin => format!("{origin}: {form}"),
    };
    let (found, by) = match evidence.as_str() {
        "silent" => ("no, rightly", ""),
        evidence => ("yes", evidence),
    };
    format!(
        "| `{name}` | {what} | {runs} | {found} | {by} | {} |\n",
        after(case)
    )
}

/// Returns how long it takes to find a case with its [`arguments`].
fn after(case: &Case) -> &'static str {
    match (&*case.runs, &*case.evidence) {
        (_, "silent") => "",
        ("threads", _) | (_, "growing") => "2 s of watching",
        (_, "stuck" | "orphaned") => "one look, once older than `--min-age`",
        (_, "spinning") => "one look, 1 s into the poll",
        _ => "one look",
    }
}
