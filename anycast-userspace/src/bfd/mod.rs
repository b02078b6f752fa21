//! Bidirectional Forwarding Detection (RFC 5880): notices within tens of milliseconds that a peer is gone.
//!
//! Asynchronous mode, single-hop (RFC 5881) and multihop (RFC 5883), without authentication, echo or
//! demand mode. Owns the sessions and their sockets. It must not know what a failure means: it publishes
//! states, and others act.
//!
//! ```text
//!  UDP 3784, 4784 --> receiver (one per address family and port) --mpsc--> session task --> own UDP socket
//!                                                                             \--watch--> Status
//! ```
//!
//! `packet` and `machine` are pure; `machine` takes the time as an argument.

mod engine;
mod machine;
mod packet;
mod receiver;
mod session;

pub use engine::{Engine, Handle};
pub use machine::{Diagnostic, State};
pub use session::{Settings, Status};
