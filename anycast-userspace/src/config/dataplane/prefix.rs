//! Prefixes, and lists of them: sources that are allowed, denied, or exempt from limits.
//!
//! A list of sources is a set: the order of its entries, and how often one is named, mean nothing. Both
//! families may stand in one list. Prefixes may overlap, within a list and between lists: what is allowed
//! wins. What is announced, and the prefixes of peers, are written alike. Refused is what has no clear meaning: host bits, an address without a length, and IPv4 in the guise
//! of IPv6, which no packet has for a source.

use std::borrow::Cow;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, de};

/// For lists: a prefix without host bits, of a family that packets have.
///
/// # Errors
/// Names the prefix that was probably meant.
pub fn network(prefix: &IpNet, _: &()) -> garde::Result {
    if *prefix != prefix.trunc() {
        return Err(garde::Error::new(format!(
            "{prefix} has host bits set: write {}",
            prefix.trunc()
        )));
    }
    if let IpNet::V6(v6) = prefix
        && let Some(v4) = v6.addr().to_ipv4_mapped()
        && v6.prefix_len() >= 96
    {
        return Err(garde::Error::new(format!(
            "{prefix} is IPv4 written as IPv6, which no packet comes from: write {v4}/{}",
            v6.prefix_len() - 96
        )));
    }
    Ok(())
}

/// Reads a list; each entry that is no prefix is refused where it stands.
///
/// # Errors
/// Names the prefix that was probably meant.
pub fn prefixes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let entries = Vec::<Entry>::deserialize(deserializer)?;
    Ok(entries.into_iter().map(|Entry(prefix)| prefix).collect())
}

/// Reads a prefix that may be absent.
///
/// # Errors
/// Names the prefix that was probably meant.
pub fn prefix<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<IpNet>, D::Error> {
    let entry = Option::<Entry>::deserialize(deserializer)?;
    Ok(entry.map(|Entry(prefix)| prefix))
}

struct Entry(IpNet);

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        parse(&text).map(Self).map_err(de::Error::custom)
    }
}

fn parse(text: &str) -> Result<IpNet, String> {
    if let Ok(prefix) = text.parse() {
        return Ok(prefix);
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        let whole = IpNet::from(address);
        return Err(format!("`{text}` has no prefix length: write {whole}"));
    }
    let address = text.split('/').next().unwrap_or_default();
    match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => Err(format!("`{text}`: prefixes of IPv4 are 0 to 32 bits long")),
        Ok(IpAddr::V6(_)) => Err(format!("`{text}`: prefixes of IPv6 are 0 to 128 bits long")),
        Err(_) => Err(format!(
            "`{text}` is not a prefix: write \"192.0.2.0/24\" or \"2001:db8::/32\""
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Config;

    fn config(lists: &str, of_service: &str) -> String {
        format!(
            "[node]\nname = \"city-a\"\n\n[dataplane]\ninterfaces = [\"eth0\"]\n{lists}\n\n\
             [[services]]\nname = \"dns\"\naddresses = [\"192.168.250.1\"]\nports = [\"udp/53\"]\n\
             announce = []\n{of_service}\n"
        )
    }

    #[test]
    fn overlaps_repetitions_and_both_families_are_accepted() {
        for lists in [
            r#"deny = ["10.0.0.0/8", "10.1.0.0/16", "10.0.0.0/8"]"#,
            r#"deny = ["10.0.0.0/8", "2001:db8::/32", "0.0.0.0/0", "::/0"]"#,
            "allow = [\"10.0.0.0/8\"]\ndeny = [\"10.0.0.0/8\"]",
            r#"exempt = ["192.0.2.1/32", "192.0.2.1/32"]"#,
        ] {
            let parsed = Config::parse(&config(lists, ""));
            assert!(parsed.is_ok(), "{lists}: {parsed:?}");
        }
        let parsed = Config::parse(&config("", r#"deny = ["10.0.0.0/8", "::/0"]"#)).unwrap();
        assert_eq!(parsed.services[0].deny.len(), 2);
    }

    #[test]
    fn what_has_no_clear_meaning_is_refused_with_line_field_and_what_was_meant() {
        for (entry, why) in [
            (
                "10.1.2.3/8",
                "10.1.2.3/8 has host bits set: write 10.0.0.0/8",
            ),
            (
                "2001:db8::1/32",
                "2001:db8::1/32 has host bits set: write 2001:db8::/32",
            ),
            (
                "10.0.0.1",
                "`10.0.0.1` has no prefix length: write 10.0.0.1/32",
            ),
            ("::1", "`::1` has no prefix length: write ::1/128"),
            (
                "10.0.0.0/33",
                "`10.0.0.0/33`: prefixes of IPv4 are 0 to 32 bits long",
            ),
            (
                "2001:db8::/129",
                "`2001:db8::/129`: prefixes of IPv6 are 0 to 128 bits long",
            ),
            (
                "10.0.0.0/8/8",
                "`10.0.0.0/8/8`: prefixes of IPv4 are 0 to 32 bits long",
            ),
            (
                "10.0.0/8",
                "`10.0.0/8` is not a prefix: write \"192.0.2.0/24\" or \"2001:db8::/32\"",
            ),
            (
                "::ffff:10.0.0.0/104",
                "::ffff:10.0.0.0/104 is IPv4 written as IPv6, which no packet comes from: write \
                 10.0.0.0/8",
            ),
        ] {
            let list = format!("[\n  \"192.0.2.0/24\",\n  \"{entry}\",\n]");
            for field in ["allow", "deny", "exempt"] {
                let text = config(&format!("{field} = {list}"), "");
                assert_refused(&text, 8, &format!("dataplane.{field}[1]"), why);
            }
            let text = config("", &format!("deny = {list}"));
            assert_refused(&text, 15, "services[0].deny[1]", why);
        }
    }

    fn assert_refused(text: &str, line: usize, field: &str, why: &str) {
        let problems = Config::parse(text).unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:?}");
        let problem = &problems[0];
        assert_eq!(
            (
                problem.place.line,
                problem.field.as_str(),
                problem.message.as_str()
            ),
            (line, field, why)
        );
    }
}
