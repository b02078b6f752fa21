//! The embedded BGP speaker against real routing daemons, in network namespaces. Needs root.

mod bird;
mod crowd;
mod decoders;
mod dynamic;
mod errors;
mod flood;
mod frr;
mod hostile;
mod interop;
mod keys;
mod liveness;
mod mutations;
mod node;
mod policy;
mod roles;
mod scripted;
mod transport;
mod unnumbered;
mod unsayable;
