//! The embedded BGP speaker against real routing daemons, in network namespaces. Needs root.

mod bird;
mod crowd;
mod decoders;
mod errors;
mod frr;
mod hostile;
mod interop;
mod liveness;
mod mutations;
mod node;
mod scripted;
