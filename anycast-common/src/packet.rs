//! The packet cursor: bounds are checked once, at the load, and what it yields can be used freely.

/// A frame as the verdict function sees it.
pub trait Packet {
    /// Length of the whole frame in bytes, also where only its start can be loaded.
    fn length(&self) -> usize;

    /// The `N` bytes at `offset`, or `None` where the loadable part ends before them.
    fn load<const N: usize>(&self, offset: usize) -> Option<&[u8; N]>;

    /// As [`Packet::load`], at the frame's start.
    #[inline(always)]
    fn front<const N: usize>(&self) -> Option<&[u8; N]> {
        self.load(0)
    }

    /// As [`Packet::load`], for writing.
    fn load_mut<const N: usize>(&mut self, offset: usize) -> Option<&mut [u8; N]>;

    /// Cuts or grows the frame to `length` bytes; new bytes hold anything. False: not possible, and
    /// the frame is as it was.
    fn resize(&mut self, length: usize) -> bool;
}

/// The big-endian word at byte `AT`; a header too short for it does not compile.
#[inline(always)]
pub(crate) fn be16<const AT: usize, const N: usize>(bytes: &[u8; N]) -> u16 {
    u16::from_be_bytes(*field::<AT, _, _>(bytes))
}

/// The `M` bytes at byte `AT`; a header too short for them does not compile.
#[inline(always)]
pub(crate) fn field<const AT: usize, const M: usize, const N: usize>(bytes: &[u8; N]) -> &[u8; M] {
    const { assert!(AT + M <= N, "field beyond its header") };
    bytes[AT..].first_chunk().unwrap_or(const { &[0; M] })
}

/// Writes `value` at byte `AT`; a header too short for it does not compile.
#[inline(always)]
pub(crate) fn put<const AT: usize, const M: usize, const N: usize>(
    bytes: &mut [u8; N],
    value: [u8; M],
) {
    const { assert!(AT + M <= N, "field beyond its header") };
    if let Some(target) = bytes[AT..].first_chunk_mut() {
        *target = value;
    }
}

/// A frame in memory: what tests, fuzzers and `explain` run on.
///
/// The frame is the first `length` bytes of a buffer; the rest is the room into which it can grow,
/// as the tail room behind a frame in a driver's ring.
#[derive(Debug)]
pub struct SliceFrame<'a> {
    buffer: &'a mut [u8],
    length: usize,
}

impl<'a> SliceFrame<'a> {
    /// A frame of `length` bytes at the start of `buffer`; never longer than the buffer.
    pub fn new(buffer: &'a mut [u8], length: usize) -> Self {
        let length = length.min(buffer.len());
        Self { buffer, length }
    }

    /// The frame's bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[..self.length]
    }
}

impl Packet for SliceFrame<'_> {
    fn length(&self) -> usize {
        self.length
    }

    fn load<const N: usize>(&self, offset: usize) -> Option<&[u8; N]> {
        self.bytes().get(offset..)?.first_chunk()
    }

    fn load_mut<const N: usize>(&mut self, offset: usize) -> Option<&mut [u8; N]> {
        self.buffer[..self.length]
            .get_mut(offset..)?
            .first_chunk_mut()
    }

    fn resize(&mut self, length: usize) -> bool {
        let fits = length <= self.buffer.len();
        if fits {
            self.length = length;
        }
        fits
    }
}
