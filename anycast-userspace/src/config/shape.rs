//! A text that is TOML, but not of the file's shape: a value of the wrong type, a key that is missing or
//! unknown. Finds the place and the field of what the parser says.

use std::ops::Range;

use toml::de::Error;

use super::locate::Places;
use super::{Problem, check};

/// What the parser met first.
pub(super) fn problem(places: &Places<'_>, error: &Error) -> Problem {
    let met = located(places, error, 0..0);
    if !met.field.contains("].checks") {
        return met;
    }
    let mut faults = places.checks().filter_map(|check| {
        let error = check::fault(check)?;
        Some(located(places, &error, check.span()))
    });
    faults.next().unwrap_or(met)
}

/// `around` is where an error stands that does not say where.
fn located(places: &Places<'_>, error: &Error, around: Range<usize>) -> Problem {
    let span = error.span().unwrap_or(around);
    let message = error.message().to_owned();
    let mut field = places.path_at(&span);
    let mut offset = span.start;
    if let Some((index, at)) = entry(places, &field, &message) {
        field.push_str(&format!("[{index}]"));
        offset = at;
    } else if let Some(key) = missing(&message) {
        if !field.is_empty() {
            field.push('.');
        }
        field.push_str(key);
    }
    Problem {
        place: places.of_offset(offset),
        field,
        message,
    }
}

/// Of a text that cannot be read the parser may only know the list: the index of the entry that `message`
/// quotes, in the list at `path`, and where it stands.
fn entry(places: &Places<'_>, path: &str, message: &str) -> Option<(usize, usize)> {
    let list = places.value(path)?.get_ref().as_array()?;
    let (index, entry) = list.iter().enumerate().find(|(_, entry)| {
        let text = entry.get_ref().as_str();
        text.is_some_and(|text| message.contains(&format!("`{text}`")))
    })?;
    Some((index, entry.span().start))
}

