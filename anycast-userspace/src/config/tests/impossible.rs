//! What is well written, and could not run or not be meant.

use super::GOOD;
use crate::config::Config;

/// What stands in the good file, what replaces it, and the line, field and words of the fault.
type Row = (
    &'static str,
    &'static str,
    usize,
    &'static str,
    &'static str,
);

fn all_are_refused(rows: &[Row]) {
    for (replace, by, line, field, says) in rows {
        assert!(GOOD.contains(replace), "{replace}");
        let text = GOOD.replacen(replace, by, 1);
        let problems = Config::parse(&text).expect_err(by);
        let [problem] = &problems[..] else {
            panic!("`{by}` gives {problems:#?}");
        };
        assert_eq!(
            (problem.place.line, problem.field.as_str()),
            (*line, *field),
            "`{by}`: {}",
            problem.message
        );
        assert!(
            problem.message.contains(says),
            "`{by}`: {}",
            problem.message
        );
    }
}

fn all_are_taken(rows: &[(&str, &str)]) {
    for (replace, by) in rows {
        assert!(GOOD.contains(replace), "{replace}");
        let text = GOOD.replacen(replace, by, 1);
        let parsed = Config::parse(&text);
        assert!(parsed.is_ok(), "{by}: {parsed:?}");
    }
}

#[test]
fn a_name_that_no_interface_can_have_is_refused() {
    for name in [
        "",
        " ",
        "eth 0",
        "a/b",
        "..",
        ".",
        "eth0:1",
        "a\\u0000b",
        "a\\tb",
        "sixteen-letters-",
        "fifteen-withan\u{e9}",
    ] {
        let fields = [
            (
                "[\"eth0\"]",
                format!("[\"lo\", \"{name}\"]"),
                5,
                "dataplane.interfaces[1]",
            ),
            (
                "hold_down = \"5s\"",
                format!("interface = \"{name}\""),
                22,
                "services[0].interface",
            ),
            (
                "address = \"10.0.1.1\"",
                format!("interface = \"{name}\""),
                13,
                "bgp.peers[0].interface",
            ),
            (
                "remote_as = 65001",
                format!("remote_as = 65001\ndevice = \"{name}\""),
                15,
                "bgp.peers[0].device",
            ),
        ];
        for (replace, by, line, field) in fields {
            let text = GOOD.replacen(replace, &by, 1);
            let problems = Config::parse(&text).expect_err(&by);
            let found: Vec<_> = problems
                .iter()
                .map(|problem| (problem.place.line, problem.field.as_str()))
                .collect();
            assert_eq!(found, [(line, field)], "{by}");
            let message = &problems[0].message;
            let says = ["names no interface", "length is lower", "length is greater"];
            assert!(
                says.iter().any(|words| message.contains(words)),
                "{message}"
            );
        }
    }
    all_are_taken(&[(
        "[\"eth0\"]",
        "[\"enp0s31f6\", \"eth0.100\", \"a\", \"exactly-fifteen\", \"\u{e9}\"]",
    )]);
}

#[test]
fn a_socket_where_none_can_be_is_refused() {
    let long = format!("/run/{}", "x".repeat(103));
    let fits = &long[..107];
    let section = |metrics: &str, control: &str| {
        format!("{GOOD}\n[metrics]\nlisten = \"{metrics}\"\n[control]\nsocket = \"{control}\"\n")
    };
    Config::parse(&section("/run/metrics", fits)).expect("it fits");
    Config::parse(&section(fits, "/run/control")).expect("it fits");
    let cases = [
        (long.as_str(), "a path of 108 bytes is too long"),
        ("/", "is a directory"),
        ("/run/anycast/", "is a directory"),
        ("/run/..", "is a directory"),
        ("/run/a\\u0000b", "holds a NUL byte"),
    ];
    for (path, says) in cases {
        for (text, line, field) in [
            (section("/run/metrics", path), 39, "control.socket"),
            (section(path, "/run/control"), 37, "metrics.listen"),
        ] {
            let problems = Config::parse(&text).expect_err(path);
            assert_eq!(problems.len(), 1, "{problems:?}");
            let problem = &problems[0];
            assert_eq!((problem.place.line, problem.field.as_str()), (line, field));
            assert!(problem.message.contains(says), "{path}: {problem:?}");
        }
    }
    let problems =
        Config::parse(&section("/run/one", "/run//one")).expect_err("one socket for two");
    assert_eq!(problems[0].field, "metrics.listen");
    assert_eq!(problems[0].message, "/run/one is the control socket");
}

