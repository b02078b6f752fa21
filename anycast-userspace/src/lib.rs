//! The controller: checks the local services, decides, and keeps both planes in step.
pub mod bfd;
pub mod config;

/// The eBPF object, built from `anycast-ebpf` by the build script.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/anycast-ebpf"));
