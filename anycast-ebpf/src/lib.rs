//! Present so that cargo can make the controller depend on this crate's build.
#![no_std]
