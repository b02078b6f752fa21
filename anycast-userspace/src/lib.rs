//! The controller: checks the local services, decides, and keeps both planes in step.
pub mod bfd;
pub mod bgp;
pub mod checks;
pub mod config;
pub mod dataplane;
pub mod health;
pub mod rib;
pub mod sockopt;

/// The eBPF object, built from `anycast-ebpf` by the build script.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/anycast-ebpf"));
