//! The same program once more, with a log of every N-th verdict of each CPU through aya-log.
//!
//! An object of its own, loaded in the other's place where logs are asked for: the map of aya-log is
//! one that libbpf and bpftool refuse, and what is not loaded costs nothing.
//!
//! A line is the bytes of a `Sample`; the controller knows the names for it.
#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch))]

#[path = "../frame.rs"]
mod frame;
#[path = "../judge.rs"]
mod judge;
#[path = "../maps.rs"]
mod maps;
#[path = "../record.rs"]
mod record;
#[path = "../tables.rs"]
mod tables;

use anycast_common::Verdict;
use anycast_common::abi::{SAMPLE, Sampler};
use anycast_common::describe::describe;
use aya_ebpf::bindings::xdp_md;
use aya_ebpf::btf_maps::PerCpuArray;
use aya_ebpf::macros::{btf_map, xdp};
use aya_ebpf::programs::XdpContext;
use aya_ebpf::{EbpfContext as _, Global};
use aya_log_ebpf::info;

use crate::frame::{Frame, Linear, MultiBuffer, Span};
use crate::judge::{Witness, judge};

#[btf_map]
static SAMPLER: PerCpuArray<Sampler, 1> = PerCpuArray::new();

/// One of how many verdicts is logged.
#[unsafe(no_mangle)]
static TRACE_EVERY: Global<u32> = Global::new(1);

/// As `anycast_xdp` of the other object.
#[xdp]
#[inline(always)]
#[expect(
    clippy::needless_pass_by_value,
    reason = "`#[xdp]` calls it with a value"
)]
pub(crate) fn anycast_xdp(ctx: XdpContext) -> u32 {
    judge::<Linear, Log>(&ctx)
}

/// As `anycast_xdp_frags` of the other object.
#[xdp(frags)]
#[inline(always)]
#[expect(
    clippy::needless_pass_by_value,
    reason = "`#[xdp]` calls it with a value"
)]
pub(crate) fn anycast_xdp_frags(ctx: XdpContext) -> u32 {
    judge::<MultiBuffer, Log>(&ctx)
}

struct Log;

impl Witness for Log {
    const SHORT_WAY: bool = false;

    #[inline(always)]
    fn see<S: Span>(frame: &Frame<'_, S>) {
        take_sample(frame);
    }

    #[inline(always)]
    fn tell(ctx: &XdpContext, verdict: &Verdict, length: usize) {
        let Some(sampler) = sampler() else {
            return;
        };
        let sample = &mut sampler.sample;
        sample.disposition = verdict.disposition() as u32;
        sample.reason = verdict.reason as u32;
        sample.service = verdict.service;
        #[expect(clippy::cast_possible_truncation, reason = "frames are shorter")]
        {
            sample.length = length as u32;
        }
        log(ctx.as_ptr().cast());
    }
}

/// Describes the packet if its verdict is the one to log.
///
/// Whether it is stands in the map alone: what the verifier knows of it, it would follow along every way
/// that a packet takes afterwards. For the same reason this and [`log`] are functions of their own, and
/// the verdict reaches `log` through the map.
#[inline(never)]
fn take_sample<S: Span>(frame: &Frame<'_, S>) {
    let Some(sampler) = sampler() else {
        return;
    };
    sampler.since += 1;
    if sampler.since >= TRACE_EVERY.load() {
        sampler.since = 0;
        describe(frame, &mut sampler.sample.packet);
    }
}

/// Logs the sample, if this packet is one.
#[inline(never)]
fn log(ctx: *mut xdp_md) {
    let Some(sampler) = sampler() else {
        return;
    };
    if sampler.since != 0 {
        return;
    }
    // SAFETY: a `Sample` is its bytes, without implicit padding.
    let bytes = unsafe { &*core::ptr::from_ref(&sampler.sample).cast::<[u8; SAMPLE]>() };
    info!(&XdpContext::new(ctx), "{:x}", bytes.as_slice());
}

/// This CPU's own.
#[inline(always)]
fn sampler() -> Option<&'static mut Sampler> {
    let sampler = SAMPLER.get_ptr_mut(0)?;
    // SAFETY: the slot is this CPU's own, and XDP is not preempted by itself.
    Some(unsafe { &mut *sampler })
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
