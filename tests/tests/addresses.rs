//! Service Addresses on a host: as addresses and as routes, what a killed daemon leaves, and what others own.

use std::net::{IpAddr, UdpSocket};

use anycast_tests::netns::in_namespace;
use anycast_tests::process::run;
use anycast_userspace::addresses::{ManagedAddresses, PROTOCOL, Wanted};
use serde_json::Value;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Addresses,
    Routes,
}

/// What is wanted on `lo`, in one way.
fn wanted(kind: Kind, addresses: &[&str]) -> Wanted {
    let parsed: Vec<IpAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
    let on_lo = [("lo".to_owned(), parsed)].into();
    match kind {
        Kind::Addresses => Wanted {
            addresses: on_lo,
            ..Wanted::default()
        },
        Kind::Routes => Wanted {
            routes: on_lo,
            ..Wanted::default()
        },
    }
}

/// The addresses of the namespace but those of loopback, and the routes that carry our mark, in order.
fn ours() -> Vec<String> {
    let mut found = Vec::new();
    for family in ["-4", "-6"] {
        let protocol = PROTOCOL.to_string();
        let query = [
            "-j", family, "route", "show", "table", "local", "proto", &protocol,
        ];
        found.extend(list(&query, "dst"));
    }
    for interface in json(&["-j", "address", "show"]) {
        for address in interface["addr_info"].as_array().into_iter().flatten() {
            let local = address["local"].as_str().unwrap();
            if !["127.0.0.1", "::1"].contains(&local) {
                found.push(local.to_owned());
            }
        }
    }
    found.sort();
    found
}

fn json(arguments: &[&str]) -> Vec<Value> {
    let text = run("ip", arguments).unwrap();
    serde_json::from_str(if text.trim().is_empty() { "[]" } else { &text }).unwrap()
}

fn list(arguments: &[&str], field: &str) -> Vec<String> {
    let found = json(arguments).into_iter();
    found
        .map(|one| one[field].as_str().unwrap().to_owned())
        .collect()
}

fn with_runtime(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(test);
}

#[test]
fn what_a_killed_daemon_has_left_is_taken_over_or_taken_away_and_nothing_stays_at_the_end() {
    in_namespace(|| {
        with_runtime(async {
            run("ip", &["link", "set", "lo", "up"]).unwrap();
            for before in [Kind::Addresses, Kind::Routes] {
                for after in [Kind::Addresses, Kind::Routes] {
                    let mut killed = ManagedAddresses::open().unwrap();
                    let first = ["10.9.0.1", "10.9.0.2", "fd09::1", "fd09::8"];
                    killed.ensure(&wanted(before, &first)).await.unwrap();
                    // What is not removed is left, as by SIGKILL.
                    drop(killed);
                    assert_eq!(ours().len(), 4, "{before:?}: {:?}", ours());

                    let mut next = ManagedAddresses::open().unwrap();
                    let second = ["10.9.0.2", "10.9.0.9", "fd09::8"];
                    next.ensure(&wanted(after, &second)).await.unwrap();
                    assert_eq!(ours(), second, "{before:?}, then {after:?}");
                    next.remove_all().await;
                    assert_eq!(ours(), [""; 0], "{before:?}, then {after:?}");
                }
            }
        });
    });
}

#[test]
fn a_second_daemon_leaves_what_the_first_has_put_there() {
    in_namespace(|| {
        with_runtime(async {
            let [mut first, mut second] = [(); 2].map(|()| ManagedAddresses::open().unwrap());
            for kind in [Kind::Addresses, Kind::Routes] {
                let (one, other) = (["10.9.0.1", "fd09::1"], ["10.9.0.2", "10.9.0.1"]);
                first.ensure(&wanted(kind, &one)).await.unwrap();
                second.ensure(&wanted(kind, &other)).await.unwrap();
                assert_eq!(ours(), ["10.9.0.1", "10.9.0.2", "fd09::1"], "{kind:?}");
                second.remove_all().await;
                assert_eq!(ours(), one, "{kind:?}");
                first.remove_all().await;
                assert_eq!(ours(), [""; 0], "{kind:?}");
            }
        });
    });
}

#[test]
fn what_others_have_put_there_is_adopted_and_left() {
    in_namespace(|| {
        with_runtime(async {
            run("ip", &["link", "set", "lo", "up"]).unwrap();
            run("ip", &["address", "add", "10.9.0.1/24", "dev", "lo"]).unwrap();
            run(
                "ip",
                &["address", "add", "fd09::1/64", "dev", "lo", "nodad"],
            )
            .unwrap();
            run(
                "ip",
                &[
                    "route", "add", "local", "10.9.0.4", "dev", "lo", "proto", "static",
                ],
            )
            .unwrap();
            let before = state_of_the_host();
            for kind in [Kind::Addresses, Kind::Routes] {
                let mut managed = ManagedAddresses::open().unwrap();
                let all = ["10.9.0.1", "10.9.0.4", "10.9.0.7", "fd09::1", "fd09::7"];
                managed.ensure(&wanted(kind, &all)).await.unwrap();
                assert_ne!(state_of_the_host(), before, "{kind:?}");
                managed.remove_all().await;
                assert_eq!(state_of_the_host(), before, "{kind:?}");
            }
        });
    });
}

fn state_of_the_host() -> String {
    let queries: [&[&str]; 3] = [
        &["address", "show"],
        &["-4", "route", "show", "table", "all"],
        &["-6", "route", "show", "table", "all"],
    ];
    queries.map(|query| run("ip", query).unwrap()).concat()
}

#[test]
fn routes_are_as_few_as_hold_the_addresses_and_no_others() {
    in_namespace(|| {
        with_runtime(async {
            run("ip", &["link", "set", "lo", "up"]).unwrap();
            let all = [
                "10.9.0.4", "10.9.0.5", "10.9.0.6", "10.9.0.7", "10.9.0.9", "fd09::2", "fd09::3",
            ];
            let mut managed = ManagedAddresses::open().unwrap();
            managed.ensure(&wanted(Kind::Routes, &all)).await.unwrap();
            assert_eq!(ours(), ["10.9.0.4/30", "10.9.0.9", "fd09::2/127"]);
            UdpSocket::bind("10.9.0.6:0").expect("a server can be bound to an address");
            let other = UdpSocket::bind("10.9.0.8:0").map_err(|error| error.kind());
            assert_eq!(other.err(), Some(std::io::ErrorKind::AddrNotAvailable));
        });
    });
}

#[test]
fn no_address_of_ours_is_chosen_as_a_source() {
    in_namespace(|| {
        with_runtime(async {
            run("ip", &["link", "set", "lo", "up"]).unwrap();
            let mut managed = ManagedAddresses::open().unwrap();
            let addresses = wanted(Kind::Addresses, &["fd09::1"]);
            managed.ensure(&addresses).await.unwrap();
            let shown = run("ip", &["-6", "address", "show", "dev", "lo"]).unwrap();
            assert!(
                shown.contains("deprecated") && shown.contains("nodad"),
                "{shown}"
            );
        });
    });
}

#[test]
fn an_interface_that_is_not_there_is_named() {
    in_namespace(|| {
        with_runtime(async {
            let mut managed = ManagedAddresses::open().unwrap();
            let nowhere = Wanted {
                addresses: [("eth9".to_owned(), vec!["10.9.0.1".parse().unwrap()])].into(),
                ..Wanted::default()
            };
            let error = managed.ensure(&nowhere).await.unwrap_err().to_string();
            assert!(error.contains("`eth9` does not exist"), "{error}");
        });
    });
}
