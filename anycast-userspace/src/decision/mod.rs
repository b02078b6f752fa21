//! The decision: what each plane shall do for one service, given its health, the operator's word and
//! what the planes have reported so far.
//!
//! It owns the order of the two planes. Up: the map is written, then proved, then the routes are announced.
//! Down: withdrawn and no longer answered, both at once. Drain: the worst metric, a pause, the
//! withdrawal, quiet, then down. It is pure: time is an argument, and it never touches a map, a
//! session or a clock.

mod lifecycle;
mod phase;
mod plan;
mod word;

#[cfg(test)]
mod tests;

pub use lifecycle::{Lifecycle, Pace, Transition};
pub use plan::{DataPlaneMode, Plan, RouteState};
pub use word::{Away, Order, Orders, Source, Word};
