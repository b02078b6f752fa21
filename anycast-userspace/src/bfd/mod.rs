//! Bidirectional Forwarding Detection (RFC 5880, 5881, 5883): notices within milliseconds that a peer, or the
//! path to it, is gone. What follows from that is the client's to decide (RFC 5882).
//!
//! ```text
//!   client's tasks                  thread "bfd"
//!   Manager, Session --Command--->  Engine: one loop, one owner
//!                     (mpsc, 64)     |- Receiver per (hops, family, device): UDP 3784, 4784
//!   Receiver<Event>  <---Event----   |- demux: discriminator, or sender and interface
//!                     (mpsc, 256)    '- Session: Machine (no I/O), Transmitter, counters
//!   Session::state() <---State----  (watch)
//! ```
//!
//! - **A thread of its own**, with its own single-threaded runtime: at 50 ms × 3 a stall of 150 ms is a false
//!   failure at the peer, and neither a slow health check nor a burst of UPDATEs may cause one. The kernel's
//!   scheduler gives a thread that mostly sleeps the processor soon after it wakes, even when all are busy.
//! - **One loop** instead of a task per session: every packet that has arrived is taken before any timer is
//!   looked at, so that a thread that was held up does not take a live peer for dead. There is no queue
//!   between socket and session that could fill; the socket's own queue can, and the kernel counts that.
//! - **Commands** wait for room: their senders are patient. **Events** never make the loop wait: if the
//!   client's queue is full they stay in a backlog that keeps, per peer, the first failure and the latest event.
//!
//! Not offered: Echo, Demand mode of our own. Packets that fail their authentication are discarded and
//! counted; they move no session and no sequence number. A session is never created because a packet asks for it.

pub mod auth;
mod demux;
mod engine;
mod error;
mod event;
#[cfg(any(test, feature = "fuzzing"))]
pub mod exercise;
pub mod iana;
pub mod machine;
mod manager;
pub mod packet;
mod session;
mod socket;
mod status;

pub use error::AddError;
pub use event::{DownReason, Event, EventKind};
pub use iana::{Diagnostic, State};
pub use manager::{Manager, Session};
pub use session::Peer;
pub use status::{Discarded, LastDown, Packets, SessionStatus, Status};
