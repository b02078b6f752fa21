//! Checks that look at this host instead of speaking to the service: `exec` and `file`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check_type;
use crate::config::paths::absolute;
use crate::config::rules::{has_no_nul, names_a_program, names_a_user};

check_type! {
    /// A command whose exit code is the verdict. It runs in a process group of its own, without a
    /// shell, with nothing on its standard input; whatever of the group is still there at the end or
    /// at the timeout is killed with SIGKILL.
    ///
    /// Besides the daemon's environment it sees `ANYCAST_SERVICE`, `ANYCAST_CHECK`,
    /// `ANYCAST_ADDRESSES` (separated by spaces, the first 64 KiB of them) and `ANYCAST_ADDRESS_COUNT` (of all).
    pub struct ExecCheck {
        /// The program, then its arguments.
        #[garde(length(min = 1), custom(names_a_program), inner(custom(has_no_nul)))]
        pub command: Vec<String>,
        /// Variables to set besides those of the daemon.
        #[garde(custom(are_variables))]
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        pub environment: BTreeMap<String, String>,
        /// Working directory (default `/`).
        #[garde(custom(absolute))]
        #[serde(default = "slash")]
        pub directory: PathBuf,
        /// User to run as, with that user's group alone (default: the daemon's).
        #[garde(inner(length(min = 1), custom(names_a_user)))]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub user: Option<String>,
        /// Exit codes that pass (default `[0]`); every other code, and a signal, fails.
        #[garde(length(min = 1))]
        #[serde(default = "zero")]
        pub pass_codes: Vec<u8>,
    }
}

check_type! {
    /// A file that must be absent, or present: an operator's maintenance switch, or a heartbeat.
    pub struct FileCheck {
        /// The file.
        #[garde(custom(absolute))]
        pub path: PathBuf,
        /// `"absent"` (default): pass while the file is not there; `"present"`: pass while it is.
        #[garde(skip)]
        #[serde(default)]
        pub expect: FilePresence,
    }
}

/// Which of the two makes a `file` check pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FilePresence {
    /// The file must not be there.
    #[default]
    Absent,
    /// The file must be there.
    Present,
}

fn slash() -> PathBuf {
    PathBuf::from("/")
}

fn zero() -> Vec<u8> {
    vec![0]
}

fn are_variables<C>(variables: &BTreeMap<String, String>, context: &C) -> garde::Result {
    for (name, value) in variables {
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(garde::Error::new(format!(
                "`{name}` cannot name a variable"
            )));
        }
        has_no_nul(value, context)?;
    }
    Ok(())
}
