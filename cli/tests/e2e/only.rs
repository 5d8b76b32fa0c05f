//! `rtops stack` without a target, where only the processes of the test can match.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use nix::unistd::geteuid;
use tempfile::tempdir;

use crate::support::{Build, Run};

/// Runs in a new PID namespace. A target ends when its input ends.
const SCRIPT: &str = r#"
say() { "$RTOPS" "$@" --max-pause=10s; echo "code $?"; }
start() {
    mkfifo "$1.in"
    env "$2" "$TARGETS" herd 3 < "$1.in" > "$1.out" &
    eval "exec $3> $1.in"
    until test -s "$1.out"; do sleep 0.05; done
}
say stack --tasks
sleep 1000 &
start first WITHOUT_AGENT=yes 3
say stack --tasks
say leaks --for 0
say stats
start second OTHER=yes 4
say stack 2>&1
"#;

#[test]
fn the_only_candidate_is_taken() {
    if !geteuid().is_root() {
        eprintln!("skipped: only root can make namespaces here");
        return;
    }
    let folder = tempdir().unwrap();
    fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--pid", "--fork", "--mount-proc", "--kill-child"])
        .args(["sh", "-c", SCRIPT])
        .current_dir(folder.path())
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("RTOPS_DIR", folder.path().join("sockets"))
        .env("RTOPS", env!("CARGO_BIN_EXE_rtops"))
        .env("TARGETS", Build::Dev.path());
    let run = Run::of(command).success();
    let parts: Vec<&str> = run.stdout.split_inclusive("code ").collect();
    assert_eq!(parts.len(), 6, "{run}");
    assert!(
        run.stderr.contains("runs tokio or has an rtops agent"),
        "{run}"
    );
    assert!(parts[1].starts_with("3\ntargets (pid "), "{run}");
    assert!(parts[2].starts_with("0\ntargets (pid "), "{run}");
    assert!(parts[3].starts_with("0\ntargets (pid "), "{run}");
    assert!(
        parts[4].starts_with("0\nrtops: 2 processes have an agent or run tokio; "),
        "{run}"
    );
    assert!(parts[5].starts_with("2\n"), "{run}");
}
