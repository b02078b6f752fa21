//! The way of one packet: judged, answered, counted. What decides is in `anycast_common`.

use anycast_common::abi::Disposition;
use anycast_common::classify::{general, quick};
use anycast_common::{Packet as _, Verdict, answer, answer_common};
use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::{xdp_action, xdp_md};
use aya_ebpf::programs::XdpContext;

use crate::frame::{Frame, Span};
use crate::record;
use crate::tables::KernelTables;

/// Who is shown a packet as it came, before it is judged, and its verdict once that is final.
pub(crate) trait Witness {
    /// Whether common packets take the short way. The verifier walks through both ways with all that
    /// follows them, and through what a witness does in each.
    const SHORT_WAY: bool;

    fn see<S: Span>(frame: &Frame<'_, S>);

    fn tell(ctx: &XdpContext, verdict: &Verdict, length: usize);
}

/// The short way for packets of the common kind; the others take the general one.
#[inline(always)]
pub(crate) fn judge<S: Span, W: Witness>(ctx: &XdpContext) -> u32 {
    let mut frame = Frame::<S>::new(ctx);
    W::see(&frame);
    if !W::SHORT_WAY {
        return judge_in_general::<S, W>(ctx.as_ptr().cast());
    }
    let tables = KernelTables::<true>::new(ctx);
    match quick(&frame, &tables) {
        Some(verdict) => {
            let length = frame.length();
            let verdict = answer_common(&mut frame, verdict);
            finish::<W, _>(ctx, length, &tables, &verdict)
        }
        None => judge_in_general::<S, W>(ctx.as_ptr().cast()),
    }
}

/// A function of its own, which costs the common packets no registers.
#[inline(never)]
fn judge_in_general<S: Span, W: Witness>(ctx: *mut xdp_md) -> u32 {
    let ctx = XdpContext::new(ctx);
    let mut frame = Frame::<S>::new(&ctx);
    let tables = KernelTables::<false>::new(&ctx);
    let verdict = general(&frame, &tables);
    let length = frame.length();
    let verdict = answer(&mut frame, &tables, verdict);
    finish::<W, _>(&ctx, length, &tables, &verdict)
}

/// Counts a verdict about a frame that had `length` bytes.
#[inline(always)]
fn finish<W: Witness, const INDEXED: bool>(
    ctx: &XdpContext,
    length: usize,
    tables: &KernelTables<'_, INDEXED>,
    verdict: &Verdict,
) -> u32 {
    record::record(tables, verdict, length);
    W::tell(ctx, verdict, length);
    match verdict.disposition() {
        Disposition::Pass => xdp_action::XDP_PASS,
        Disposition::Drop => xdp_action::XDP_DROP,
        Disposition::Answer => xdp_action::XDP_TX,
    }
}
