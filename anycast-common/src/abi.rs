//! The map ABI: the types behind the pinned maps.

/// Name of the XDP program in the object.
pub const PROGRAM: &str = "anycast_xdp";
