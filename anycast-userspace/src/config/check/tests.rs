//! What the file may say about checks, and what is said about a file that says something else.

use std::time::Duration;

use garde::Validate as _;

use super::Check;
use crate::config::{Damping, Require};

fn parse(toml: &str) -> Result<Check, String> {
    let check: Check = toml::from_str(toml).map_err(|error| error.message().to_owned())?;
    check.validate().map_err(|report| report.to_string())?;
    Ok(check)
}

#[test]
fn the_defaults_follow_from_the_interval() {
    // interval; timeout, fast interval, splay, in milliseconds
    let cases = [
        ("10ms", 10, 10, 10),
        ("100ms", 100, 20, 100),
        ("1s", 1000, 200, 500),
        ("30s", 1000, 6000, 500),
    ];
    for (interval, timeout, fast, splay) in cases {
        let check = parse(&format!(
            "name = \"c\"\ntype = \"tcp\"\nport = 1\ninterval = \"{interval}\""
        ))
        .expect(interval);
        let common = check.common();
        let got = [common.timeout(), common.fast_interval(), common.splay()];
        assert_eq!(
            got,
            [timeout, fast, splay].map(Duration::from_millis),
            "{interval}"
        );
        assert_eq!((common.rise, common.fall, common.weight), (2, 2, 1));
    }
}

#[test]
fn errors_name_the_field_and_what_is_wrong_with_it() {
    let cases = [
        ("type = \"tcp\"", "missing field `port`"),
        ("type = \"telnet\"", "unknown variant `telnet`"),
        (
            "type = \"tcp\"\nport = 80\nretries = 3",
            "unknown field `retries`",
        ),
        ("type = \"tcp\"\nport = 0", "port: lower than 1"),
        (
            "type = \"tcp\"\nport = 1\ninterval = \"9ms\"",
            "interval: 9ms is too short: the least is 10ms",
        ),
        (
            "type = \"tcp\"\nport = 1\ninterval = \"1\"",
            "`1` is not a duration",
        ),
        (
            "type = \"tcp\"\nport = 1\nfast_interval = \"1ms\"",
            "fast_interval: 1ms is too short",
        ),
        (
            "type = \"tcp\"\nport = 1\ntimeout = \"0s\"",
            "timeout: 0s is no time at all",
        ),
        (
            "type = \"tcp\"\nport = 1\njitter = \"2s\"",
            "jitter: 2s is longer than the interval, 1s",
        ),
        ("type = \"tcp\"\nport = 1\nrise = 0", "rise: lower than 1"),
        (
            "type = \"tcp\"\nport = 1\nweight = 0",
            "weight: lower than 1",
        ),
        (
            "type = \"tcp\"\nport = 1\ntls = { server_name = \"a b\" }",
            "tls.server_name: `a b` is neither",
        ),
        (
            "type = \"tcp\"\nport = 1\ntls = { min_days_left = 9, verify = false }",
            "tls.min_days_left: needs `verify = true`",
        ),
        (
            "type = \"http\"\nstatus = [\"200-199\"]",
            "`200-199` is not an HTTP status",
        ),
        (
            "type = \"http\"\nstatus = []",
            "status: length is lower than 1",
        ),
        (
            "type = \"http\"\npath = \"index\"",
            "path: `index` is not a request path",
        ),
        (
            "type = \"http\"\nmethod = \"GE T\"",
            "method: `GE T` is not an HTTP method",
        ),
        (
            "type = \"http\"\nheaders = { \"a b\" = \"\" }",
            "headers: `a b` is not a header name",
        ),
        (
            "type = \"http\"\nbody_matches = \"(\"",
            "`(` is not a regular expression",
        ),
        (
            "type = \"http\"\nhost = \"a b\"",
            "host: `a b` is not an authority",
        ),
        ("type = \"grpc\"", "missing field `port`"),
        (
            "type = \"grpc\"\nport = 1\nauthority = \"a b\"",
            "authority: `a b` is not an authority",
        ),
        (
            "type = \"grpc\"\nport = 1\nauthority = \"me@city.example\"",
            "authority: `me@city.example` is not an authority",
        ),
        (
            "type = \"grpc\"\nport = 1\ntls = { min_days_left = 0 }",
            "tls.min_days_left: lower than 1",
        ),
        (
            "type = \"grpc\"\nport = 1\nmethod = \"Watch\"",
            "unknown field `method`",
        ),
        (
            "type = \"dns\"\nquery = \"a..b\"",
            "query: `a..b` is not a domain name",
        ),
        (
            "type = \"dns\"\nrecord = \"B\"",
            "record: `B` is not a DNS record type",
        ),
        (
            "type = \"dns\"\nclass = \"XX\"",
            "class: `XX` is not a DNS class",
        ),
        (
            "type = \"dns\"\nrcode = [\"OK\"]",
            "rcode[0]: `OK` is not a DNS response code",
        ),
        (
            "type = \"dns\"\ntransport = \"quic\"",
            "unknown variant `quic`",
        ),
        (
            "type = \"dns\"\nserial = { server = \"192.0.2.1:53\" }",
            "`serial` needs `record = \"SOA\"`",
        ),
        (
            "type = \"ntp\"\nmax_stratum = 16",
            "max_stratum: greater than 15",
        ),
        (
            "type = \"exec\"\ncommand = []",
            "command: length is lower than 1",
        ),
        (
            "type = \"exec\"\ncommand = [\"\"]",
            "command: names no program",
        ),
        (
            "type = \"exec\"\ncommand = [\"a\"]\ndirectory = \"tmp\"",
            "directory: `tmp` is not an absolute path",
        ),
        (
            "type = \"exec\"\ncommand = [\"a\"]\nenvironment = { \"a=b\" = \"\" }",
            "environment: `a=b` cannot name a variable",
        ),
        (
            "type = \"file\"\npath = \"here\"",
            "path: `here` is not an absolute path",
        ),
    ];
    for (toml, words) in cases {
        let error = parse(&format!("name = \"c\"\n{toml}")).expect_err(toml);
        assert!(
            error.contains(words),
            "`{toml}` says `{error}`, not `{words}`"
        );
    }
}

