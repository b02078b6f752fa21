//! The configurations that the documentation shows are valid, and its tables leave no option out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The blocks that are marked as configurations, with their first lines' numbers. Those of lists are indented; what
/// is only a part of a configuration is marked `toml-part`.
fn configurations(page: &str) -> Vec<(usize, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (number, line) in (1..).zip(page.lines()) {
        match (&mut open, line.trim()) {
            (None, "```toml") => open = Some((number + 1, String::new())),
            (Some(_), "```") => blocks.extend(open.take()),
            (Some((_, text)), _) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, _) => {}
        }
    }
    blocks
}

#[test]
fn configurations_are_found_indented_as_well_and_parts_are_left_out() {
    let page = "# A\n```toml\na = 1\n```\n- b:\n\n  ```toml\n  b = 1\n\n  c = 2\n  ```\n  ```toml-part\n  d = 1\n  ```\n";
    let found = configurations(page);
    let found: Vec<_> = found
        .iter()
        .map(|(line, text)| (*line, text.as_str()))
        .collect();
    assert_eq!(found, [(3, "a = 1\n"), (8, "  b = 1\n\n  c = 2\n")]);
}

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

/// All pages, the README among them.
fn pages() -> Vec<PathBuf> {
    let docs = fs::read_dir(docs()).expect("the documentation");
    let paths = docs.map(|entry| entry.expect("a page").path());
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .chain([readme])
        .collect()
}

/// Of anycast-healthchecker 0.9.10: a check's options, then the daemon's.
const ANYCAST_HEALTHCHECKER: &[&str] = &[
    "check_cmd",
    "check_interval",
    "check_timeout",
    "check_rise",
    "check_fail",
    "check_disabled",
    "on_disabled",
    "ip_prefix",
    "ip_check_disabled",
    "interface",
    "custom_bird_reconfigure_cmd",
    "custom_bird_reconfigure_cmd_timeout",
    "pidfile",
    "ipv4",
    "ipv6",
    "bird_conf",
    "bird6_conf",
    "bird_variable",
    "bird6_variable",
    "bird_reconfigure_cmd",
    "bird6_reconfigure_cmd",
    "dummy_ip_prefix",
    "dummy_ip6_prefix",
    "bird_keep_changes",
    "bird6_keep_changes",
    "bird_changes_counter",
    "bird6_changes_counter",
    "purge_ip_prefixes",
    "loglevel",
    "log_file",
    "log_maxbytes",
    "log_backups",
    "stderr_file",
    "log_server",
    "log_server_port",
    "json_stdout",
    "json_log_file",
    "json_log_server",
    "prometheus_exporter",
    "prometheus_collector_textfile_dir",
    "prometheus_exporter_interval",
    "splay_startup",
];

/// Of the healthcheck of ExaBGP 5.0.
const EXABGP: &[&str] = &[
    "--interval",
    "--fast-interval",
    "--timeout",
    "--rise",
    "--fall",
    "--disable",
    "--command",
    "--ip",
    "--ip-ifname",
    "--deaggregate-networks",
    "--no-ip-setup",
    "--dynamic-ip-setup",
    "--label",
    "--label-exact-match",
    "--start-ip",
    "--next-hop",
    "--local-preference",
    "--up-metric",
    "--down-metric",
    "--disabled-metric",
    "--increase",
    "--community",
    "--extended-community",
    "--large-community",
    "--disabled-community",
    "--as-path",
    "--up-as-path",
    "--down-as-path",
    "--disabled-as-path",
    "--path-id",
    "--withdraw-on-down",
    "--neighbor",
    "--debounce",
    "--execute",
    "--up-execute",
    "--down-execute",
    "--disabled-execute",
    "--silent",
    "--syslog-facility",
    "--no-syslog",
    "--debug",
    "--no-ack",
    "--sudo",
    "--name",
    "--config",
    "--pid",
    "--user",
    "--group",
];

/// Of gecio/anycastd.
const ANYCASTD: &[&str] = &[
    "services.NAME",
    "name",
    "prefix",
    "vrf",
    "vtysh",
    "url",
    "interval",
    "log_level",
    "log_format",
    "--configuration",
];

/// Whether a table of the page has the option, by itself or with an example value.
fn has(page: &str, option: &str) -> bool {
    let rows = page.lines().filter(|line| line.starts_with('|'));
    rows.into_iter().any(|row| {
        row.split('`').skip(1).step_by(2).any(|code| {
            let rest = code.strip_prefix(option);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '=']))
        })
    })
}

