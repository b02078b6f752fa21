//! The lab: the failover scenario, and that nothing is left behind.
//!
//! Needs root and the programs of `anycast_tests::lab::PROGRAMS`. The binary under test is named by
//! `ANYCAST_BIN`, which `cargo xtask test` sets.

use std::io;
use std::path::PathBuf;

use anycast_tests::lab::{leftovers, scenario};

fn binary() -> PathBuf {
    std::env::var_os("ANYCAST_BIN").map(PathBuf::from).expect(
        "ANYCAST_BIN names no binary to test: run `cargo xtask test`, or \
         `cargo build && ANYCAST_BIN=$PWD/target/debug/anycast cargo test -p anycast-tests --test lab`",
    )
}

#[test]
fn the_client_moves_between_the_cities_and_nothing_is_left_behind() {
    if let Err(error) = scenario::run(&binary(), &mut io::stdout()) {
        panic!("{error:#}");
    }
    let left = leftovers().expect("the host can be looked at");
    assert!(left.is_empty(), "left behind: {}", left.join(", "));
}
