//! Bidirectional Forwarding Detection (RFC 5880, 5881, 5882, 5883).
pub mod iana;
pub mod machine;
pub mod packet;
