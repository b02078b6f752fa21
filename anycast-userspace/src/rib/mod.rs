//! Routes: what should be announced, and what has been announced to one peer.
//!
//! Owns the attributes of a route, the desired routes with their generation, and the difference
//! between desired and sent (the Adj-RIB-Out of RFC 4271 §1.1). It must not know a socket, a clock,
//! tokio, or the wire format.

mod adj_rib_out;
mod attributes;
mod community;
mod desired;
#[cfg(any(test, feature = "fuzzing"))]
pub mod exercise;

pub use adj_rib_out::{AdjRibOut, Delta};
pub use attributes::{Attributes, NextHop};
pub use community::{Community, ExtendedCommunity, LargeCommunity};
pub use desired::{DesiredRoutes, Route};
