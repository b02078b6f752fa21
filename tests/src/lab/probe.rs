//! What the client sees when it asks with the tools that people use: dig, curl and ping.

use std::process::Command;

use anyhow::Context as _;

use super::topology::{City, SERVICE_V4, SERVICE_V6, TO_NODE_MARK, ZONE};
use crate::netns::Inside;

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The Service Address of this family.
    #[must_use]
    pub const fn service(self) -> &'static str {
        match self {
            Self::V4 => SERVICE_V4,
            Self::V6 => SERVICE_V6,
        }
    }
}

/// A tool that asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// ICMP echo, answered by the XDP program.
    Ping,
    /// DNS over UDP, answered by NSD.
    Dig,
    /// HTTP, answered by nginx.
    Curl,
}

impl Tool {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Ping, Self::Dig, Self::Curl];

    /// The program's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Dig => "dig",
            Self::Curl => "curl",
        }
    }

    /// Asks once from `client`, for a second at most, and says which city has answered.
    ///
    /// # Errors
    /// When the tool cannot be started. No answer is no error.
    pub fn ask(self, client: &Inside, family: Family) -> anyhow::Result<Option<City>> {
        let mut command = client.command(self.name())?;
        match self {
            Self::Ping => command.args(["-n", "-c", "1", "-W", "1", family.service()]),
            Self::Dig => command.args([
                &format!("@{}", family.service()),
                ZONE,
                "TXT",
                "+short",
                "+tries=1",
                "+time=1",
                "+nocookie",
            ]),
            Self::Curl => command.args(["-s", "-g", "-m", "1", &page(family)]),
        };
        let answer = stdout(command)?;
        Ok(match self {
            Self::Ping => ttl(&answer).and_then(City::from_ttl),
            Self::Dig => City::from_name(answer.trim().trim_matches('"')),
            Self::Curl => City::from_name(answer.trim()),
        })
    }
}

/// Whether the node behind a city's router answers a ping of the Service Address itself, wherever the routes
/// lead: the packet is marked, and the mark leads to the node.
///
/// # Errors
/// When ping cannot be started.
pub fn answers_ping_of_node(router: &Inside, family: Family) -> anyhow::Result<bool> {
    let mut command = router.command("ping")?;
    command.args([
        "-n",
        "-c",
        "3",
        "-i",
        "0.2",
        "-W",
        "1",
        "-m",
        TO_NODE_MARK,
        family.service(),
    ]);
    Ok(ttl(&stdout(command)?).is_some())
}

fn page(family: Family) -> String {
    match family {
        Family::V4 => format!("http://{SERVICE_V4}/"),
        Family::V6 => format!("http://[{SERVICE_V6}]/"),
    }
}

/// The TTL or hop limit of the first reply that ping(8) shows.
fn ttl(output: &str) -> Option<u8> {
    output
        .split_whitespace()
        .find_map(|word| word.strip_prefix("ttl="))?
        .parse()
        .ok()
}

/// What it prints, also when it fails: no answer is what a probe reports by failing.
fn stdout(mut command: Command) -> anyhow::Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .with_context(|| format!("starting {program}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_tells_its_city_by_its_ttl() {
        for (line, want) in [
            (
                "64 bytes from 192.168.250.1: icmp_seq=1 ttl=62 time=0.1 ms",
                Some(City::A),
            ),
            (
                "64 bytes from fd00:250::1: icmp_seq=1 ttl=61 time=0.1 ms",
                Some(City::B),
            ),
            (
                "64 bytes from 192.168.250.1: icmp_seq=1 ttl=64 time=0.1 ms",
                None,
            ),
            ("From 10.9.0.1 icmp_seq=1 Destination Net Unreachable", None),
        ] {
            assert_eq!(ttl(line).and_then(City::from_ttl), want, "{line}");
        }
    }
}
