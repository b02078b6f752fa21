//! The configuration file: its shape, its rules, and errors that name file, line and field.
//!
//! It only describes: it opens no socket, reads no clock, and knows no running state.

pub mod bfd;
pub mod bgp;
pub mod check;
pub mod dataplane;
mod duration;
mod require;

pub use crate::rib::{Attributes, NextHop};
pub use bgp::Bgp;
pub use check::Check;
pub use duration::Span;
pub use require::{Damping, Require};
