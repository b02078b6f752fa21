//! An announce-only BGP-4 speaker (RFC 4271): it tells its peers our routes and uses none of theirs.
//!
//! Owns the sessions. It must not know why a route is wanted: it is given the desired routes and
//! reports which generation of them each peer has been sent.
//!
//! ```text
//!  DesiredRoutes --watch--> peer task (one per peer) --bytes--> socket
//!                             ^   |  \--mpsc--> Event (state, errors, generation applied)
//!       accepted connections  |   \---watch---> Summary (for those who wait for a generation)
//!  listener task -----mpsc----/
//!        \--mpsc--> group task (one per prefix): starts and forgets the peer tasks of its members
//!  discovery task (one per unnumbered interface) --watch--> peer task: where the router is
//! ```
//!
//! Each peer task owns its sockets, timers and Adj-RIB-Out, and shares no lock: a peer that is slow,
//! silent or hostile cannot delay another. `connection` (one TCP connection, without I/O), `collision`,
//! `backoff`, `penalties`, `refresh`, `territory` and `wire` are pure. The types of the crates that do the coding and the states end here (`boundary`).

mod backoff;
#[cfg(test)]
mod boundary;
mod collision;
mod connection;
mod discovery;
mod event;
#[cfg(any(test, feature = "fuzzing"))]
pub mod exercise;
mod export;
mod framing;
mod group;
mod linger;
mod listener;
mod neighbour;
mod notification;
mod peer;
mod penalties;
mod record;
mod refresh;
mod settings;
mod socket;
mod speaker;
mod start;
mod status;
mod territory;
mod wire;

pub use event::{Event, EventKind};
pub use notification::Notification;
pub use speaker::Speaker;
pub use start::Error;
pub use status::{
    AnnouncedRoute, GroupStatus, LastError, Listening, MessageCounts, Messages, Negotiated,
    PeerStatus, State, Status, Summary,
};
