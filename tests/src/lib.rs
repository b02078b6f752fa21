//! What the privileged tests and the lab share.

pub mod peers;
pub mod packet;
