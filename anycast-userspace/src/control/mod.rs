//! The control socket: JSON lines between the daemon and `anycast status`, `drain` and the rest.
//!
//! The server only carries requests to the controller and answers back; it holds no state of its own.

pub mod client;
pub mod protocol;
pub mod server;
