use garde::Validate;

use super::*;

const MINIMAL: &str = r#"
    local_as = 64512
    router_id = "10.0.1.2"
    [[peers]]
    name = "r1"
    address = "10.0.1.1"
    remote_as = 65001
"#;

/// Each problem of a section as `field: message`.
fn faults(text: &str) -> Vec<String> {
    let bgp: Bgp = toml::from_str(text).unwrap();
    let mut faults: Vec<String> = match bgp.validate() {
        Ok(()) => Vec::new(),
        Err(report) => report
            .iter()
            .map(|(path, error)| format!("{path}: {error}"))
            .collect(),
    };
    let between = bgp.problems().into_iter();
    faults.extend(between.map(|(field, message)| format!("{field}: {message}")));
    faults
}

#[test]
fn a_minimal_section_gets_the_defaults() {
    assert_eq!(faults(MINIMAL), [""; 0]);
    let bgp: Bgp = toml::from_str(MINIMAL).unwrap();
    assert_eq!(bgp.listen.len(), 2);
    let peer = &bgp.peers[0];
    assert_eq!(peer.port, 179);
    assert_eq!(peer.hold_time, crate::config::Span::from_secs(90));
    assert_eq!(peer.families, [Family::Ipv4, Family::Ipv6]);
    assert!(!peer.graceful_restart);
    assert_eq!(bgp.role_towards(peer), None);
}

#[test]
fn a_peer_can_be_given_by_prefix_or_interface() {
    for (place, remote_as) in [
        ("prefix = \"10.0.0.0/24\"\nlimit = 8", "\"65001-65010\""),
        ("prefix = \"fd00:1::/64\"", "\"external\""),
        ("interface = \"eth0\"", "\"external\""),
        ("interface = \"eth0\"", "\"internal\""),
    ] {
        let text = MINIMAL
            .replace("address = \"10.0.1.1\"", place)
            .replace("65001", remote_as);
        assert_eq!(faults(&text), [""; 0], "{place}");
    }
}

#[test]
fn what_is_wrong_is_reported_at_its_field() {
    let at = "address = \"10.0.1.1\"";
    let cases = [
        ("local_as = 64512", "local_as = 0", "local_as"),
        ("local_as = 64512", "local_as = 23456", "local_as"),
        ("10.0.1.2", "0.0.0.0", "router_id"),
        ("65001", "0", "peers[0].remote_as"),
        ("65001", "[65001, 64512]", "peers[0].remote_as"),
        ("10.0.1.1", "fe80::1", "peers[0].address"),
        ("10.0.1.1", "224.0.0.1", "peers[0].address"),
        (at, "", "peers[0].address"),
        (at, "prefix = \"10.0.0.1/24\"", "peers[0].prefix"),
        (at, "prefix = \"10.0.0.1/32\"", "peers[0].prefix"),
        (at, "prefix = \"fe80::/64\"", "peers[0].prefix"),
        (at, "prefix = \"10.0.0.0/24\"\nlimit = 0", "peers[0].limit"),
        (
            at,
            "prefix = \"10.0.0.0/24\"\ninterface = \"eth0\"",
            "peers[0].interface",
        ),
        (
            at,
            "prefix = \"10.0.0.0/24\"\nsource = \"10.0.0.1\"",
            "peers[0].source",
        ),
        (
            "65001",
            "65001\nprefix = \"10.0.0.0/24\"",
            "peers[0].prefix",
        ),
        ("65001", "65001\nlimit = 3", "peers[0].limit"),
        (
            at,
            "interface = \"eth0\"\nmultihop = 2",
            "peers[0].multihop",
        ),
        (at, "interface = \"eth0\"\nbfd = {}", "peers[0].bfd"),
        ("65001", "65001\nhold_time = \"2s\"", "peers[0].hold_time"),
        (
            "65001",
            "65001\nhold_time = \"3500ms\"",
            "peers[0].hold_time",
        ),
        ("65001", "65001\nsource = \"fd00::1\"", "peers[0].source"),
        ("65001", "65001\npassword = \"\"", "peers[0].password"),
        (
            "65001",
            "65001\npassword = \"x\"\nao_keys = [{ send_id = 1, secret = \"y\" }]",
            "peers[0].ao_keys",
        ),
        (
            "65001",
            "65001\nao_keys = [{ send_id = 1 }]",
            "peers[0].ao_keys[0].secret",
        ),
        (
            "65001",
            "65001\nao_keys = [{ send_id = 1, secret = \"y\" }, { send_id = 2, receive_id = 1, secret = \"z\" }]",
            "peers[0].ao_keys",
        ),
        ("65001", "65001\nfamilies = []", "peers[0].families"),
        ("65001", "65001\nretry = \"0s\"", "peers[0].retry"),
        (
            "65001",
            "65001\nsend_hold_time = \"90s\"",
            "peers[0].send_hold_time",
        ),
        (
            "65001",
            "65001\nhold_time = \"0s\"\nsend_hold_time = \"900ms\"",
            "peers[0].send_hold_time",
        ),
        ("65001", "65001\nmultihop = 3\nbfd = {}", "peers[0].bfd"),
        ("65001", "64512\nrole = \"customer\"", "peers[0].role"),
        ("65001", "65001\nstrict_role = true", "peers[0].strict_role"),
        (
            "65001",
            "65001\nattributes = { up = { prepend = 33 } }",
            "peers[0].attributes.up.prepend",
        ),
    ];
    for (from, to, field) in cases {
        let faults = faults(&MINIMAL.replace(from, to));
        let wanted = format!("{field}: ");
        assert!(
            faults.iter().any(|fault| fault.starts_with(&wanted)),
            "{to}: {faults:?}"
        );
    }
}

