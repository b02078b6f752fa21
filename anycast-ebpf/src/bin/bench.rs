//! The benchmarks' own programs: what costs are compared with, and wrappers that give a program under
//! test the same frame each time, which BPF_PROG_TEST_RUN does not.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

use anycast_common::abi::{AddressV4, Owner};
use anycast_common::bench::{Kept, SHORT_WORDS, WORDS};
use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::{BPF_F_NO_PREALLOC, TC_ACT_OK, TC_ACT_SHOT, xdp_action};
use aya_ebpf::btf_maps::{Array, HashMap, ProgramArray};
use aya_ebpf::helpers::{bpf_xdp_adjust_head, bpf_xdp_adjust_tail};
use aya_ebpf::macros::{btf_map, classifier, xdp};
use aya_ebpf::programs::{TcContext, XdpContext};

const ETHERNET: usize = 14;
const IPV4: usize = 20;
/// Bytes of a word.
const WORD: usize = 8;

/// As the data plane's map of this name, with which it is shared.
#[btf_map]
static ADDRESSES_V4: HashMap<AddressV4, Owner, 1024, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();

#[btf_map]
static KEPT: Array<Kept, 1> = Array::new();

#[btf_map]
static TARGET: ProgramArray<1> = ProgramArray::new();

/// The least that a program can do.
#[xdp]
pub(crate) fn bench_drop(_ctx: XdpContext) -> u32 {
    xdp_action::XDP_DROP
}

/// The least that a program can do that knows whether a packet is to one of its addresses.
#[xdp]
#[expect(
    clippy::needless_pass_by_value,
    reason = "`#[xdp]` calls it with a value"
)]
pub(crate) fn bench_floor(ctx: XdpContext) -> u32 {
    let Some(headers) = front::<{ ETHERNET + IPV4 }>(&ctx) else {
        return xdp_action::XDP_PASS;
    };
    if headers[12] != 8 || headers[13] != 0 {
        return xdp_action::XDP_PASS;
    }
    // SAFETY: an address is four bytes without alignment, and four bytes are there.
    let address = unsafe { &*headers[ETHERNET + 16..].as_ptr().cast::<AddressV4>() };
    // SAFETY: the value is not looked at.
    if unsafe { ADDRESSES_V4.get(address) }.is_some() {
        xdp_action::XDP_DROP
    } else {
        xdp_action::XDP_PASS
    }
}

/// Restores a frame whose length does not change.
#[xdp]
#[expect(
    clippy::needless_pass_by_value,
    reason = "`#[xdp]` calls it with a value"
)]
pub(crate) fn bench_restore(ctx: XdpContext) -> u32 {
    restore(&ctx);
    call(&ctx)
}

/// Restores a frame and its length.
#[xdp]
#[expect(
    clippy::needless_pass_by_value,
    reason = "`#[xdp]` calls it with a value"
)]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "frames are shorter than a page"
)]
pub(crate) fn bench_restore_length(ctx: XdpContext) -> u32 {
    let Some(kept) = KEPT.get_ptr_mut(0) else {
        return xdp_action::XDP_ABORTED;
    };
    // SAFETY: an array's element is always there; one run at a time uses it.
    let kept = unsafe { &mut *kept };
    let prepended = if kept.state == 0 { 0 } else { kept.prepended };
    kept.state = 1;
    // SAFETY: the helper takes the program's own context.
    if unsafe { bpf_xdp_adjust_head(ctx.as_ptr().cast(), prepended as i32) } != 0 {
        return xdp_action::XDP_ABORTED;
    }
    let have = (ctx.data_end() as u64).wrapping_sub(ctx.data() as u64) as i32;
    // SAFETY: the helper takes the program's own context.
    if unsafe { bpf_xdp_adjust_tail(ctx.as_ptr().cast(), kept.length as i32 - have) } != 0 {
        return xdp_action::XDP_ABORTED;
    }
    restore(&ctx);
    call(&ctx)
}

