use std::path::Path;

use super::{Config, ConfigError};

const GOOD: &str = r#"[node]
name = "city-a"

[dataplane]
interfaces = ["eth0"]

[bgp]
local_as = 64512
router_id = "10.0.1.2"

[[bgp.peers]]
name = "r1"
address = "10.0.1.1"
remote_as = 65001

[[services]]
name = "dns"
addresses = ["192.168.250.1", "fd00:250::1"]
ports = ["udp/53", "tcp/53"]
prefixes = ["192.168.250.0/24", "fd00:250::/64"]
peers = ["r1"]
hold_down = "5s"

[[services.checks]]
name = "dns-udp"
type = "dns"
interval = "100ms"
port = 53
query = "city.example."

[[services]]
name = "web"
addresses = ["192.168.251.1"]
ports = ["tcp/80"]
"#;

#[test]
fn the_example_is_accepted_and_means_what_it_says() {
    let config = Config::parse(GOOD).expect("valid");
    assert_eq!(config.services.len(), 2);
    assert_eq!(config.services[0].announced().len(), 2);
    assert_eq!(
        config.services[1].announced(),
        ["192.168.251.1/32".parse().unwrap()]
    );
    assert_eq!(
        config.control.socket,
        Path::new("/run/anycast/anycast.sock")
    );
}

/// What stands in the good file, what replaces it, and where and what the error must say.
struct Fault {
    replace: &'static str,
    by: &'static str,
    line: usize,
    field: &'static str,
    says: &'static str,
}

