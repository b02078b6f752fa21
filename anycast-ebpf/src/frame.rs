//! The packet cursor over data and data_end. Each load is checked where the verifier sees it.

use core::ffi::c_int;
use core::marker::PhantomData;

use anycast_common::Packet;
use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::{bpf_xdp_adjust_head, bpf_xdp_adjust_tail, bpf_xdp_get_buff_len};
use aya_ebpf::programs::XdpContext;

/// How far a frame goes.
pub(crate) trait Span {
    /// Length of the whole frame, of which `linear` bytes can be loaded.
    fn length(ctx: &XdpContext, linear: usize) -> usize;
}

/// The frame ends where its first buffer ends.
pub(crate) struct Linear;

impl Span for Linear {
    #[inline(always)]
    fn length(_ctx: &XdpContext, linear: usize) -> usize {
        linear
    }
}

/// The frame may go on in further buffers (kernel 5.18 and later).
pub(crate) struct MultiBuffer;

impl Span for MultiBuffer {
    #[inline(always)]
    fn length(ctx: &XdpContext, _linear: usize) -> usize {
        // SAFETY: `ctx` is the context that the kernel called the program with.
        let length = unsafe { bpf_xdp_get_buff_len(ctx.as_ptr().cast()) };
        #[expect(
            clippy::cast_possible_truncation,
            reason = "BPF addresses have 64 bits"
        )]
        {
            length as usize
        }
    }
}

/// The frame that the program was called for.
pub(crate) struct Frame<'a, S> {
    ctx: &'a XdpContext,
    span: PhantomData<S>,
}

impl<'a, S: Span> Frame<'a, S> {
    #[inline(always)]
    pub(crate) fn new(ctx: &'a XdpContext) -> Self {
        Self {
            ctx,
            span: PhantomData,
        }
    }

    /// Where the frame starts, asked of the kernel each time: that is one instruction, as is reading
    /// it from the stack, where it would be put first. It stays right where a helper moves the frame.
    #[inline(always)]
    fn data(&self) -> usize {
        // SAFETY: the context is the kernel's, and lives as long as the program runs.
        unsafe { (&raw const (*self.ctx.ctx).data).read_volatile() as usize }
    }

    /// Where its first buffer ends.
    #[inline(always)]
    fn end(&self) -> usize {
        // SAFETY: as in `data`.
        unsafe { (&raw const (*self.ctx.ctx).data_end).read_volatile() as usize }
    }

    /// The address `offset` bytes into the frame, if `size` bytes follow it.
    #[inline(always)]
    fn at(&self, offset: usize, size: usize) -> Option<usize> {
        let start = advance(self.data(), offset);
        if start + size > self.end() {
            return None;
        }
        // SAFETY: data is never 0. Said so that an `Option` of a reference costs no comparison.
        unsafe { core::hint::assert_unchecked(start != 0) };
        Some(start)
    }
}

/// `address + offset`, computed once and here.
///
/// The verifier proves bounds for the register that was compared with data_end. Left to itself, the
/// compiler computes such a sum a second time after the comparison, and the access through that
/// second register is refused.
#[inline(always)]
fn advance(address: usize, offset: usize) -> usize {
    #[cfg(target_arch = "bpf")]
    {
        let mut sum = address;
        // SAFETY: an addition of two registers.
        unsafe {
            core::arch::asm!(
                "{sum} += {offset}",
                sum = inout(reg) sum,
                offset = in(reg) offset,
                options(pure, nomem, nostack),
            );
        }
        sum
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        address + offset
    }
}

/// `value`, of which the compiler then knows nothing.
#[inline(always)]
pub(crate) fn opaque(value: usize) -> usize {
    #[cfg(target_arch = "bpf")]
    {
        let mut value = value;
        // SAFETY: it changes nothing. Without an instruction, two lines of the source would have the same
        // place, which the kernel refuses.
        unsafe {
            core::arch::asm!(
                "{value} += 0",
                value = inout(reg) value,
                options(pure, nomem, nostack),
            );
        }
        value
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        value
    }
}

impl<S: Span> Packet for Frame<'_, S> {
    #[inline(always)]
    fn length(&self) -> usize {
        // The compiler must not take the difference apart: the verifier refuses arithmetic on halves of
        // pointers.
        S::length(self.ctx, opaque(self.end() - self.data()))
    }

    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize) -> Option<&[u8; N]> {
        let start = self.at(offset, N)?;
        // SAFETY: the N bytes at `start` lie before data_end, byte arrays have no alignment, and
        // the frame is this program's alone until it returns.
        Some(unsafe { &*(start as *const [u8; N]) })
    }

    #[inline(always)]
    fn front<const N: usize>(&self) -> Option<&[u8; N]> {
        let start = self.data();
        if start + N > self.end() {
            return None;
        }
        // SAFETY: data is never 0, as in `at`.
        unsafe { core::hint::assert_unchecked(start != 0) };
        // SAFETY: as in `load`.
        Some(unsafe { &*(start as *const [u8; N]) })
    }

    #[inline(always)]
    fn load_mut<const N: usize>(&mut self, offset: usize) -> Option<&mut [u8; N]> {
        let start = self.at(offset, N)?;
        // SAFETY: as in `load`; `&mut self` keeps other borrows of the frame away.
        Some(unsafe { &mut *(start as *mut [u8; N]) })
    }

    #[inline(always)]
    fn within(value: usize, limit: usize) -> Option<usize> {
        // As for addresses: what is used must be what was compared.
        let value = opaque(value);
        (value <= limit).then_some(value)
    }

    #[inline(always)]
    fn resize(&mut self, length: usize) -> bool {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_possible_wrap,
            reason = "frames are shorter than 64 KiB"
        )]
        let delta = length.wrapping_sub(self.length()) as c_int;
        // SAFETY: `ctx` is the context that the kernel called the program with. The helper may move the
        // frame, so no address into it is kept: each load starts from `data`.
        unsafe { bpf_xdp_adjust_tail(self.ctx.as_ptr().cast(), delta) == 0 }
    }

    #[inline(always)]
    fn prepend(&mut self, count: usize) -> bool {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_possible_wrap,
            reason = "callers prepend headers"
        )]
        let delta = -(count as c_int);
        // SAFETY: as in `resize`.
        unsafe { bpf_xdp_adjust_head(self.ctx.as_ptr().cast(), delta) == 0 }
    }
}
