//! What stands in a file that is refused, and where the fault is told.

use super::GOOD;
use crate::config::Config;

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
        field: "node",
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
        field: "services[1].addresses[0]",
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
        says: "`192.168.250.0/33`: prefixes of IPv4 are 0 to 32 bits long",
    },
    Fault {
        replace: "\"192.168.250.0/24\"",
        by: "\"192.168.250.0\"",
        line: 20,
        field: "services[0].prefixes[0]",
        says: "`192.168.250.0` has no prefix length: write 192.168.250.0/32",
    },
    Fault {
        replace: "\"fd00:250::/64\"",
        by: "\n\"x\"",
        line: 21,
        field: "services[0].prefixes[1]",
        says: "`x` is not a prefix",
    },
    Fault {
        replace: "\"192.168.250.0/24\"",
        by: "\"192.168.250.7/24\"",
        line: 20,
        field: "services[0].prefixes[0]",
        says: "192.168.250.7/24 has host bits set: write 192.168.250.0/24",
    },
    Fault {
        replace: "addresses = [\"192.168.250.1\", \"fd00:250::1\"]",
        by: "addresses = [\n\"192.168.250.1\",\n\"fe80::1\"]",
        line: 20,
        field: "services[0].addresses[1]",
        says: "fe80::1 is not a unicast address",
    },
    Fault {
        replace: "\"fd00:250::/64\"",
        by: "\n\"fd00:251::/64\"",
        line: 21,
        field: "services[0].prefixes[1]",
        says: "fd00:251::/64 holds none of the service's addresses",
    },
    Fault {
        replace: "\"192.168.250.0/24\"",
        by: "\"10.0.0.0/8\"",
        line: 20,
        field: "services[0].prefixes[0]",
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
        replace: "address = \"10.0.1.1\"",
        by: "prefix = \"10.0.1.0\"",
        line: 13,
        field: "bgp.peers[0].prefix",
        says: "`10.0.1.0` has no prefix length: write 10.0.1.0/32",
    },
    Fault {
        replace: "address = \"10.0.1.1\"",
        by: "prefix = \"10.0.1.0/33\"",
        line: 13,
        field: "bgp.peers[0].prefix",
        says: "`10.0.1.0/33`: prefixes of IPv4 are 0 to 32 bits long",
    },
    Fault {
        replace: "local_as = 64512\n",
        by: "",
        line: 7,
        field: "bgp.local_as",
        says: "missing field `local_as`",
    },
    Fault {
        replace: "interfaces = [\"eth0\"]\n",
        by: "",
        line: 4,
        field: "dataplane.interfaces",
        says: "missing field `interfaces`",
    },
    Fault {
        replace: "addresses = [\"192.168.251.1\"]",
        by: "limits = { packets = {} }\naddresses = [\"192.168.251.1\"]",
        line: 33,
        field: "services[1].limits.packets.rate",
        says: "missing field `rate`",
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
