mod faults;
mod impossible;

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

#[test]
fn a_missing_section_is_the_field_that_is_named() {
    let at = |header: &str| GOOD.find(header).expect(header);
    let cases = [
        ("node", at("[node]")..at("[dataplane]")),
        ("dataplane", at("[dataplane]")..at("[bgp]")),
        ("services", at("[[services]]")..GOOD.len()),
    ];
    for (section, range) in cases {
        let mut text = GOOD.to_owned();
        text.replace_range(range, "");
        let problems = Config::parse(&text).expect_err(section);
        let [problem] = &problems[..] else {
            panic!("{section}: {problems:?}");
        };
        assert_eq!((problem.place.line, problem.place.column), (1, 1));
        assert_eq!(problem.field, section);
        assert_eq!(problem.message, format!("missing field `{section}`"));
    }
}

#[test]
fn a_file_that_is_no_text_is_told_with_line_and_column() {
    let mut bytes = GOOD.replace("city-a", "\u{e9}-?").into_bytes();
    let mark = bytes.iter().position(|byte| *byte == b'?').expect("a mark");
    bytes[mark] = 0xff;
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("anycast.toml");
    std::fs::write(&path, bytes).expect("written");
    let error = Config::load(&path).expect_err("no text");
    assert_eq!(
        error.to_string(),
        format!(
            "{}:2:11: is not UTF-8 from the byte 0xff on",
            path.display()
        )
    );
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
