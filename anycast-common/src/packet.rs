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

    /// As [`Packet::load_mut`], at the frame's start.
    #[inline(always)]
    fn front_mut<const N: usize>(&mut self) -> Option<&mut [u8; N]> {
        self.load_mut(0)
    }

    /// `value`, if it is at most `limit`: for offsets that come from a difference of lengths.
    #[inline(always)]
    fn within(value: usize, limit: usize) -> Option<usize> {
        (value <= limit).then_some(value)
    }

    /// Cuts or grows the frame to `length` bytes; new bytes hold anything. False: not possible, and
    /// the frame is as it was.
    fn resize(&mut self, length: usize) -> bool;

    /// Puts `count` bytes, holding anything, before the frame. False: as for [`Packet::resize`].
    fn prepend(&mut self, count: usize) -> bool;
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

/// As [`field`], for writing; never `None`.
#[inline(always)]
pub(crate) fn field_mut<const AT: usize, const M: usize, const N: usize>(
    bytes: &mut [u8; N],
) -> Option<&mut [u8; M]> {
    const { assert!(AT + M <= N, "field beyond its header") };
    bytes[AT..].first_chunk_mut()
}

/// The word at byte `AT` in the order of memory, which is all the same to a checksum (RFC 1071 §2 (B)).
#[inline(always)]
pub(crate) fn ne16<const AT: usize, const N: usize>(bytes: &[u8; N]) -> u16 {
    u16::from_ne_bytes(*field::<AT, _, _>(bytes))
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

/// A MAC address, held in registers: BPF programs copy arrays of odd sizes byte by byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mac(u32, u16);

impl Mac {
    pub(crate) const fn new(mac: [u8; 6]) -> Self {
        let [a, b, c, d, e, f] = mac;
        Self(u32::from_ne_bytes([a, b, c, d]), u16::from_ne_bytes([e, f]))
    }

    /// The address at byte `AT`.
    #[inline(always)]
    pub(crate) fn load<const AT: usize, const N: usize>(bytes: &[u8; N]) -> Self {
        const { assert!(AT + 6 <= N, "field beyond its header") };
        let (high, low) = bytes[AT..].split_at(4);
        Self(
            u32::from_ne_bytes(*high.first_chunk().unwrap_or(&[0; 4])),
            u16::from_ne_bytes(*low.first_chunk().unwrap_or(&[0; 2])),
        )
    }

    /// Writes the address at byte `AT`.
    #[inline(always)]
    pub(crate) fn store<const AT: usize, const N: usize>(self, bytes: &mut [u8; N]) {
        const { assert!(AT + 6 <= N, "field beyond its header") };
        let (high, low) = bytes[AT..].split_at_mut(4);
        if let (Some(high), Some(low)) = (high.first_chunk_mut(), low.first_chunk_mut()) {
            *high = self.0.to_ne_bytes();
            *low = self.1.to_ne_bytes();
        }
    }
}

/// An IPv6 address, held in registers as [`Mac`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ip6(u64, u64);

impl Ip6 {
    pub(crate) const UNSPECIFIED: Self = Self(0, 0);

    pub(crate) const fn new(high: u64, low: u64) -> Self {
        Self(high.to_be(), low.to_be())
    }

    /// The address at byte `AT`.
    #[inline(always)]
    pub(crate) fn load<const AT: usize, const N: usize>(bytes: &[u8; N]) -> Self {
        const { assert!(AT + 16 <= N, "field beyond its header") };
        let (high, low) = bytes[AT..].split_at(8);
        Self(
            u64::from_ne_bytes(*high.first_chunk().unwrap_or(&[0; 8])),
            u64::from_ne_bytes(*low.first_chunk().unwrap_or(&[0; 8])),
        )
    }

    /// Writes the address at byte `AT`.
    #[inline(always)]
    pub(crate) fn store<const AT: usize, const N: usize>(self, bytes: &mut [u8; N]) {
        const { assert!(AT + 16 <= N, "field beyond its header") };
        let (high, low) = bytes[AT..].split_at_mut(8);
        if let (Some(high), Some(low)) = (high.first_chunk_mut(), low.first_chunk_mut()) {
            *high = self.0.to_ne_bytes();
            *low = self.1.to_ne_bytes();
        }
    }

    /// The sum of its 16-bit words.
    #[inline(always)]
    pub(crate) fn sum(self) -> u32 {
        sum_of(u64::from_be(self.0)) + sum_of(u64::from_be(self.1))
    }
}

#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "halves of what is masked or shifted"
)]
const fn sum_of(words: u64) -> u32 {
    // Two sums of two words, then one of both: neither overflows its half.
    let pairs = (words & 0x0000_ffff_0000_ffff) + ((words >> 16) & 0x0000_ffff_0000_ffff);
    (pairs >> 32) as u32 + pairs as u32
}

/// A frame in memory: what tests, fuzzers and `explain` run on.
///
/// The frame is the first `length` bytes of a buffer; the rest is the room into which it can grow, as the room
/// before and behind a frame in a driver's ring.
#[derive(Debug)]
pub struct SliceFrame<'a> {
    buffer: &'a mut [u8],
    length: usize,
    /// The most that the frame can grow to at its end.
    end: usize,
}

impl<'a> SliceFrame<'a> {
    /// A frame of `length` bytes at the start of `buffer`; never longer than the buffer.
    pub fn new(buffer: &'a mut [u8], length: usize) -> Self {
        let end = buffer.len();
        Self::with_tail_room(buffer, length, end)
    }

    /// As [`SliceFrame::new`], with no more than `room` bytes behind the frame; all of the buffer can still be
    /// before it.
    pub fn with_tail_room(buffer: &'a mut [u8], length: usize, room: usize) -> Self {
        let length = length.min(buffer.len());
        let end = length.saturating_add(room).min(buffer.len());
        Self {
            buffer,
            length,
            end,
        }
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
        let fits = length <= self.end;
        if fits {
            self.length = length;
        }
        fits
    }

    fn prepend(&mut self, count: usize) -> bool {
        let length = self.length + count;
        let fits = length <= self.buffer.len();
        if fits {
            self.buffer.copy_within(..self.length, count);
            self.length = length;
            self.end = (self.end + count).min(self.buffer.len());
        }
        fits
    }
}
