//! The configuration file: its shape, its rules, and errors that name file, line and field.
//!
//! It only describes: it opens no socket, reads no clock, and knows no running state.

pub mod check;
mod duration;
mod require;

pub use check::Check;
pub use duration::Span;
pub use require::{Damping, Require};