const FAULTS: &[Fault] = &[
    Fault {
        replace: "name = \"city-a\"",
        by: "name = city-a",
        line: 2,
        field: "",
        says: "string",
    },
    Fault {
        replace: "[node]\nname = \"city-a\"\n",
        by: "",
        line: 1,
        field: "",
        says: "missing field `node`",
    },
    Fault {
        replace: "name = \"city-a\"",
        by: "name = \"city a\"",
        line: 2,
        field: "node.name",
        says: "does not match",
    },
    Fault {
        replace: "interfaces = [\"eth0\"]",
        by: "interface = \"eth0\"",
        line: 5,
        field: "dataplane.interface",
        says: "unknown field `interface`",
    },
    Fault {
        replace: "hold_down = \"5s\"",
        by: "holddown = \"5s\"",
        line: 22,
        field: "services[0].holddown",
        says: "unknown field `holddown`",
    },
    Fault {
        replace: "query = \"city.example.\"",
        by: "query = \"city.example.\"\nqueri = \"x\"",
        line: 30,
        field: "services[0].checks[0].queri",
        says: "unknown field `queri`",
    },
    Fault {
        replace: "type = \"dns\"",
        by: "type = \"dnss\"",
        line: 26,
        field: "services[0].checks[0].type",
        says: "unknown variant `dnss`",
    },
    Fault {
        replace: "addresses = [\"192.168.251.1\"]",
        by: "addresses = [\"192.168.250.1\"]",
        line: 33,
        field: "services[1].addresses[0]",
        says: "taken already, by services[0].addresses[0]",
    },
    Fault {
        replace: "addresses = [\"192.168.251.1\"]",
        by: "addresses = [\"192.168.251.256\"]",
        line: 33,
        field: "services[1].addresses[0]",
        says: "IP address",
    },
    Fault {
        replace: "addresses = [\"192.168.251.1\"]",
        by: "addresses = []",
        line: 33,
        field: "services[1].addresses",
        says: "length is lower than 1",
    },
    Fault {
        replace: "addresses = [\"192.168.251.1\"]",
        by: "addresses = [\"224.0.0.1\"]",
        line: 33,
        field: "services[1].addresses",
        says: "224.0.0.1 is not a unicast address",
    },
    Fault {
        replace: "name = \"web\"",
        by: "name = \"dns\"",
        line: 32,
        field: "services[1].name",
        says: "the name `dns` is taken already, by services[0].name",
    },
    Fault {
        replace: "\"192.168.250.0/24\"",
        by: "\"192.168.250.0/33\"",
        line: 20,
        field: "services[0].prefixes[0]",
        says: "",
    },
    Fault {
        replace: "\"192.168.250.0/24\"",
        by: "\"192.168.250.7/24\"",
        line: 20,
        field: "services[0].prefixes",
        says: "192.168.250.7/24 has host bits set: write 192.168.250.0/24",
    },
    Fault {
        replace: "\"192.168.250.0/24\"",
        by: "\"10.0.0.0/8\"",
        line: 20,
        field: "services[0].prefixes",
        says: "10.0.0.0/8 holds none of the service's addresses",
    },
    Fault {
        replace: "ports = [\"tcp/80\"]",
        by: "ports = [\"tcp/65536\"]",
        line: 34,
        field: "services[1].ports[0]",
        says: "ports go from 1 to 65535",
    },
    Fault {
        replace: "ports = [\"tcp/80\"]",
        by: "ports = [\"80\"]",
        line: 34,
        field: "services[1].ports[0]",
        says: "is not a port",
    },
    Fault {
        replace: "hold_down = \"5s\"",
        by: "hold_down = \"5 parsecs\"",
        line: 22,
        field: "services[0].hold_down",
        says: "is not a duration",
    },
    Fault {
        replace: "hold_down = \"5s\"",
        by: "hold_down = \"-5s\"",
        line: 22,
        field: "services[0].hold_down",
        says: "negative",
    },
    Fault {
        replace: "hold_down = \"5s\"",
        by: "hold_down = \"9999999h\"",
        line: 22,
        field: "services[0].hold_down",
        says: "longer than a century",
    },
    Fault {
        replace: "hold_down = \"5s\"",
        by: "maintenance_file = \"dns.maintenance\"",
        line: 22,
        field: "services[0].maintenance_file",
        says: "`dns.maintenance` is not an absolute path",
    },
    Fault {
        replace: "hold_down = \"5s\"",
        by: "on_maintenance = \"drained\"",
        line: 22,
        field: "services[0].on_maintenance",
        says: "expected `drain` or `disable`",
    },
    Fault {
        replace: "hold_down = \"5s\"",
        by: "on_disabled = \"announce\"",
        line: 22,
        field: "services[0].on_disabled",
        says: "expected `withdraw` or `advertise`",
    },
    Fault {
        replace: "name = \"city-a\"",
        by: "name = \"city-a\"\nstate_directory = \"state\"",
        line: 3,
        field: "node.state_directory",
        says: "`state` is not an absolute path",
    },
    Fault {
        replace: "hold_down = \"5s\"",
        by: "hold_down = 5",
        line: 22,
        field: "services[0].hold_down",
        says: "expected a",
    },
    Fault {
        replace: "interval = \"100ms\"",
        by: "interval = \"1ms\"",
        line: 27,
        field: "services[0].checks[0].interval",
        says: "too short",
    },
    Fault {
        replace: "peers = [\"r1\"]",
        by: "peers = [\"r2\"]",
        line: 21,
        field: "services[0].peers[0]",
        says: "no peer in [bgp] is named `r2`",
    },
    Fault {
        replace: "hold_down = \"5s\"",
        by: "require = { at_least = 2 }",
        line: 22,
        field: "services[0].require",
        says: "at least 2",
    },
    Fault {
        replace: "remote_as = 65001",
        by: "remote_as = 0",
        line: 14,
        field: "bgp.peers[0].remote_as",
        says: "RFC 7607",
    },
];

#[test]
fn every_fault_is_named_with_its_line_and_field() {
    for fault in FAULTS {
        assert!(GOOD.contains(fault.replace), "{}", fault.replace);
        let text = GOOD.replacen(fault.replace, fault.by, 1);
        let problems = Config::parse(&text).expect_err(fault.by);
        let found = problems
            .iter()
            .find(|problem| problem.field == fault.field && problem.message.contains(fault.says));
        match found {
            Some(problem) => assert_eq!(problem.place.line, fault.line, "{}", fault.by),
            None => panic!("`{}` gives {problems:#?}", fault.by),
        }
    }
}

