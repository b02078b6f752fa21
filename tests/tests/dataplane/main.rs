//! The data plane, on the host and in the kernel. Needs root.

mod support;
mod verdicts;
mod whole;
