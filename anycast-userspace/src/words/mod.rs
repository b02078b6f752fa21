//! The operator's word outside the controller: kept across restarts, and read from maintenance files.
//!
//! ```text
//!   words.json ──read at the start──▶ controller ──watch: Words──▶ keeper ──▶ words.json
//!                                        ▲  ▲                        │
//!                                        │  └──── watch: Saved ──────┘
//!   maintenance files ──▶ look, twice a second ──mpsc: FileReport──▶ controller
//! ```
//!
//! It decides nothing: what the words amount to is [`crate::decision::Orders`]' business.

pub mod clocks;
pub mod keeper;
pub mod maintenance;
pub mod saved;

use std::time::Instant;

use crate::decision::{Away, Order};

/// Depth of the channel on which maintenance files are reported; who finds it full waits.
pub const FILE_REPORTS: usize = 64;

/// One service's word by command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spoken {
    /// The service's name.
    pub service: String,
    /// What was asked.
    pub order: Order,
}

/// All that was said by command and still counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words {
    /// Grows with every change.
    pub generation: u64,
    /// At most one for each service.
    pub spoken: Vec<Spoken>,
}

/// What is on the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Saved {
    /// The last generation that was tried.
    pub generation: u64,
    /// Why it is not on the disk.
    pub error: Option<String>,
}

/// What a service's maintenance file says now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileReport {
    /// The service's index.
    pub service: usize,
    /// The word; `None`: the file is gone, or its time is over.
    pub order: Option<Order>,
}

/// The word for a service of which nobody knows what was said.
pub fn unknown(service: &str, why: &str) -> Order {
    Order {
        away: Away::Drained,
        reason: format!(
            "{why}; whatever was said before, `anycast undrain {service}` lets it be announced"
        ),
        until: None::<Instant>,
    }
}