#[test]
fn a_protocol_that_the_list_would_not_pass_is_refused_where_it_stands() {
    let with = |list: &str| {
        let by = format!("ports = [\"tcp/80\"]\nprotocols = {list}");
        GOOD.replacen("ports = [\"tcp/80\"]", &by, 1)
    };
    // list, place of the entry, what is said
    let header = "an IPv6 extension header, and means nothing here: packets are judged by what";
    for (list, at, says) in [
        ("[0, 47]", 0, header),
        ("[47, 43]", 1, header),
        ("[44]", 0, header),
        ("[60]", 0, header),
        (
            "[6]",
            0,
            "6 is TCP, and means nothing here: write \"tcp/PORT\"",
        ),
        (
            "[47, 17]",
            1,
            "17 is UDP, and means nothing here: write \"udp/",
        ),
        (
            "[132]",
            0,
            "132 is SCTP, and means nothing here: write \"sctp/",
        ),
        (
            "[1]",
            0,
            "1 is ICMP, and means nothing here: it is judged by",
        ),
        (
            "[58]",
            0,
            "58 is ICMPv6, and means nothing here: it is judged by",
        ),
        (
            "[47, 50, 47]",
            2,
            "the protocol `47` is taken already, by services[1].protocols[0]",
        ),
    ] {
        let problems = Config::parse(&with(list)).expect_err(list);
        assert_eq!(problems.len(), 1, "{list}: {problems:?}");
        let problem = &problems[0];
        assert_eq!(
            problem.field,
            format!("services[1].protocols[{at}]"),
            "{list}"
        );
        assert_eq!(problem.place.line, 35, "{list}");
        assert!(problem.message.contains(says), "{list}: {problem:?}");
    }
    for list in ["[]", "[2, 4, 41, 47, 50, 51, 89, 115]"] {
        assert!(Config::parse(&with(list)).is_ok(), "{list}");
    }
}

#[test]
fn all_faults_are_listed_at_once_in_the_order_of_the_file() {
    let text = GOOD
        .replace("name = \"web\"", "name = \"dns\"")
        .replace("peers = [\"r1\"]", "peers = [\"r2\"]");
    let lines: Vec<usize> = Config::parse(&text)
        .expect_err("two faults")
        .iter()
        .map(|problem| problem.place.line)
        .collect();
    assert_eq!(lines, [21, 32]);
}

#[test]
fn the_state_directory_is_the_configured_one_else_systemd_s_else_the_usual_one() {
    let with = GOOD.replace(
        "name = \"city-a\"",
        "name = \"city-a\"\nstate_directory = \"/srv/state\"",
    );
    // the file, `$STATE_DIRECTORY`, the directory
    let cases = [
        (GOOD, None, "/var/lib/anycast"),
        (GOOD, Some(""), "/var/lib/anycast"),
        (GOOD, Some("/var/lib/a:/var/lib/b"), "/var/lib/a"),
        (with.as_str(), Some("/var/lib/a"), "/srv/state"),
    ];
    for (text, from_systemd, want) in cases {
        let node = Config::parse(text).expect("valid").node;
        assert_eq!(node.state_directory(from_systemd), Path::new(want));
    }
}

#[test]
fn a_service_that_announces_needs_a_speaker() {
    let from = GOOD.find("[bgp]").unwrap();
    let to = GOOD.find("[[services]]").unwrap();
    let text = format!("{}{}", &GOOD[..from], &GOOD[to..]).replace("peers = [\"r1\"]", "");
    let problems = Config::parse(&text).expect_err("no speaker");
    assert!(
        problems[0].message.contains("no [bgp] section"),
        "{problems:?}"
    );
    let quiet = text
        .replace("hold_down", "announce = []\nhold_down")
        .replace("name = \"web\"", "name = \"web\"\nannounce = []");
    Config::parse(&quiet).expect("valid without announcing");
}

#[test]
fn a_missing_file_is_named() {
    let error = Config::load(Path::new("/nonexistent/anycast.toml")).expect_err("no file");
    assert!(matches!(error, ConfigError::Read { .. }));
    assert!(
        error
            .to_string()
            .starts_with("/nonexistent/anycast.toml: cannot be read")
    );
}

#[test]
fn the_schema_knows_every_section() {
    let schema = serde_json::to_value(schemars::schema_for!(Config)).unwrap();
    let properties = schema["properties"].as_object().unwrap();
    for section in ["node", "dataplane", "control", "bgp", "services"] {
        assert!(properties.contains_key(section), "{section}");
    }
}
