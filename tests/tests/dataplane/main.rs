//! The data plane, on the host and in the kernel. Needs root.

mod answers;
mod case;
mod differential;
mod judge;
mod limits;
mod live;
mod support;
mod verdicts;
mod whole;