#[test]
fn next_hops_and_peers_that_are_no_router_are_refused() {
    const PEER: &str = "remote_as = 65001";
    const SERVICE: &str = "hold_down = \"5s\"";
    const ADDRESS: &str = "address = \"10.0.1.1\"";
    all_are_refused(&[
        (
            PEER,
            "remote_as = 65001\nnext_hop = { ipv4 = \"0.0.0.0\" }",
            15,
            "bgp.peers[0].next_hop.ipv4",
            "0.0.0.0 is not the address of one router",
        ),
        (
            PEER,
            "remote_as = 65001\nnext_hop = { ipv4 = \"224.0.0.1\" }",
            15,
            "bgp.peers[0].next_hop.ipv4",
            "not the address of one router",
        ),
        (
            PEER,
            "remote_as = 65001\nnext_hop = { ipv4 = \"255.255.255.255\" }",
            15,
            "bgp.peers[0].next_hop.ipv4",
            "not the address of one router",
        ),
        (
            PEER,
            "remote_as = 65001\nnext_hop = { ipv6 = \"::\" }",
            15,
            "bgp.peers[0].next_hop.ipv6",
            "not the address of one router",
        ),
        (
            PEER,
            "remote_as = 65001\nnext_hop = { ipv6 = \"ff02::1\" }",
            15,
            "bgp.peers[0].next_hop.ipv6",
            "not the address of one router",
        ),
        (
            PEER,
            "remote_as = 65001\nnext_hop = { ipv6 = \"::ffff:10.0.1.1\" }",
            15,
            "bgp.peers[0].next_hop.ipv6",
            "not the address of one router",
        ),
        (
            PEER,
            "remote_as = 65001\nnext_hop = { ipv4 = \"192.168.251.1\" }",
            15,
            "bgp.peers[0].next_hop.ipv4",
            "192.168.251.1 is a Service Address, of `web`",
        ),
        (
            PEER,
            "remote_as = 65001\nattributes.degraded.next_hop.ipv4 = \"192.168.250.1\"",
            15,
            "bgp.peers[0].attributes.degraded.next_hop.ipv4",
            "is a Service Address, of `dns`",
        ),
        (
            SERVICE,
            "attributes.up.next_hop.ipv6 = \"::\"",
            22,
            "services[0].attributes.up.next_hop.ipv6",
            "not the address of one router",
        ),
        (
            SERVICE,
            "attributes.draining.next_hop.ipv6 = \"fd00:250::1\"",
            22,
            "services[0].attributes.draining.next_hop.ipv6",
            "is a Service Address, of `dns`",
        ),
        (
            ADDRESS,
            "address = \"255.255.255.255\"",
            13,
            "bgp.peers[0].address",
            "is not the address of one host",
        ),
        (
            ADDRESS,
            "address = \"::ffff:10.0.1.1\"",
            13,
            "bgp.peers[0].address",
            "is IPv4 written as IPv6: write 10.0.1.1",
        ),
        (
            ADDRESS,
            "address = \"fd00:250::1\"",
            13,
            "bgp.peers[0].address",
            "fd00:250::1 is a Service Address, of `dns`",
        ),
    ]);
    all_are_taken(&[
        (ADDRESS, "address = \"127.0.0.1\""),
        (
            PEER,
            "remote_as = 65001\nnext_hop = { ipv4 = \"10.0.1.9\", ipv6 = \"fd00:1::1\" }",
        ),
    ]);
}

#[test]
fn addresses_that_no_prefix_announces_are_refused() {
    const PREFIXES: &str = "[\"192.168.250.0/24\", \"fd00:250::/64\"]";
    all_are_refused(&[
        (
            PREFIXES,
            "[\"192.168.250.0/24\"]",
            18,
            "services[0].addresses[1]",
            "fd00:250::1 lies in none of the service's `prefixes`",
        ),
        (
            PREFIXES,
            "[\"fd00:250::/64\", \"fd00::/16\"]",
            18,
            "services[0].addresses[0]",
            "192.168.250.1 lies in none",
        ),
    ]);
    all_are_taken(&[
        (PREFIXES, "[\"192.168.0.0/16\", \"::/0\"]"),
        (PREFIXES, "[\"192.168.250.0/24\"]\nannounce = []"),
    ]);
}

#[test]
fn what_a_peer_or_a_command_could_not_mean_is_refused() {
    const SPEAKER: &str = "local_as = 64512";
    const PEER: &str = "remote_as = 65001";
    const SERVICE: &str = "hold_down = \"5s\"";
    all_are_refused(&[
        (
            SPEAKER,
            "local_as = 64512\nlisten = [\"10.0.1.2:179\", \"10.0.1.2:0\"]",
            9,
            "bgp.listen[1]",
            "nobody could find port 0",
        ),
        (
            SPEAKER,
            "local_as = 64512\nlisten = [\n\"[::]:179\",\n\"0.0.0.0:179\",\n\"[::]:179\"]",
            12,
            "bgp.listen[2]",
            "[::]:179 is listed twice",
        ),
        (
            PEER,
            "remote_as = 65001\npassword_file = \"r1.key\"",
            15,
            "bgp.peers[0].password_file",
            "`r1.key` is not an absolute path",
        ),
        (
            PEER,
            "remote_as = 65001\nao_keys = [{ send_id = 1, secret_file = \"r1.ao\" }]",
            15,
            "bgp.peers[0].ao_keys[0].secret_file",
            "`r1.ao` is not an absolute path",
        ),
        (
            PEER,
            "remote_as = 65001\nbfd.auth = { type = \"keyed-sha1\", key_id = 1, secret_file = \"bfd\" }",
            15,
            "bgp.peers[0].bfd.auth.secret_file",
            "`bfd` is not an absolute path",
        ),
        (
            PEER,
            "remote_as = 65001\nretry = \"3s\"\nretry_max = \"2s\"",
            15,
            "bgp.peers[0].retry",
            "3s is longer than `retry_max`, 2s",
        ),
        (
            PEER,
            "remote_as = 65001\nretry = \"1m\"",
            15,
            "bgp.peers[0].retry",
            "1m is longer than `retry_max`, 30s",
        ),
        (
            "name = \"city-a\"",
            "name = \"city-a\"\nstate_directory = \"/var/\\u0000\"",
            3,
            "node.state_directory",
            "holds a NUL byte",
        ),
        (
            SERVICE,
            "hooks = [{ command = [\"\", \"x\"] }]",
            22,
            "services[0].hooks[0].command",
            "names no program",
        ),
        (
            SERVICE,
            "hooks = [{ command = [\"true\"], user = \"a:b\" }]",
            22,
            "services[0].hooks[0].user",
            "names no user",
        ),
    ]);
    all_are_taken(&[
        (
            PEER,
            "remote_as = 65001\nretry = \"2s\"\nretry_max = \"2s\"",
        ),
        (SERVICE, "hooks = [{ command = [\"true\", \"\"] }]"),
    ]);
}
