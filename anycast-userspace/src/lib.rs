//! The controller: checks the local services, decides, and keeps both planes in step.
//!
//! ARCHITECTURE.md draws how the modules hang together and what each may know.

pub mod addresses;
pub mod app;
pub mod bfd;
pub mod bgp;
pub mod checks;
pub mod cli;
pub mod command;
pub mod config;
pub mod control;
pub mod controller;
pub mod dataplane;
pub mod decision;
pub mod descriptors;
pub mod events;
pub mod health;
pub mod hooks;
pub mod links;
pub mod listener;
mod logging;
pub mod metrics;
mod one_line;
pub mod planes;
pub mod privileges;
pub mod rib;
pub mod slice;
pub mod sockopt;
pub mod state;
pub mod unix_socket;
pub mod words;
pub mod writer;

/// The eBPF object, built from `anycast-ebpf` by the build script.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/anycast-ebpf"));

/// The same program with a log of verdicts; only aya can load it.
pub static TRACING_OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/anycast-trace"));

/// The benchmarks' own programs: what the data plane is measured against. No part of the daemon.
#[doc(hidden)]
pub static BENCH_OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/anycast-bench"));
