//! What becomes of namespaces when their owner ends, or is in them. Needs root.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use super::{Home, Inside, Namespace, Unnamed};
use crate::{process, wait};

/// Names the namespace to a child that is in it.
const INSIDE: &str = "ANYCAST_TEST_INSIDE";

/// Runs another test of this file in a process of its own.
fn in_a_child(test: &str) -> Child {
    Command::new(std::env::current_exe().expect("this test has a file"))
        .args(["--ignored", "--exact", "--nocapture"])
        .arg(format!("netns::tests::{test}"))
        .stdout(Stdio::piped())
        .spawn()
        .expect("the child starts")
}

fn namespace_of_this_thread() -> std::path::PathBuf {
    fs::read_link("/proc/thread-self/ns/net").expect("there is /proc")
}

#[test]
fn what_holds_an_unnamed_namespace_ends_with_its_owner_even_if_that_is_killed() {
    let mut child = in_a_child("the_owner_that_is_killed");
    let output = child.stdout.take().expect("its output is a pipe");
    let holder = BufReader::new(output)
        .lines()
        .map_while(Result::ok)
        .find_map(|line| line.split_once("held by ")?.1.parse::<u32>().ok());
    let held = holder.is_some_and(|pid| !process::has_ended(pid));
    // SIGKILL: nothing is dropped.
    child.kill().expect("the child is killed");
    child.wait().expect("the child is reaped");
    assert!(held, "the child made no namespace");
    let holder = holder.expect("it was there");
    wait::until_found("the holder to end", Duration::from_secs(20), || {
        process::has_ended(holder).then_some(())
    })
    .expect("it dies with its owner");
}

#[test]
#[ignore = "another test starts it in a process of its own, to kill it"]
fn the_owner_that_is_killed() {
    let namespace = Unnamed::create().expect("a namespace can be made");
    println!("held by {}", namespace.pid());
    thread::sleep(Duration::from_mins(1));
}

#[test]
fn who_removes_the_namespace_that_it_is_in_lives_on() {
    let namespace = Namespace::create(&format!("anycast-inside-{}", std::process::id()))
        .expect("a namespace can be made");
    let exe = std::env::current_exe().expect("this test has a file");
    let mut inside = namespace
        .command(&exe.to_string_lossy())
        .expect("it can be entered");
    let status = inside
        .args([
            "--ignored",
            "--exact",
            "netns::tests::the_owner_that_is_inside",
        ])
        .env(INSIDE, namespace.name())
        .status()
        .expect("the child starts");
    assert!(status.success(), "{status}");
    assert!(!namespace.path().exists(), "it is still there");
    // There is nothing left to remove.
    std::mem::forget(namespace);
}

#[test]
#[ignore = "another test starts it in a process of its own, inside a namespace"]
fn the_owner_that_is_inside() {
    let name = std::env::var(INSIDE).expect("the other test names it");
    let inside = Inside::named(&name);
    assert!(
        inside
            .processes()
            .expect("ip tells")
            .contains(&nix::unistd::getpid()),
        "this process is not in it"
    );
    let removed = Namespace::remove_leftovers(&name).expect("it can be removed");
    assert_eq!(removed, [name]);
}

#[test]
fn a_guest_goes_home_before_the_namespaces_are_removed() {
    let before = namespace_of_this_thread();
    let namespace = Namespace::create(&format!("anycast-guest-{}", std::process::id()))
        .expect("a namespace can be made");
    let home = Home::here().expect("there is /proc");
    home.visit(&namespace).expect("it can be entered");
    assert_ne!(namespace_of_this_thread(), before);
    drop(home);
    assert_eq!(namespace_of_this_thread(), before);
}
