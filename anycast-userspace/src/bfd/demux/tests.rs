use super::*;
use crate::bfd::iana::State;

const SINGLE: Domain = Domain {
    hops: Hops::Single,
    ipv6: false,
    vrf: None,
};
const MULTI: Domain = Domain {
    hops: Hops::Multi,
    ..SINGLE
};

fn number(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn key(domain: Domain, peer: &str) -> Key {
    Key {
        domain,
        address: address(peer),
        source: None,
        interface: None,
        minimum_ttl: 1,
    }
}

/// 1: single hop; 2 and 3: the same peer on two links; 4: multihop from 10.0.0.9, at most one router between;
/// 5: as 1, in a VRF.
fn table() -> Table {
    let mut table = Table::default();
    let link = |index| Key {
        interface: Some(index),
        ..key(SINGLE, "10.0.0.2")
    };
    let vrf = Domain {
        vrf: Some("red".to_owned()),
        ..SINGLE
    };
    let multi = Key {
        source: Some(address("10.0.0.9")),
        minimum_ttl: 254,
        ..key(MULTI, "10.0.0.3")
    };
    table.insert(number(1), key(SINGLE, "10.0.0.1"));
    table.insert(number(2), link(20));
    table.insert(number(3), link(30));
    table.insert(number(4), multi);
    table.insert(number(5), key(vrf, "10.0.0.1"));
    table
}

#[test]
fn each_packet_reaches_its_session_or_none() {
    use Stray::{Ttl, Unknown};
    struct Case {
        name: &'static str,
        domain: Domain,
        your: u32,
        from: &'static str,
        interface: u32,
        ttl: Option<u8>,
        intercepted: bool,
        want: Result<u32, Stray>,
    }
    let base = || Case {
        name: "a first packet by its sender",
        domain: SINGLE,
        your: 0,
        from: "10.0.0.1",
        interface: 10,
        ttl: Some(255),
        intercepted: false,
        want: Ok(1),
    };
    let bound_to = |device: &str| Domain {
        vrf: Some(device.to_owned()),
        ..SINGLE
    };
    let (vrf, eth0) = (bound_to("red"), bound_to("eth0"));
    let far_vrf = Domain {
        hops: Hops::Multi,
        ..vrf.clone()
    };
    #[rustfmt::skip]
    let cases = [
        base(),
        Case { name: "a stranger", from: "10.0.0.7", want: Err(Unknown), ..base() },
        Case { name: "one router between", ttl: Some(254), want: Err(Ttl), ..base() },
        Case { name: "TTL unknown", ttl: None, want: Err(Ttl), ..base() },
        Case { name: "a router between, our discriminator known", your: 1, ttl: Some(254), want: Err(Ttl), ..base() },
        Case { name: "by interface", from: "10.0.0.2", interface: 30, want: Ok(3), ..base() },
        Case { name: "on no link of its own", from: "10.0.0.2", want: Err(Unknown), ..base() },
        Case { name: "by discriminator, from another address", your: 3, from: "10.9.9.9", want: Ok(3), ..base() },
        Case { name: "by a discriminator nobody has", your: 77, want: Err(Unknown), ..base() },
        Case { name: "multihop", domain: MULTI, from: "10.0.0.3", ttl: Some(254), want: Ok(4), ..base() },
        Case { name: "multihop from too far", domain: MULTI, from: "10.0.0.3", ttl: Some(253), want: Err(Ttl), ..base() },
        Case { name: "multihop port for a single-hop session", domain: MULTI, your: 1, want: Err(Unknown), ..base() },
        Case { name: "single-hop port for a multihop session", your: 4, want: Err(Unknown), ..base() },
        Case { name: "the same address in a VRF", domain: vrf.clone(), want: Ok(5), ..base() },
        Case { name: "in a VRF that has no such peer", domain: vrf.clone(), from: "10.0.0.2", interface: 20, want: Err(Unknown), ..base() },
        Case { name: "in a VRF, for a session without device", domain: vrf.clone(), your: 1, want: Err(Unknown), ..base() },
        Case { name: "without device, for a session in a VRF", your: 5, want: Err(Unknown), ..base() },
        Case { name: "on an interface that is a device, for a session without", domain: eth0.clone(), intercepted: true, ..base() },
        Case { name: "the same, our discriminator known", domain: eth0.clone(), intercepted: true, your: 1, ..base() },
        Case { name: "the same, for a session on another device", domain: eth0, intercepted: true, your: 5, want: Err(Unknown), ..base() },
        Case { name: "a session with the device comes before one without", domain: vrf, intercepted: true, want: Ok(5), ..base() },
        Case { name: "multihop on a device, for a single-hop session", domain: far_vrf, intercepted: true, your: 1, want: Err(Unknown), ..base() },
    ];
    for case in cases {
        let packet = Control {
            diagnostic: crate::bfd::iana::Diagnostic::NONE,
            state: State::Down,
            poll: false,
            last: false,
            control_plane_independent: false,
            demand: false,
            multiplier: std::num::NonZeroU8::MIN,
            my_discriminator: number(99),
            your_discriminator: NonZeroU32::new(case.your),
            desired_min_tx: crate::bfd::packet::Micros::SECOND,
            required_min_rx: crate::bfd::packet::Micros::SECOND,
            required_min_echo_rx: crate::bfd::packet::Micros(0),
        };
        let arrival = Arrival {
            source: address(case.from),
            destination: Some(address("10.0.0.9")),
            interface: Some(case.interface),
            ttl: case.ttl,
            intercepted: case.intercepted,
            payload: &[],
        };
        let found = table().select(&case.domain, &packet, &arrival);
        assert_eq!(found.map(NonZeroU32::get), case.want, "{}", case.name);
    }
}

#[test]
fn sessions_that_first_packets_could_not_tell_apart_conflict() {
    let table = table();
    let on = |index| Key {
        interface: Some(index),
        ..key(SINGLE, "10.0.0.2")
    };
    let from = |source: &str| Key {
        source: Some(address(source)),
        ..key(MULTI, "10.0.0.3")
    };
    let cases = [
        ("the same peer", key(SINGLE, "10.0.0.1"), Some(1)),
        (
            "the same peer, on any link",
            key(SINGLE, "10.0.0.2"),
            Some(2),
        ),
        ("the same link", on(30), Some(3)),
        ("another link", on(40), None),
        ("multihop from the same source", from("10.0.0.9"), Some(4)),
        ("multihop from another source", from("10.0.0.8"), None),
        (
            "multihop to a single-hop peer",
            key(MULTI, "10.0.0.1"),
            None,
        ),
    ];
    for (name, key, want) in cases {
        assert_eq!(table.conflict(&key).map(NonZeroU32::get), want, "{name}");
    }
}
