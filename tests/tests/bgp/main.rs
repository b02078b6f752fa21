//! The embedded BGP speaker against real routing daemons, in network namespaces. Needs root.

mod bird;
mod decoders;
mod dynamic;
mod frr;
mod hostile;
mod interop;
mod keys;
mod node;
mod policy;
mod roles;
mod scripted;
mod transport;
mod unnumbered;