#[test]
fn two_peers_with_one_name_or_place_are_refused() {
    let second = |name: &str, address: &str| {
        format!(
            "{MINIMAL}\n[[peers]]\nname = \"{name}\"\naddress = \"{address}\"\nremote_as = 65002\n"
        )
    };
    assert_eq!(
        faults(&second("r1", "10.0.1.3")),
        ["peers[1].name: two peers are named `r1`"]
    );
    assert_eq!(
        faults(&second("r2", "10.0.1.1")),
        ["peers[1].address: two peers are at 10.0.1.1"]
    );
}

#[test]
fn one_place_in_two_devices_is_two_places() {
    for place in [
        "address = \"10.1.0.1\"",
        "prefix = \"10.1.0.0/24\"",
        "prefix = \"fd00:1::/64\"",
    ] {
        let peer = |name: &str, device: &str| {
            format!(
                "[[peers]]\nname = \"{name}\"\n{place}\nremote_as = 65002\ndevice = \"{device}\"\n"
            )
        };
        let with = |device: &str| {
            let (red, second) = (peer("red", "vrf-red"), peer("second", device));
            faults(&format!("{MINIMAL}\n{red}{second}"))
        };
        assert_eq!(with("vrf-blue"), [""; 0], "{place}");
        let refused = with("vrf-red");
        let [one] = &refused[..] else {
            panic!("{place}: {refused:?}");
        };
        assert!(one.contains("two peers are at"), "{one}");
        assert!(one.contains("%vrf-red"), "{one}");
    }
}

#[test]
fn one_link_local_address_on_two_links_has_one_key() {
    let (a, b) = ("password = \"a\"", "password = \"b\"");
    let (red, blue) = ("device = \"red\"", "device = \"blue\"");
    // The keys of both, their devices, and the field that is at fault.
    let cases = [
        (["", ""], ["", ""], None),
        ([a, a], ["", ""], None),
        ([a, b], ["", ""], Some("peers[2].password: ")),
        ([a, ""], ["", ""], Some("peers[2].address: ")),
        (["", b], ["", ""], Some("peers[2].password: ")),
        // Two listeners, each with its own key.
        ([a, b], [red, blue], None),
        // What has no device comes to the listener of either.
        ([a, b], ["", blue], Some("peers[2].password: ")),
    ];
    for (keys, devices, field) in cases {
        let peer = |at: usize| {
            let (key, device) = (keys[at], devices[at]);
            format!(
                "[[peers]]\nname = \"spine{at}\"\naddress = \"fe80::1\"\ninterface = \"eth{at}\"\n\
                 remote_as = 65002\n{key}\n{device}\n"
            )
        };
        let found = faults(&format!("{MINIMAL}\n{}{}", peer(0), peer(1)));
        match (field, &found[..]) {
            (None, []) => {}
            (Some(field), [one]) => {
                assert!(one.starts_with(field), "{one}");
                assert!(one.contains("`spine0`"), "{one}");
            }
            (None | Some(_), _) => panic!("{keys:?} {devices:?}: {found:?}"),
        }
    }
}

