//! The command line as a person meets it: exit status and words.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Output};

const GOOD: &str = r#"[node]
name = "city-a"
[dataplane]
interfaces = ["lo"]
[[services]]
name = "dns"
addresses = ["192.0.2.1"]
announce = []
"#;

fn anycast(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_anycast"))
        .args(arguments)
        .env_remove("ANYCAST_SOCKET")
        .output()
        .expect("the binary starts")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), text).expect("written");
    file
}

#[test]
fn a_good_configuration_is_said_to_be_good() {
    let config = file(GOOD);
    let output = anycast(&["check-config", config.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("good: 1 service, 1 address"), "{said}");
}

#[test]
fn a_bad_configuration_ends_with_2_and_names_file_line_and_field() {
    let config = file(&GOOD.replace("192.0.2.1", "192.0.2.1\", \"192.0.2.1"));
    let path = config.path().to_str().unwrap();
    for command in [["check-config", path].as_slice(), &["run", "-c", path]] {
        let output = anycast(command);
        assert_eq!(output.status.code(), Some(2), "{command:?}");
        let said = stderr(&output);
        assert!(
            said.contains(&format!("{path}:7:")) && said.contains("services[0].addresses[1]"),
            "{said}"
        );
    }
}

#[test]
fn a_user_that_this_host_does_not_know_is_warned_of_with_its_place_and_the_file_is_good() {
    let config = file(&format!(
        "{GOOD}[[services.checks]]\nname = \"c\"\ntype = \"exec\"\ncommand = [\"true\"]\nuser = \"nobody-here\"\n\
         [[services.hooks]]\ncommand = [\"true\"]\nuser = \"root\"\n\
         [[services.hooks]]\ncommand = [\"true\"]\nuser = \"nor-here\"\n"
    ));
    let path = config.path().to_str().unwrap();
    let output = anycast(&["check-config", path]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let said = stderr(&output);
    let lines: Vec<_> = said.lines().collect();
    let [check, hook] = &lines[..] else {
        panic!("{said}")
    };
    assert!(
        check.starts_with(&format!("{path}:13:"))
            && check.contains(
                "services[0].checks[0].user: warning: this host has no user `nobody-here`"
            ),
        "{check}"
    );
    assert!(
        hook.starts_with(&format!("{path}:19:")) && hook.contains("services[0].hooks[1].user"),
        "{hook}"
    );
}

#[test]
fn what_the_maps_have_no_room_for_is_refused_before_anything_runs_with_the_setting_s_place() {
    let small = |settings: &str| {
        GOOD.replace(
            "interfaces = [\"lo\"]",
            &format!("interfaces = [\"lo\"]\n{settings}"),
        )
    };
    let second = "[[services]]\nname = \"web\"\naddresses = [\"192.0.2.2\"]\nannounce = []\n";
    let deny = "deny = [\"10.0.0.0/8\", \"11.0.0.0/8\"]\nmax_prefixes = 1";
    let cases = [
        (
            small("max_addresses = 1") + second,
            ":5:1: dataplane.max_addresses: map ADDRESSES_V4 has",
        ),
        (
            small("max_services = 1") + second,
            ":5:1: dataplane.max_services: map SERVICES has",
        ),
        (
            small(deny),
            ":6:1: dataplane.max_prefixes: map LIST_V4 has room for 1 entries and 2 are",
        ),
    ];
    for (text, says) in cases {
        let config = file(&text);
        let path = config.path().to_str().unwrap();
        for command in [["check-config", path].as_slice(), &["run", "-c", path]] {
            let output = anycast(command);
            assert_eq!(output.status.code(), Some(2), "{command:?}");
            let said = stderr(&output);
            assert!(said.contains(&format!("{path}{says}")), "{said}");
        }
    }
}

#[test]
fn a_missing_configuration_ends_with_2_and_is_named() {
    let output = anycast(&["check-config", "/nonexistent/anycast.toml"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        stderr(&output),
        "anycast: /nonexistent/anycast.toml: cannot be read: No such file or directory (os error 2)\n"
    );
}

#[test]
fn a_daemon_that_is_not_there_is_said_in_one_sentence() {
    let output = anycast(&["status", "-s", "/nonexistent/anycast.sock"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        stderr(&output),
        "anycast: /nonexistent/anycast.sock: no anycast daemon answers on this control socket (No such file or \
         directory (os error 2)); is `anycast run` running, and are you root?\n"
    );
}

#[test]
fn without_privileges_the_daemon_says_what_is_missing_and_ends_with_1() {
    let config = file(GOOD);
    let mut command = Command::new(env!("CARGO_BIN_EXE_anycast"));
    command.args(["run", "-c", config.path().to_str().unwrap()]);
    if nix::unistd::geteuid().is_root() {
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        fs::set_permissions(config.path(), open).expect("readable");
        command.uid(65534).gid(65534);
    }
    let output = command.output();
    // The binary may lie where nobody else can reach it; then a copy is run.
    let output = output.unwrap_or_else(|_| {
        let copy = std::env::temp_dir().join(format!("anycast-cli-{}", std::process::id()));
        fs::copy(env!("CARGO_BIN_EXE_anycast"), &copy).expect("copied");
        let output = Command::new(&copy)
            .args(["run", "-c", config.path().to_str().unwrap()])
            .uid(65534)
            .gid(65534)
            .output()
            .expect("the copy starts");
        fs::remove_file(&copy).expect("removed");
        output
    });
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let said = stderr(&output);
    assert!(
        said.contains("CAP_NET_ADMIN") && said.lines().count() == 1,
        "{said}"
    );
}

#[test]
fn every_command_has_help() {
    for command in [
        "run",
        "check-config",
        "status",
        "routes",
        "events",
        "drain",
        "undrain",
        "disable",
        "enable",
    ] {
        let output = anycast(&[command, "--help"]);
        assert_eq!(output.status.code(), Some(0), "{command}");
        assert!(!output.stdout.is_empty(), "{command}");
    }
}

#[test]
fn the_schema_is_json_that_knows_every_section() {
    let output = anycast(&["check-config", "--schema"]);
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    for section in ["node", "dataplane", "control", "metrics", "bgp", "services"] {
        assert!(schema["properties"][section].is_object(), "{section}");
    }
}