#[test]
fn a_check_is_written_as_it_was_read() {
    let texts = [
        "name = \"c\"\ntype = \"tcp\"\nport = 1\nfast_interval = \"50ms\"",
        "name = \"c\"\ntype = \"http\"\nstatus = [\"204\", \"300-399\"]\nbody_matches = \"^a\"\n[tls]\nverify = false",
        "name = \"c\"\ntype = \"grpc\"\nport = 1\nservice = \"city.Api\"\nauthority = \"api.example:50051\"\n[tls]",
        "name = \"c\"\ntype = \"dns\"\ntransport = \"tcp\"\nshared = true",
        "name = \"c\"\ntype = \"exec\"\ncommand = [\"/bin/true\"]\nuser = \"nobody\"",
        "name = \"c\"\ntype = \"file\"\npath = \"/run/maintenance\"",
    ];
    for text in texts {
        let check = parse(text).expect(text);
        let written = toml::to_string(&check).expect(text);
        assert_eq!(parse(&written).expect(&written), check);
    }
}

#[test]
fn the_schema_describes_every_type_and_the_shared_settings() {
    let schema = serde_json::to_string(&schemars::schema_for!(Check)).expect("a schema");
    for word in [
        "tcp",
        "http",
        "grpc",
        "dns",
        "exec",
        "file",
        "fast_interval",
        "Passes in a row",
    ] {
        assert!(schema.contains(word), "the schema says nothing of `{word}`");
    }
}

#[test]
fn requirements_that_no_checks_could_meet_are_refused() {
    let checks: Vec<_> = ["weight = 2", "weight = 3", "weight = 9\nshared = true"]
        .iter()
        .map(|extra| {
            parse(&format!("name = \"c\"\ntype = \"tcp\"\nport = 1\n{extra}")).expect(extra)
        })
        .collect();
    assert_eq!(Require::AtLeast(2).is_met_by(&checks), Ok(()));
    assert_eq!(Require::Weight(5).is_met_by(&checks), Ok(()));
    assert_eq!(Require::Any.is_met_by(&[]), Ok(()));
    let error = Require::AtLeast(3)
        .is_met_by(&checks)
        .expect_err("three of two");
    assert_eq!(
        error,
        "asks for at least 3 checks, but the service has 2 that are not shared"
    );
    let error = Require::Weight(6).is_met_by(&checks).expect_err("6 of 5");
    assert_eq!(
        error,
        "asks for a weight of 6, but all checks that are not shared weigh 5"
    );
    assert!(Require::Any.is_met_by(&checks[2..]).is_err());
}

#[test]
fn damping_that_could_never_suppress_is_refused() {
    let parse = |text| {
        let damping: Damping = toml::from_str(text).map_err(|error| error.to_string())?;
        damping.validate().map_err(|report| report.to_string())
    };
    assert_eq!(parse(""), Ok(()));
    let cases = [
        (
            "half_life = \"1m\"\nmax_suppress = \"1m\"",
            "max_suppress: 1m is too short: the penalty is capped at 1500",
        ),
        ("reuse = 2000", "reuse: 2000 is not below `suppress`, 2000"),
        ("half_life = \"0s\"", "half_life: 0s is no time at all"),
    ];
    for (text, words) in cases {
        let error = parse(text).expect_err(text);
        assert!(error.contains(words), "`{text}` says `{error}`");
    }
}
