//! The programs of others that the tests ask, and namespaces to ask them in.

use std::path::Path;
use std::process::Command;

use nix::sched::{CloneFlags, unshare};

/// What bpftool says, as JSON with its numbers by field name.
pub(crate) fn bpftool(arguments: &[&str]) -> serde_json::Value {
    let output = Command::new("bpftool")
        .arg("--json")
        .args(arguments)
        .output()
        .expect("bpftool is installed");
    assert!(
        output.status.success(),
        "bpftool {arguments:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

pub(crate) fn dump(pin: &Path, map: &str) -> serde_json::Value {
    let path = pin.join(map);
    bpftool(&["map", "dump", "pinned", path.to_str().unwrap()])
}

/// Runs `test` in a network namespace of its own, which ends with it.
pub(crate) fn in_a_namespace(test: impl FnOnce() + Send + 'static) {
    let outcome = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("these tests need root");
        test();
    })
    .join();
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

pub(crate) fn ip_tool(arguments: &str) -> String {
    let output = Command::new("ip")
        .args(arguments.split(' '))
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "ip {arguments}: {error}");
    String::from_utf8(output.stdout).unwrap()
}