#[test]
fn every_option_of_the_three_others_has_its_row() {
    for (page, options) in [
        ("migrate-anycast-healthchecker.md", ANYCAST_HEALTHCHECKER),
        ("migrate-exabgp-healthcheck.md", EXABGP),
        ("migrate-anycastd.md", ANYCASTD),
    ] {
        for page in [page, "options.md"] {
            let text = fs::read_to_string(docs().join(page)).expect("a page");
            let missing: Vec<_> = options
                .iter()
                .filter(|option| !has(&text, option))
                .collect();
            assert!(missing.is_empty(), "{page} says nothing of {missing:?}");
        }
    }
}

#[test]
fn every_configuration_in_the_documentation_is_valid() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("anycast.toml");
    let mut seen = 0;
    for path in pages() {
        let page = fs::read_to_string(&path).expect("a page");
        for (line, text) in configurations(&page) {
            fs::write(&file, text).expect("written");
            let output = Command::new(env!("CARGO_BIN_EXE_anycast"))
                .arg("check-config")
                .arg(&file)
                .output()
                .expect("the binary starts");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{}:{line}: {said}", path.display());
            seen += 1;
        }
    }
    assert!(seen >= 6, "only {seen} configurations were found");
}

/// The words in backticks.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The options that words in backticks name; a quoted one is a value.
fn options_in(text: &str) -> BTreeSet<String> {
    code(text)
        .filter(|word| !word.starts_with('"'))
        .map(str::to_owned)
        .collect()
}

/// What the page says of each type's options: those of its row and those that it shares with the others.
fn described_options(page: &str) -> BTreeMap<String, BTreeSet<String>> {
    let (_, table) = page
        .split_once("Each type's options, besides those that all but `listener` share (")
        .expect("the table of options");
    let (shared, table) = table.split_once(';').expect("what all share");
    let (of_listener, table) = table.split_once("):").expect("what a listener check has");
    let (_, of_listener) = of_listener.split_once("has").expect("what it has");
    let rows = table.lines().skip_while(|line| !line.starts_with('|'));
    let rows = rows.skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let cells: Vec<_> = row.split('|').collect();
        let name = code(cells[1]).next().expect("a type");
        let common = match name {
            "listener" => of_listener,
            "tls" => "",
            _ => shared,
        };
        let own = options_in(cells[2]);
        (
            name.to_owned(),
            own.into_iter().chain(options_in(common)).collect(),
        )
    })
    .collect()
}

/// The schema that a property's own one refers to, where it is a table.
fn table_of<'a>(schema: &'a Value, property: &'a Value) -> Option<&'a Value> {
    let any_of = property["anyOf"].as_array();
    let alternatives = any_of.map_or(std::slice::from_ref(property), Vec::as_slice);
    alternatives.iter().find_map(|alternative| {
        let name = alternative["$ref"].as_str()?.strip_prefix("#/$defs/")?;
        let table = &schema["$defs"][name];
        table["properties"].is_object().then_some(table)
    })
}

fn keys(table: &Value) -> impl Iterator<Item = (&String, &Value)> {
    table["properties"].as_object().into_iter().flatten()
}

/// What the schema has: the options of each type of check and of `tls`; what other tables hold, with those that hold them.
fn real_options(schema: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let mut options: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for variant in schema["oneOf"].as_array().expect("the types of checks") {
        let kind = variant["properties"]["type"]["const"].as_str();
        let kind = kind.expect("a type");
        let own = table_of(schema, variant);
        for (option, property) in keys(variant).chain(own.into_iter().flat_map(keys)) {
            if option == "type" {
                continue;
            }
            options
                .entry(kind.to_owned())
                .or_default()
                .insert(option.clone());
            let holder = if option == "tls" { "tls" } else { kind };
            let held = table_of(schema, property).into_iter().flat_map(keys);
            let held = held.map(|(option, _)| option.clone());
            options.entry(holder.to_owned()).or_default().extend(held);
        }
    }
    options
}

#[test]
fn the_page_of_checks_names_every_option_of_each_type_and_no_other() {
    let page = fs::read_to_string(docs().join("checks.md")).expect("a page");
    let schema = schemars::schema_for!(anycast_userspace::config::Check);
    let schema = serde_json::to_value(schema).expect("JSON");
    let (described, real) = (described_options(&page), real_options(&schema));
    assert_eq!(
        described.keys().collect::<Vec<_>>(),
        real.keys().collect::<Vec<_>>()
    );
    for (kind, options) in &real {
        assert_eq!(described[kind], *options, "`{kind}`");
        assert!(kind == "tls" || options.contains("name"), "{options:?}");
    }
}
