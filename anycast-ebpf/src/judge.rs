//! The way of one packet: judged, answered, counted. What decides is in `anycast_common`.

use anycast_common::abi::Disposition;
use anycast_common::{Packet as _, Verdict, answer, classify};
use aya_ebpf::bindings::xdp_action;
use aya_ebpf::programs::XdpContext;

use crate::frame::{Frame, Span};
use crate::record;
use crate::tables::KernelTables;

/// Who is shown a packet as it came, and its verdict once that is final.
pub(crate) trait Witness {
    /// What it keeps of the packet in between.
    type Seen;

    fn see<S: Span>(frame: &Frame<'_, S>) -> Self::Seen;

    fn tell(ctx: &XdpContext, seen: Self::Seen, verdict: &Verdict, length: usize);
}

#[inline(always)]
pub(crate) fn judge<S: Span, W: Witness>(ctx: &XdpContext) -> u32 {
    let mut frame = Frame::<S>::new(ctx);
    let length = frame.length();
    let tables = KernelTables::new(ctx);
    let seen = W::see(&frame);
    let verdict = classify(&frame, &tables);
    let verdict = answer(&mut frame, &tables, verdict);
    record::record(&tables, &verdict, length);
    W::tell(ctx, seen, &verdict, length);
    match verdict.disposition() {
        Disposition::Pass => xdp_action::XDP_PASS,
        Disposition::Drop => xdp_action::XDP_DROP,
        Disposition::Answer => xdp_action::XDP_TX,
    }
}
