//! What the privileged tests and the lab share: network namespaces, child processes, real daemons, real
//! BGP peers, packet builders.
//!
//! Nothing here knows the controller's types: the lab drives the built binary as an operator would, so
//! that this library builds before the eBPF toolchain is there.

pub mod clock;
pub mod feed;
pub mod fuse;
pub mod interrupt;
pub mod lab;
pub mod lease;
pub mod netns;
pub mod packet;
pub mod peers;
pub mod process;
pub mod processor;
pub mod scratch;
pub mod site;
pub mod stall;
pub mod verifier;
pub mod wait;

mod sys;
