//! The embedded BGP speaker against real routing daemons, in network namespaces. Needs root.

mod bird;
mod node;