#[test]
fn bfd_over_hops_is_for_a_peer_over_hops() {
    for (text, fine) in [
        ("multihop = 3\nbfd = { multihop = true }", true),
        ("multihop = 1\nbfd = {}", true),
        ("bfd = { multihop = true }", true),
        ("multihop = 3\nbfd = {}", false),
    ] {
        let found = faults(&MINIMAL.replace("65001", &format!("65001\n{text}")));
        assert_eq!(found.is_empty(), fine, "{text}: {found:?}");
    }
}

#[test]
fn peers_by_interface_share_their_keys() {
    let leaf = |number: u8, password: &str| {
        format!(
            "[[peers]]\nname = \"leaf{number}\"\ninterface = \"eth{number}\"\nremote_as = \"external\"\n\
             password = \"{password}\"\n"
        )
    };
    let with = |second: &str| format!("{MINIMAL}\n{}{}", leaf(1, "sesame"), leaf(2, second));
    assert_eq!(faults(&with("sesame")), [""; 0]);
    let refused = faults(&with("other"));
    assert!(
        refused[0].starts_with("peers[2].password: is not that of `leaf1`"),
        "{refused:?}"
    );
}

#[test]
fn a_peer_without_a_key_is_not_among_links_that_demand_one() {
    let peers = |key_of_links: &str, key: &str| {
        format!(
            "{MINIMAL}\n[[peers]]\nname = \"leaf\"\ninterface = \"eth1\"\nremote_as = 65002\n{key_of_links}\n\
             [[peers]]\nname = \"spine\"\naddress = \"fe80::1\"\ninterface = \"eth2\"\nremote_as = 65003\n{key}\n"
        )
    };
    let key = "password = \"sesame\"";
    for (links, own) in [("", ""), ("", key), (key, key), (key, "password = \"own\"")] {
        assert_eq!(faults(&peers(links, own)), [""; 0], "{links} {own}");
    }
    let refused = faults(&peers(key, ""));
    let [one] = &refused[..] else {
        panic!("{refused:?}");
    };
    assert!(one.starts_with("peers[2].address: "), "{one}");
    assert!(one.contains("`leaf`") && one.contains("`spine`"), "{one}");
}

#[test]
fn roles_make_us_a_customer_of_external_peers_that_say_nothing_else() {
    let cases = [
        ("65001", None),
        ("65001\nrole = \"peer\"", Some(Role::Peer)),
        ("64512", None),
    ];
    for (peer, own) in cases {
        let text = MINIMAL.replace("65001", peer);
        let bgp: Bgp = toml::from_str(&text).unwrap();
        assert_eq!(bgp.role_towards(&bgp.peers[0]), own, "{peer}");
        let bgp = Bgp { roles: true, ..bgp };
        let external = peer != "64512";
        let want = own.or(external.then_some(Role::Customer));
        assert_eq!(bgp.role_towards(&bgp.peers[0]), want, "{peer}");
    }
}

#[test]
fn a_secret_is_never_shown() {
    let text = MINIMAL.replace(
        "65001",
        "65001\npassword = \"sesame\"\nao_keys = [{ send_id = 1, secret = \"sesame\" }]",
    );
    let bgp: Bgp = toml::from_str(&text).unwrap();
    assert!(!format!("{bgp:?}").contains("sesame"));
    assert!(!serde_json::to_string(&bgp).unwrap().contains("sesame"));
}
