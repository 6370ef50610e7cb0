//! The host's scripts without a stack: read by shellcheck, and run with the kernel's own tools.

use std::process::Command;

use lifeboat_stack::{python, target_dir, workspace_root};

#[test]
fn the_hosts_scripts_are_shellcheck_clean() {
    let shellcheck = python().expect("the pinned environment").with_file_name("shellcheck");
    if !shellcheck.exists() {
        eprintln!("NOT RUN: shellcheck is pinned for Linux on x86_64 alone");
        return;
    }
    let host = workspace_root().join("host");
    let scripts = std::fs::read_dir(&host).expect("host/").flatten().map(|f| f.path());
    let scripts: Vec<_> = scripts.filter(|path| path.extension().is_some_and(|e| e == "sh")).collect();
    assert!(scripts.len() >= 3, "{scripts:?}");
    let done = Command::new(shellcheck).arg("--external-sources").args(&scripts).output().expect("shellcheck runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
}

/// `tend-host.sh` as it is, with the real `ss`, on real sockets, in a network namespace.
#[test]
fn connections_to_the_fixed_address_are_reset_for_good_and_no_others() {
    let here = workspace_root().join("tests/scenarios/tests/it/host/tend.py");
    let able = Command::new("unshare").args(["--net", "--map-root-user", "ss", "-V"]).output();
    if !able.is_ok_and(|done| done.status.success()) {
        eprintln!("NOT RUN: no network namespace can be made here, or there is no ss");
        return;
    }
    let directory = target_dir().join("lifeboat-scenarios").join(format!("tend-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let done = Command::new("unshare")
        .args(["--net", "--map-root-user", "python3"])
        .args([&here, &workspace_root().join("host/tend-host.sh"), &directory])
        .output()
        .expect("unshare runs");
    let _ = std::fs::remove_dir_all(&directory);
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success() && out.contains("tended"), "{out}\n{err}");
}
