//! The section about metrics.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[metrics]`: where Prometheus finds the daemon's metrics. Without the section they are not served.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// Where `GET /metrics` is answered over HTTP: an address with a port, such as `"127.0.0.1:9184"`, or
    /// the absolute path of a Unix socket. There is no password: whoever can connect can read.
    #[garde(custom(can_be_a_socket))]
    #[schemars(with = "String")]
    pub listen: Listen,
}

fn can_be_a_socket(listen: &Listen, context: &()) -> garde::Result {
    match listen {
        Listen::Address(_) => Ok(()),
        Listen::Path(path) => super::paths::socket(path, context),
    }
}

/// An address or the path of a socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Listen {
    /// An address and a port.
    Address(SocketAddr),
    /// A Unix socket.
    Path(PathBuf),
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with('/') {
            return Ok(Self::Path(PathBuf::from(text)));
        }
        match text.parse::<SocketAddr>() {
            Ok(address) if address.port() == 0 => Err(format!(
                "`{text}`: nobody could find port 0; choose one, such as 9184"
            )),
            Ok(address) => Ok(Self::Address(address)),
            Err(_) => Err(format!(
                "`{text}` is neither an address with a port, such as \"127.0.0.1:9184\" or \"[::1]:9184\", nor \
                 an absolute path"
            )),
        }
    }
}

impl TryFrom<String> for Listen {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Listen> for String {
    fn from(listen: Listen) -> Self {
        listen.to_string()
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Path(path) => path.display().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_and_a_path_are_taken_and_written_as_they_were_read() {
        for text in ["127.0.0.1:9184", "[::1]:9184", "/run/anycast/metrics.sock"] {
            let metrics: Metrics = toml::from_str(&format!("listen = {text:?}")).expect(text);
            assert_eq!(metrics.listen.to_string(), text);
            let written = toml::to_string(&metrics).expect(text);
            assert_eq!(toml::from_str::<Metrics>(&written).expect(text), metrics);
        }
    }

    #[test]
    fn what_is_neither_is_named() {
        let cases = [
            ("listen = \"9184\"", "`9184` is neither an address"),
            ("listen = \"localhost:9184\"", "`localhost:9184` is neither"),
            ("listen = \"run/metrics\"", "`run/metrics` is neither"),
            ("listen = \"127.0.0.1:0\"", "nobody could find port 0"),
            ("", "missing field `listen`"),
            ("listen = \"[::1]:1\"\npath = \"/\"", "unknown field `path`"),
        ];
        for (text, words) in cases {
            let error = toml::from_str::<Metrics>(text).expect_err(text);
            assert!(error.message().contains(words), "{text}: {error}");
        }
    }
}
