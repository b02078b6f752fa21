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
    data: usize,
    end: usize,
    span: PhantomData<S>,
}

impl<'a, S: Span> Frame<'a, S> {
    #[inline(always)]
    pub(crate) fn new(ctx: &'a XdpContext) -> Self {
        Self {
            ctx,
            data: ctx.data(),
            end: ctx.data_end(),
            span: PhantomData,
        }
    }

    /// After a helper that may have moved the frame, which ends all addresses into it.
    #[inline(always)]
    fn reload(&mut self) {
        self.data = self.ctx.data();
        self.end = self.ctx.data_end();
    }

    /// The address `offset` bytes into the frame, if `size` bytes follow it.
    #[inline(always)]
    fn at(&self, offset: usize, size: usize) -> Option<usize> {
        let start = advance(self.data, offset);
        if start + size > self.end {
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

impl<S: Span> Packet for Frame<'_, S> {
    #[inline(always)]
    fn length(&self) -> usize {
        S::length(self.ctx, self.end - self.data)
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
        if self.data + N > self.end {
            return None;
        }
        // SAFETY: data is never 0, as in `at`.
        unsafe { core::hint::assert_unchecked(self.data != 0) };
        // SAFETY: as in `load`.
        Some(unsafe { &*(self.data as *const [u8; N]) })
    }

    #[inline(always)]
    fn load_mut<const N: usize>(&mut self, offset: usize) -> Option<&mut [u8; N]> {
        let start = self.at(offset, N)?;
        // SAFETY: as in `load`; `&mut self` keeps other borrows of the frame away.
        Some(unsafe { &mut *(start as *mut [u8; N]) })
    }

    #[inline(always)]
    fn front_mut<const N: usize>(&mut self) -> Option<&mut [u8; N]> {
        if self.data + N > self.end {
            return None;
        }
        // SAFETY: data is never 0, as in `at`.
        unsafe { core::hint::assert_unchecked(self.data != 0) };
        // SAFETY: as in `load_mut`.
        Some(unsafe { &mut *(self.data as *mut [u8; N]) })
    }

    #[inline(always)]
    fn within(value: usize, limit: usize) -> Option<usize> {
        // As for addresses: what is used must be what was compared.
        let value = advance(value, 0);
        if value > limit {
            return None;
        }
        // The compiler may keep the value on the stack from before the comparison, and verifiers before
        // Linux 6.8 do not apply the result there. The mask, which changes nothing, they see.
        Some(advance(value, 0) & (usize::MAX >> limit.leading_zeros()))
    }

    #[inline(always)]
    fn resize(&mut self, length: usize) -> bool {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_possible_wrap,
            reason = "frames are shorter than 64 KiB"
        )]
        // Through `advance`, or the compiler takes the difference of data_end and data apart, and the
        // verifier refuses arithmetic on halves of pointers.
        let delta = length.wrapping_sub(advance(self.length(), 0)) as c_int;
        // SAFETY: `ctx` is the context that the kernel called the program with; data and data_end
        // are read anew, since the helper may have moved them.
        let done = unsafe { bpf_xdp_adjust_tail(self.ctx.as_ptr().cast(), delta) } == 0;
        self.reload();
        done
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
        let done = unsafe { bpf_xdp_adjust_head(self.ctx.as_ptr().cast(), delta) } == 0;
        self.reload();
        done
    }
}