/// The key that is not there, of a table that is.
fn missing(message: &str) -> Option<&str> {
    message.strip_prefix("missing field `")?.strip_suffix('`')
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    const THREE: &str = r#"[node]
name = "city-a"
[dataplane]
interfaces = ["eth0"]
[[services]]
name = "web"
addresses = ["192.0.2.1"]
announce = []

[[services.checks]]
name = "dns"
type = "dns"
port = 53
query = "city.example."
record = "SOA"
serial = { server = "192.0.2.9:53" }

[[services.checks]]
name = "tcp"
type = "tcp"
port = 443
tls = { verify = false }

[[services.checks]]
name = "http"
type = "http"
interval = "1s"
port = 80
status = ["200", "204"]
[services.checks.tls]
verify = false

[[services]]
name = "name"
addresses = ["192.0.2.2"]
announce = []
checks = [
  { name = "a", type = "file", path = "/run/a" },
  { name = "b", type = "exec", command = ["true"] },
  { name = "c", type = "grpc", port = 1 },
]
"#;

    /// What stands in the text above, what replaces it, and the line, field and words of the fault.
    const FAULTS: &[(&str, &str, usize, &str, &str)] = &[
        (
            "port = 80",
            "port = \"x\"",
            28,
            "services[0].checks[2].port",
            "invalid type: string \"x\", expected u16",
        ),
        (
            "interval = \"1s\"",
            "interval = \"1 parsec\"",
            27,
            "services[0].checks[2].interval",
            "`1 parsec` is not a duration",
        ),
        (
            "port = 80",
            "rise = -1",
            28,
            "services[0].checks[2].rise",
            "invalid value: integer `-1`",
        ),
        (
            "port = 80",
            "foo = 1",
            28,
            "services[0].checks[2].foo",
            "unknown field `foo`",
        ),
        (
            "[\"200\", \"204\"]",
            "[\"200\", \"2o4\"]",
            29,
            "services[0].checks[2].status[1]",
            "`2o4` is not an HTTP status",
        ),
        (
            "[services.checks.tls]\nverify = false",
            "[services.checks.tls]\nverify = 0",
            31,
            "services[0].checks[2].tls.verify",
            "expected a boolean",
        ),
        (
            "name = \"http\"\n",
            "",
            24,
            "services[0].checks[2].name",
            "missing field `name`",
        ),
        (
            "type = \"http\"\n",
            "",
            24,
            "services[0].checks[2].type",
            "missing field `type`",
        ),
        (
            "type = \"http\"",
            "type = \"https\"",
            26,
            "services[0].checks[2].type",
            "unknown variant `https`, expected one of `tcp`, `http`",
        ),
        (
            "type = \"http\"",
            "type = 80",
            26,
            "services[0].checks[2].type",
            "invalid type: integer `80`, expected a string",
        ),
        (
            "port = 443\n",
            "",
            18,
            "services[0].checks[1].port",
            "missing field `port`",
        ),
        (
            "port = 443",
            "port = 443\nquery = \"city.example.\"",
            22,
            "services[0].checks[1].query",
            "unknown field `query`",
        ),
        (
            "tls = { verify = false }",
            "tls = { port = 1 }",
            22,
            "services[0].checks[1].tls.port",
            "unknown field `port`",
        ),
        (
            "serial = { server = \"192.0.2.9:53\" }",
            "serial = { server = \"192.0.2.9\" }",
            16,
            "services[0].checks[0].serial.server",
            "invalid socket address",
        ),
        (
            "serial = { server = \"192.0.2.9:53\" }",
            "serial = { max_lag = 1 }",
            16,
            "services[0].checks[0].serial.server",
            "missing field `server`",
        ),
        (
            "serial = { server = \"192.0.2.9:53\" }",
            "serial = { server = \"192.0.2.9:53\", name = 1 }",
            16,
            "services[0].checks[0].serial.name",
            "unknown field `name`",
        ),
        (
            "type = \"grpc\", port = 1",
            "type = \"grpc\", port = 1, name_ = 1",
            40,
            "services[1].checks[2].name_",
            "unknown field `name_`",
        ),
        (
            "type = \"grpc\", port = 1",
            "type = \"grpc\"",
            40,
            "services[1].checks[2].port",
            "missing field `port`",
        ),
        (
            "{ name = \"c\", type = \"grpc\", port = 1 }",
            "\"c\"",
            40,
            "services[1].checks[2]",
            "is not a table with a `type`",
        ),
        (
            "name = \"name\"\n",
            "",
            33,
            "services[1].name",
            "missing field `name`",
        ),
        (
            "name = \"web\"",
            "name = \"web\"\nhooks = [{ command = [\"true\"], name = \"a\" }]",
            7,
            "services[0].hooks[0].name",
            "unknown field `name`",
        ),
    ];

    #[test]
    fn a_fault_of_shape_is_told_at_its_own_key_whatever_else_has_that_name() {
        Config::parse(THREE).expect("valid");
        for (from, to, line, field, words) in FAULTS {
            assert_eq!(THREE.matches(from).count(), 1, "{from}");
            let text = THREE.replacen(from, to, 1);
            let problems = Config::parse(&text).expect_err(to);
            let [problem] = &problems[..] else {
                panic!("`{to}` gives {problems:#?}");
            };
            assert_eq!(
                (problem.place.line, problem.field.as_str()),
                (*line, *field),
                "`{to}`: {}",
                problem.message
            );
            assert!(
                problem.message.contains(words),
                "`{to}`: {}",
                problem.message
            );
        }
    }

    #[test]
    fn of_two_checks_at_fault_the_first_is_told() {
        let text = THREE
            .replace("port = 443", "port = -1")
            .replace("port = 80", "port = \"x\"");
        let problems = Config::parse(&text).expect_err("two faults");
        assert_eq!(problems[0].field, "services[0].checks[1].port");
        assert_eq!(problems.len(), 1);
    }
}
