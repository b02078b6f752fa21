//! The lab: the failover scenario, and that nothing is left behind, however it ends.
//!
//! Needs root and the programs of `anycast_tests::lab::PROGRAMS`. The binary under test is named by
//! `ANYCAST_BIN`, which `cargo xtask test` sets.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anycast_tests::lab::{Lab, leftovers, scenario};
use anycast_tests::site::binary;
use anycast_tests::{interrupt, wait};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;

/// There can be one lab on a host.
static LAB: Mutex<()> = Mutex::new(());

fn the_only_lab() -> MutexGuard<'static, ()> {
    LAB.lock().unwrap_or_else(PoisonError::into_inner)
}

fn assert_nothing_is_left() {
    let left = leftovers().expect("the host can be looked at");
    assert!(left.is_empty(), "left behind: {}", left.join(", "));
}

#[test]
fn the_client_moves_between_the_cities_and_nothing_is_left_behind() {
    let _alone = the_only_lab();
    if let Err(error) = scenario::run(&binary(), &mut io::stdout()) {
        panic!("{error:#}");
    }
    assert_nothing_is_left();
}

#[test]
fn a_panic_leaves_nothing_behind() {
    let _alone = the_only_lab();
    let binary = binary();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _lab = Lab::start(&binary).expect("the lab starts");
        assert!(!leftovers().expect("the host can be looked at").is_empty());
        panic!("on purpose");
    }));
    assert!(panicked.is_err());
    assert_nothing_is_left();
}

#[test]
fn what_a_killed_lab_leaves_the_next_start_removes() {
    let _alone = the_only_lab();
    let mut child = a_lab_in_a_child();
    child.kill().expect("the child is killed");
    child.wait().expect("the child is reaped");
    assert!(
        !leftovers().expect("the host can be looked at").is_empty(),
        "the kill came too early"
    );
    drop(Lab::start(&binary()).expect("the lab starts over the remains"));
    assert_nothing_is_left();
}

#[test]
fn ctrl_c_leaves_nothing_behind() {
    let _alone = the_only_lab();
    let mut child = a_lab_in_a_child();
    let id = Pid::from_raw(child.id().try_into().expect("a process id fits"));
    kill(id, Signal::SIGINT).expect("the child is signalled");
    let ended = wait::until("the child to end", Duration::from_secs(20), || {
        Ok(child.try_wait()?)
    });
    let _ = child.kill();
    assert!(
        !ended.expect("it ends").success(),
        "the scenario ended before it was interrupted"
    );
    assert_nothing_is_left();
}

/// A process of its own that runs the scenario, once its daemons run.
fn a_lab_in_a_child() -> Child {
    let interrupts = SigSet::from_iter([Signal::SIGINT]);
    // The child starts with them blocked, so that its harness does not take them.
    interrupts.thread_block().expect("signals can be blocked");
    let child = Command::new(std::env::current_exe().expect("this test has a file"))
        .args(["--ignored", "--exact", "the_child_that_is_killed"])
        .env("ANYCAST_BIN", binary())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the child starts");
    interrupts
        .thread_unblock()
        .expect("signals can be unblocked");
    let socket = Path::new("/run/anycast-lab/city-b/anycast.sock");
    wait::until("the lab in the child", Duration::from_secs(20), || {
        Ok(socket.exists().then_some(()))
    })
    .expect("the child starts a lab");
    child
}

#[test]
#[ignore = "the other tests start it in a process of its own, to kill it"]
fn the_child_that_is_killed() {
    interrupt::install().expect("signals can be blocked");
    scenario::run(&binary(), &mut io::stdout()).expect("nobody interrupts it");
}
