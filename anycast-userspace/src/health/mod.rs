//! The decision whether a service works: each check's rise and fall, what the service requires of its
//! checks, the hold-down after a failure, and the damping of one that flaps.
//!
//! Pure: results and time come in as arguments, and what changed comes out. Nothing here may touch
//! tokio, a socket or a clock. Operators' orders (drain, disable) are not health; the decision combines them.

mod aggregate;
mod damping;
mod machine;
mod outcome;
mod rise_fall;
mod settings;
mod verdict;

pub use damping::Penalty;
pub use machine::{CheckView, Health};
pub use outcome::{FailureKind, Outcome};
pub use rise_fall::{CheckState, RiseFall};
pub use settings::Settings;
pub use verdict::{HealthVerdict, Reason, Transition};
