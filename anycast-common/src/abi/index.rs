//! The index of the Service Addresses: where the program looks before it asks their hash maps.
//!
//! An address has one row, which is found by a multiplication, and a place in it if one was free. What is found there is
//! true; what is not found there is looked up in `ADDRESSES_V4` or `ADDRESSES_V6`, which hold every address.

/// Places in a row.
pub const PLACES: usize = 2;

/// A place of [`RowV4`], written and read as one word.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlaceV4 {
    /// Id of the service that the address belongs to; [`super::NO_SERVICE`]: the place is free.
    pub service: u32,
    /// The address, first octet first.
    pub address: [u8; 4],
}

/// Value of `INDEX_V4`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowV4 {
    /// Addresses of this row, in no order.
    pub places: [PlaceV4; PLACES],
}

/// A place of [`RowV6`].
///
/// It is more than a word, and may be read while it is written: so its address is written once and never changed.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlaceV6 {
    /// The address, first octet first.
    pub address: [u8; 16],
    /// As [`PlaceV4::service`].
    pub service: u32,
    /// Nothing: a row is a line of the processor's cache.
    pub _padding: [u8; 12],
}

/// Value of `INDEX_V6`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowV6 {
    /// Addresses of this row, in no order.
    pub places: [PlaceV6; PLACES],
}

/// The golden ratio of 2^64 (Knuth, The Art of Computer Programming, vol. 3, §6.4): numbers that follow each other are
/// spread evenly. The second is an odd number without a pattern.
const MULTIPLIERS: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xd1b5_4a32_d192_ed03];

/// The most rows that an index can have.
pub const MOST_ROWS: u32 = 1 << 31;

/// How far [`row_v4`] and [`row_v6`] shift for an index of `rows` rows: a power of two, at least 2.
#[must_use]
pub const fn shift(rows: u32) -> u32 {
    64 - rows.trailing_zeros()
}

/// The row of an IPv4 address, which is given as its word in memory.
#[inline(always)]
#[must_use]
pub const fn row_v4(address: u32, shift: u32) -> u32 {
    highest((address as u64).wrapping_mul(MULTIPLIERS[0]), shift)
}

/// The row of an IPv6 address, which is given as its two words in memory.
#[inline(always)]
#[must_use]
pub const fn row_v6([first, second]: [u64; 2], shift: u32) -> u32 {
    let first = first.wrapping_mul(MULTIPLIERS[0]);
    highest(
        first.wrapping_add(second.wrapping_mul(MULTIPLIERS[1])),
        shift,
    )
}

/// What is left of a hash, of which the highest bits are the best ones.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "shifted by half or more")]
const fn highest(hash: u64, shift: u32) -> u32 {
    hash.wrapping_shr(shift) as u32
}

const _: () = {
    assert!(size_of::<PlaceV4>() == 8);
    assert!(size_of::<RowV4>() == 16);
    assert!(size_of::<PlaceV6>() == 32);
    assert!(size_of::<RowV6>() == 64);
};

#[cfg(test)]
mod tests {
    use std::vec;
    use std::vec::Vec;

    use super::*;

    fn fullest(rows: u32, of: impl Iterator<Item = u32>) -> u32 {
        let mut counts = vec![0; rows as usize];
        for row in of {
            counts[row as usize] += 1;
        }
        counts.into_iter().max().unwrap()
    }

    #[test]
    fn addresses_that_follow_each_other_share_few_rows() {
        let rows = 1024;
        let shift = shift(rows);
        let v4 = |first: u32| (first..first + 1024).map(u32::to_be);
        let v6 = |first: u128, step: u128| {
            (0..1024).map(move |place| {
                let octets = (first + step * place).to_be_bytes();
                let (high, low) = octets.split_at(8);
                [high, low].map(|half| u64::from_ne_bytes(half.try_into().unwrap()))
            })
        };
        let prefix = 0x2001_0db8_u128 << 96;
        let found: Vec<u32> = vec![
            fullest(rows, v4(0xc0a8_0000).map(|ip| row_v4(ip, shift))),
            fullest(rows, v4(0x0a00_00f0).map(|ip| row_v4(ip, shift))),
            fullest(rows, v6(prefix, 1).map(|ip| row_v6(ip, shift))),
            fullest(rows, v6(prefix, 1 << 64).map(|ip| row_v6(ip, shift))),
            fullest(rows, v6(prefix, 1 << 80).map(|ip| row_v6(ip, shift))),
            fullest(rows, v6(prefix, 0x1_0001).map(|ip| row_v6(ip, shift))),
        ];
        // As many as 1,024 balls thrown blindly into 1,024 bins.
        assert!(found.iter().all(|most| *most <= 8), "{found:?}");
    }

    #[test]
    fn every_row_is_below_their_number() {
        for bits in 1..=31 {
            let rows = 1_u32 << bits;
            for word in [0, 1, u32::MAX, 0x1234_5678] {
                assert!(row_v4(word, shift(rows)) < rows);
                let both = [u64::from(word) << 13, u64::from(word)];
                assert!(row_v6(both, shift(rows)) < rows);
            }
        }
    }
}
