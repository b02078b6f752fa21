//! BFD against real daemons and an independent decoder, in network namespaces. Needs root, and the packages
//! bird2, frr and tshark.

mod agent;
mod auth;
mod bird;
mod child;
mod daemon;
mod draining;
mod failing;
mod frr;
mod hostile;
mod lifecycle;
mod node;
mod stopping;
mod story;
mod sustained;
mod wire;
