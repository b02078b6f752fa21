//! The data plane, on the host and in the kernel. Needs root.

mod addresses;
mod attaching;
mod case;
mod daemon;
mod devices;
mod differential;
mod full;
mod icmp;
mod identity;
mod index;
mod judge;
mod limits;
mod live;
mod matrix;
mod multi_buffer;
mod neighbors;
mod others_tools;
mod pmtud;
mod rejections;
mod replies;
mod support;
mod tools;
mod trace;
mod verdicts;
mod whole;
