//! The configuration file: its shape, its rules, and errors that name file, line and field.
//!
//! It only describes: it opens no socket, reads no clock, and knows no running state.

pub mod dataplane;
mod duration;

pub use duration::Span;
