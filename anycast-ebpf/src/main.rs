//! The XDP entry. What it decides is in `anycast_common::classify`; here are only the maps, the
//! packet cursor, and the counting.
//!
//! On a host's target it compiles as an empty binary, so that cargo check, clippy and rust-analyzer
//! see all of it.
#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch))]

mod frame;
mod judge;
mod maps;
mod record;
mod tables;

use anycast_common::Verdict;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;

use crate::frame::{Frame, Linear, MultiBuffer, Span};
use crate::judge::{Witness, judge};

/// For frames in one piece.
#[xdp]
#[inline(always)]
#[expect(
    clippy::needless_pass_by_value,
    reason = "`#[xdp]` calls it with a value"
)]
pub(crate) fn anycast_xdp(ctx: XdpContext) -> u32 {
    judge::<Linear, Nobody>(&ctx)
}

/// For frames that may continue in further buffers.
#[xdp(frags)]
#[inline(always)]
#[expect(
    clippy::needless_pass_by_value,
    reason = "`#[xdp]` calls it with a value"
)]
pub(crate) fn anycast_xdp_frags(ctx: XdpContext) -> u32 {
    judge::<MultiBuffer, Nobody>(&ctx)
}

/// Verdicts are counted, and shown to nobody.
struct Nobody;

impl Witness for Nobody {
    const SHORT_WAY: bool = true;

    #[inline(always)]
    fn see<S: Span>(_frame: &Frame<'_, S>) {}

    #[inline(always)]
    fn tell(_ctx: &XdpContext, _verdict: &Verdict, _length: usize) {}
}

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The helpers that the kernel offers to GPL-compatible programs alone ask for this.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