/// Aims the frame at one of many addresses, in an order that no cache foresees.
#[xdp]
#[expect(
    clippy::needless_pass_by_value,
    reason = "`#[xdp]` calls it with a value"
)]
pub(crate) fn bench_spread(ctx: XdpContext) -> u32 {
    let Some(kept) = KEPT.get_ptr_mut(0) else {
        return xdp_action::XDP_ABORTED;
    };
    // SAFETY: an array's element is always there; one run at a time uses it.
    let kept = unsafe { &mut *kept };
    // Knuth's MMIX generator, whose high half is good enough.
    kept.state = kept
        .state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    let place = ((kept.state >> 32) * u64::from(kept.count)) >> 32;
    let address = kept.first.wrapping_add(place as u32);
    if let Some(headers) = front::<{ ETHERNET + IPV4 }>(&ctx) {
        headers[ETHERNET + 16..].copy_from_slice(&address.to_be_bytes());
    }
    call(&ctx)
}

/// Sends the same frame each time, where the kernel makes frames of it (BPF_F_TEST_XDP_LIVE_FRAMES): they
/// use the same memory again and again.
#[xdp]
#[expect(
    clippy::needless_pass_by_value,
    reason = "`#[xdp]` calls it with a value"
)]
pub(crate) fn bench_send(ctx: XdpContext) -> u32 {
    restore(&ctx);
    xdp_action::XDP_TX
}

/// The floor as a classifier, after the kernel has made a socket buffer of the frame.
#[classifier]
#[expect(
    clippy::needless_pass_by_value,
    reason = "`#[classifier]` calls it with a value"
)]
pub(crate) fn bench_classify(ctx: TcContext) -> i32 {
    if ctx.data() + ETHERNET + IPV4 > ctx.data_end() {
        return TC_ACT_OK;
    }
    // SAFETY: the bytes lie before data_end and have no alignment.
    let headers = unsafe { &*(ctx.data() as *const [u8; ETHERNET + IPV4]) };
    if headers[12] != 8 || headers[13] != 0 {
        return TC_ACT_OK;
    }
    // SAFETY: an address is four bytes without alignment, and four bytes are there.
    let address = unsafe { &*headers[ETHERNET + 16..].as_ptr().cast::<AddressV4>() };
    // SAFETY: the value is not looked at.
    if unsafe { ADDRESSES_V4.get(address) }.is_none() {
        return TC_ACT_OK;
    }
    if let Some(kept) = KEPT.get_ptr_mut(0) {
        // SAFETY: an array's element is always there; the benchmark runs on one processor.
        unsafe { (*kept).state += 1 };
    }
    TC_ACT_SHOT
}

/// The frame's first `N` bytes.
#[inline(always)]
#[expect(
    clippy::mut_from_ref,
    reason = "the frame is not the context's own memory"
)]
fn front<const N: usize>(ctx: &XdpContext) -> Option<&mut [u8; N]> {
    let start = ctx.data();
    if start + N > ctx.data_end() {
        return None;
    }
    // SAFETY: the N bytes at `start` lie before data_end, have no alignment, and are this program's
    // alone while it runs; callers hold one such borrow at a time.
    Some(unsafe { &mut *(start as *mut [u8; N]) })
}

#[inline(always)]
fn restore(ctx: &XdpContext) {
    let Some(kept) = KEPT.get(0) else {
        return;
    };
    if let Some(bytes) = front::<{ SHORT_WORDS * WORD }>(ctx) {
        copy(bytes, &kept.words, 0, SHORT_WORDS);
    }
    if kept.length as usize >= WORDS * WORD
        && let Some(bytes) = front::<{ WORDS * WORD }>(ctx)
    {
        copy(bytes, &kept.words, SHORT_WORDS, WORDS);
    }
}

#[inline(always)]
fn copy(bytes: &mut [u8], words: &[u64; WORDS], from: usize, to: usize) {
    for (place, word) in words.iter().enumerate().take(to).skip(from) {
        // SAFETY: callers give at least `to` words of bytes.
        unsafe {
            bytes
                .as_mut_ptr()
                .add(place * WORD)
                .cast::<u64>()
                .write_unaligned(*word);
        }
    }
}

#[inline(always)]
fn call(ctx: &XdpContext) -> u32 {
    // SAFETY: what is called is an XDP program with the same context; nothing here is to be dropped.
    unsafe { TARGET.tail_call(ctx, 0) };
    xdp_action::XDP_ABORTED
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
